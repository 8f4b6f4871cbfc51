"""The publisher's end of the pipe from the daemon."""

import os
import socket
import sys
import threading

from daqd.children.notices import Notice, decode_notice

_CHUNK_BYTES = 1 << 16


class NoticePipe:
    """The lines that come through `descriptor`.

    `source` can be polled beside sockets, and is readable when `take` has something to say. `ended`: the daemon wants
    no more, or is gone.
    """

    def __init__(self, descriptor: int) -> None:
        self.ended = False
        self._begun = b""
        self._sockets: tuple[socket.socket, ...] = ()
        self.source = descriptor
        if sys.platform == "win32":  # pipes cannot be polled there
            self.source = self._forward(descriptor)

    def _forward(self, descriptor: int) -> int:
        """Have a thread pass on what comes to a socket; its descriptor."""
        receiver, sender = self._sockets = socket.socketpair()

        def forward() -> None:
            while chunk := os.read(descriptor, _CHUNK_BYTES):
                sender.sendall(chunk)
            sender.shutdown(socket.SHUT_WR)

        # A daemon thread: nothing can end a read of a pipe but its other end, and it holds nothing that matters.
        threading.Thread(target=forward, name="notices", daemon=True).start()
        return receiver.fileno()

    def take(self) -> list[Notice]:
        """Notices that have come; waits for some where there are none."""
        chunk = self._sockets[0].recv(_CHUNK_BYTES) if self._sockets else os.read(self.source, _CHUNK_BYTES)
        self.ended = not chunk
        *lines, self._begun = (self._begun + chunk).split(b"\n")
        return [notice for line in lines if (notice := decode_notice(line)) is not None]

    def close(self) -> None:
        """Close what was opened here."""
        for each in self._sockets:
            each.close()
