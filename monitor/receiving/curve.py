"""Keys at the client's side, and what becomes of the handshakes (docs/wire.md, "Keys")."""

import argparse
from pathlib import Path
from typing import Any

import zmq

from astropix_runtime.sockets.handshake import HANDSHAKE_EVENTS, Handshakes
from astropix_runtime.sockets.key_files import ClientKeys, KeyPair, PublicKey, read_client_keys
from monitor.errors import EndpointError, KeysError
from monitor.receiving.peer_probe import PeerProbe
from protocol.errors import KeyFileError


def client_keys(server_key: Path | str | PublicKey | None, key: Path | str | KeyPair | None) -> ClientKeys | None:
    """The keys of a client, from their files or as they are; None where none are given; `KeysError`."""
    if server_key is None and key is None:
        return None
    if server_key is None or key is None:
        raise KeysError("the server's key and the client's own go together: give --server-key and --key")
    try:
        keys = read_client_keys(server_key, key)
    except KeyFileError as error:
        raise KeysError(str(error)) from None
    if zmq.curve_public(keys.own.secret.encode()) != keys.own.public.encode():
        raise KeysError(f"the secret key does not belong to the public key {keys.own.public}")
    return keys


def secure_client(socket: "zmq.Socket[Any]", endpoint: str, keys: ClientKeys | None) -> None:
    """Have `socket` show its key at `endpoint`, and trust only that server; before it connects."""
    if keys is None:
        return
    if not endpoint.startswith("tcp://"):
        raise EndpointError(f"{endpoint} takes no keys: they are for tcp://host:port")
    socket.setsockopt(zmq.CURVE_SERVERKEY, keys.server.public.encode())
    socket.setsockopt(zmq.CURVE_PUBLICKEY, keys.own.public.encode())
    socket.setsockopt(zmq.CURVE_SECRETKEY, keys.own.secret.encode())


def add_key_arguments(
    parser: argparse._ActionsContainer, whose: str = "public key of the daemon (NAME.key), where it takes only keys"
) -> None:
    """`--server-key` and `--key`, the same for every program that connects."""
    parser.add_argument("--server-key", type=Path, metavar="FILE", help=whose)
    parser.add_argument("--key", type=Path, metavar="FILE", help="secret key of yours (NAME.key_secret)")


def add_alarm_key_argument(parser: argparse._ActionsContainer) -> None:
    """`--alarms-server-key`: who shows alarms has one key of his own for both servers."""
    parser.add_argument(
        "--alarms-server-key",
        type=Path,
        metavar="FILE",
        help="public key of the sanity checker, where it takes only keys; goes with --key",
    )


def daemon_keys(arguments: argparse.Namespace) -> dict[str, Any]:
    """`server_key` and `key` for the daemon; a `--key` that is there for the checker alone is not shown to it."""
    checker_only = arguments.server_key is None and arguments.alarms_server_key is not None
    return {"server_key": arguments.server_key, "key": None if checker_only else arguments.key}


class HandshakeWatch:
    """Watches the handshakes of `socket` with `endpoint`; before it connects. `socket` is closed first.

    `events` is readable when there is something to `take`. Who breaks off handshakes again and again is looked at by a
    connection of our own.
    """

    def __init__(self, socket: "zmq.Socket[Any]", endpoint: str, *, keyed: bool) -> None:
        self._endpoint = endpoint
        self._handshakes = Handshakes(keyed)
        self._probe: PeerProbe | None = None
        self.events: zmq.Socket[bytes] = socket.context.socket(zmq.PAIR, socket_class=zmq.Socket)
        self.events.setsockopt(zmq.LINGER, 0)
        self.events.setsockopt(zmq.RCVHWM, 0)  # never full: ZeroMQ would wait for us
        endpoint = f"inproc://handshakes-{id(self)}"
        socket.monitor(endpoint, HANDSHAKE_EVENTS)
        self.events.connect(endpoint)

    def take(self) -> None:
        """Look at all that has happened."""
        while True:
            try:
                frames = self.events.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                break
            self._handshakes.feed(frames[0])
        self._find_out()

    def _find_out(self) -> None:
        """Who it is that breaks off the handshakes."""
        if not self._handshakes.unexplained:
            self._drop_probe()
            return
        if self._probe is None:
            self._probe = PeerProbe(self._endpoint)
        if self._probe.ended():
            self._handshakes.explain(self._probe.peer)
            self._drop_probe()

    def _drop_probe(self) -> None:
        if self._probe is not None:
            self._probe.close()
            self._probe = None

    @property
    def refusal(self) -> str:
        """Why the server does not let this client in; empty where it does, or nothing is known."""
        return self._handshakes.refusal

    @property
    def no_answer(self) -> str:
        """Why nobody is there although connections are taken; empty where somebody is, or nothing is known."""
        return self._handshakes.no_answer

    @property
    def given_up(self) -> bool:
        """Whether ZeroMQ does not try again by itself."""
        return self._handshakes.given_up

    def try_again(self) -> None:
        """Note that another attempt was begun."""
        self._handshakes.given_up = False

    def close(self) -> None:
        """Watch no more."""
        self._drop_probe()
        self.events.close()
