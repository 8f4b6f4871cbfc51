"""A serial device server (RFC 2217) for one client, out of pyserial's own parts."""

import contextlib
import select
import socket
import threading
from types import TracebackType
from typing import Any, Self

import serial
import serial.rfc2217

from tests.deadline import DEADLINE_S


class _Telnet:
    """What `PortManager` writes its answers to."""

    def __init__(self, client: socket.socket) -> None:
        self._client = client

    def write(self, data: bytes) -> None:
        self._client.sendall(data)


class Rfc2217Server:
    """Serves the port at `url` to one client; a context manager."""

    def __init__(self, url: str) -> None:
        self._target: Any = serial.serial_for_url(url, timeout=0)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"rfc2217://127.0.0.1:{self._listener.getsockname()[1]}"
        self._end, self._ended = socket.socketpair()
        self._thread = threading.Thread(target=self._serve, name="rfc2217")

    def _serve(self) -> None:
        if self._listener not in select.select([self._listener, self._ended], [], [])[0]:
            return
        client, _ = self._listener.accept()
        with client, contextlib.suppress(OSError):  # either side may go away
            manager = serial.rfc2217.PortManager(self._target, _Telnet(client))
            while True:
                ready, _, _ = select.select([client, self._target, self._ended], [], [])
                if self._ended in ready:
                    return
                if self._target in ready:
                    client.sendall(b"".join(manager.escape(self._target.read(4096))))
                if client in ready:
                    data = client.recv(4096)
                    if not data:
                        return
                    self._target.write(b"".join(manager.filter(data)))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end.send(b"!")
        self._thread.join(DEADLINE_S)
        target_socket = self._target._socket  # which pyserial forgets to close where its other end is gone
        self._target.close()
        for each in (target_socket, self._end, self._ended, self._listener):
            each.close()
