"""The child's end of the pipes to the daemon: its key options, signals, log, and the messages in both directions."""

import argparse
import contextlib
import os
import signal
import socket
import sys
import threading
from pathlib import Path

from astropix_runtime.sockets.key_files import ServerKeys
from daqd.children.messages import FromChild, ToChild, decode_to_child, encode_line
from daqd.server_keys import load_server_keys

_CHUNK_BYTES = 1 << 16


def leave_signals_to_the_daemon() -> None:
    """Ignore the signals that terminals and service managers send to the group: a child ends with its input."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):  # Windows has no SIGHUP
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)


def add_key_options(parser: argparse.ArgumentParser) -> None:
    """Add `--server-key` and `--client-keys`."""
    parser.add_argument("--server-key", type=Path, help="file of the daemon's secret key")
    parser.add_argument("--client-keys", type=Path, help="directory of the keys that are let in")


def keys_of(server_key: Path | None, client_keys: Path | None) -> ServerKeys | None:
    """The keys that those options name; None without them. `ConfigError` as of `load_server_keys`."""
    if server_key is None or client_keys is None:
        return None
    return load_server_keys(server_key, client_keys)


def log_to_daemon(text: str, priority: int = 4) -> None:
    """Write to the daemon's log, with a priority of syslog(3). Nothing happens if the daemon is gone."""
    with contextlib.suppress(OSError):
        sys.stderr.write("".join(f"<{priority}>{line}\n" for line in text.splitlines()))
        sys.stderr.flush()


class DaemonPipe:
    """Messages from the daemon through the descriptor `reading`, and to it through `writing`.

    `source` can be polled beside sockets, and is readable when `receive` returns without waiting. `ended`: the daemon
    has nothing more to send, or is gone.
    """

    def __init__(self, reading: int, writing: int) -> None:
        self.ended = False
        self._begun = b""
        self._sockets: tuple[socket.socket, ...] = ()
        self._writing = writing
        self.source = reading
        if sys.platform == "win32":  # pipes cannot be polled there
            self.source = self._forward(reading)

    def _forward(self, descriptor: int) -> int:
        """Start a thread that passes what it reads to a socket; returns the socket's descriptor."""
        receiver, sender = self._sockets = socket.socketpair()

        def forward() -> None:
            while chunk := os.read(descriptor, _CHUNK_BYTES):
                sender.sendall(chunk)
            sender.shutdown(socket.SHUT_WR)

        # A daemon thread: nothing can end a read of a pipe but its other end, and it holds nothing that matters.
        threading.Thread(target=forward, name="daemon pipe", daemon=True).start()
        return receiver.fileno()

    def receive(self) -> list[ToChild]:
        """Messages that have come; waits for some if there are none."""
        chunk = self._sockets[0].recv(_CHUNK_BYTES) if self._sockets else os.read(self.source, _CHUNK_BYTES)
        self.ended = not chunk
        *lines, self._begun = (self._begun + chunk).split(b"\n")
        return [message for line in lines if (message := decode_to_child(line)) is not None]

    def send(self, message: FromChild) -> bool:
        """Send a message; False if the daemon is gone."""
        line = encode_line(message)
        try:
            while line:
                line = line[os.write(self._writing, line) :]
        except OSError:
            return False
        return True

    def close(self) -> None:
        """Close what was opened here."""
        for each in self._sockets:
            each.close()
