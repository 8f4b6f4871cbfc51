"""Sockets that listen: alone at their endpoint, and with keys where other machines can reach it."""

import errno
import logging
import os
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import zmq

from astropix_runtime.sockets.endpoint_holder import holder_of, in_the_way
from astropix_runtime.sockets.endpoints import is_occupied, is_tcp
from astropix_runtime.sockets.gatekeeper import Gatekeeper
from astropix_runtime.sockets.key_files import ServerKeys
from astropix_runtime.storage.process_lock import ProcessLock
from protocol.text import reason_of

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Purpose:
    """What a socket is for, in words: its `name` in lines about refused clients, and the error where it cannot be had.

    That is a `failure` with the text "cannot <verb> at <endpoint>: <why>; <way_out>".
    """

    name: str
    verb: str
    way_out: str
    failure: type[Exception]


class ListeningSocket:
    """A socket of `kind` that listens at `endpoint`, in a context of its own.

    `options`: ZeroMQ's numbers and their values. A TCP socket with `keys` takes only clients with an allowed key; who
    may use an ipc socket, its permissions say. `say` gets lines about who was refused, from another thread. Raises the
    error that `purpose` names where the endpoint cannot be had. The attribute `endpoint` has the port that was chosen.
    """

    def __init__(
        self,
        kind: int,
        endpoint: str,
        purpose: Purpose,
        options: Mapping[int, int],
        keys: ServerKeys | None = None,
        say: Callable[[str], None] = log.warning,
    ) -> None:
        self._gatekeeper: Gatekeeper | None = None
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.socket = self._context.socket(kind)
        try:
            for option, value in options.items():
                self.socket.setsockopt(option, value)
            if keys is not None and is_tcp(endpoint):
                self._gatekeeper = Gatekeeper(self.socket, keys, purpose.name, say)
            bind_alone(self.socket, endpoint)
        except zmq.ZMQError as error:
            self.close(0)
            raise purpose.failure(
                f"cannot {purpose.verb} at {endpoint}: {zmq.strerror(error.errno or 0)}{in_the_way(endpoint)}; "
                f"{purpose.way_out}"
            ) from error
        self.endpoint: str = self.socket.getsockopt_string(zmq.LAST_ENDPOINT)

    @property
    def refused(self) -> int:
        """Connections that did not get in, without a key that is allowed."""
        return 0 if self._gatekeeper is None else self._gatekeeper.refused

    def close(self, linger_ms: int | None = None) -> None:
        """Close; what is not sent yet may take so long (None: as its options say)."""
        self.socket.close(linger=linger_ms)
        if self._gatekeeper is not None:
            self._gatekeeper.close()
        self._context.term()


def bind_alone(server: "zmq.Socket[bytes]", endpoint: str) -> None:
    """Bind; `ZMQError` also where ZeroMQ would take the path of an ipc socket away from who listens there, or delete a
    file that has it.
    """
    if is_occupied(endpoint):
        raise zmq.ZMQError(errno.EEXIST)
    if endpoint.startswith("ipc://") and holder_of(endpoint):
        raise zmq.ZMQError(errno.EADDRINUSE)
    server.bind(endpoint)


def lock_socket(path: Path, what: str, failure: type[Exception], harm: str, way_out: str) -> ProcessLock:
    """The lock beside the ipc socket at `path`, taken; its directory is made for this user only, if it is not there.

    So nobody takes the socket from another process that is using it, and nobody else can be in its place. `what` is the
    socket to people, `harm`: what others could do who could write to its directory, `way_out`: what to do where another
    process has it. Raises `failure`.
    """
    folder = path.parent
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = folder.stat()
    except OSError as error:
        raise failure(f"cannot use the runtime directory {folder}: {reason_of(error)}") from error
    if hasattr(os, "getuid") and (status.st_uid != os.getuid() or stat.S_IMODE(status.st_mode) & 0o022):
        raise failure(
            f"{folder} belongs to somebody else or others may write to it, so others could {harm}: chmod 700 it, or "
            "choose another directory for the socket"
        )
    if path.exists() and not path.is_socket():  # ZeroMQ would delete it without a word
        raise failure(f"{what} has the name of a file, which is kept: choose another path for the socket")
    lock = ProcessLock(path.with_suffix(".lock"), what, failure, "choose a local directory for the socket", way_out)
    lock.acquire()
    return lock
