"""What goes over a link, one JSON object a line, for people and for comparing.

::

    {"op": "write", "register": 22, "name": "0x16 (SPI_DIVIDER)", "length": 1, "data": "28", "why": "SPI clock"}
    {"op": "read", "register": 21, "name": "0x15 (SPI_CONFIG)", "length": 1, "data": "92", "why": "is the FIFO empty"}

`register` is the address, `name` what is there in this firmware; `length` in bytes; `data` in hexadecimal: what was
written, or what was answered (less than `length` where less came). The order is that of the requests, also where
several were under way at once.
"""

import json
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TextIO

from daqd.errors import LinkTimeout
from daqd.transports.link import Link
from protocol.registers.steps import RegisterRequest


class Parser(Protocol):
    """Bytes to a board, in any pieces, to the requests that they complete."""

    def feed(self, data: bytes) -> Sequence[RegisterRequest]:
        """Requests completed by `data`, in order."""


@dataclass(slots=True)
class _Line:
    request: RegisterRequest
    name: str
    why: str
    answer: bytearray

    @property
    def open_bytes(self) -> int:
        return self.request.answer_bytes - len(self.answer)

    def json(self) -> str:
        written: bytes | None = getattr(self.request, "data", None)
        if written is None:
            op, data, length = "read", bytes(self.answer), self.request.answer_bytes
        else:
            op, data, length = "write", written, len(written)
        return json.dumps(
            {
                "op": op,
                "register": int(self.request.register),
                "name": self.name,
                "length": length,
                "data": data.hex(),
                "why": self.why,
            }
        )


class TracingLink(Link):
    """A link that does what `link` does, and writes every transfer to `out`.

    `protocol` makes a parser for what is written; it is called at each `open`. `transfers` and `bytes` count what
    went over it, both ways. `before_write()` may raise a `BoardError` instead of what would be sent next.
    """

    def __init__(
        self,
        link: Link,
        protocol: Callable[[], Parser],
        out: TextIO | None,
        before_write: Callable[[], None] = lambda: None,
    ) -> None:
        self.link = link
        self.name = link.name
        self.transfers = 0
        self.bytes = 0
        self._protocol = protocol
        self._parser = protocol()
        self._out = out
        self._before_write = before_write
        self._lines: deque[_Line] = deque()

    def open(self) -> None:
        """Connect."""
        self.link.open()
        self._give_up()
        self._parser = self._protocol()

    def write(self, data: bytes) -> None:
        """Send all of `data`."""
        self._before_write()
        self.link.write(data)
        self.bytes += len(data)
        for request in self._parser.feed(data):
            self.transfers += 1
            self._lines.append(_Line(request, self.register_name(request.register), self.why, bytearray()))
        self._write_lines()

    def read(self, length: int, timeout_s: float, under_way: int = 0) -> bytes:
        """Exactly `length` bytes."""
        try:
            data = self.link.read(length, timeout_s, under_way)
        except LinkTimeout as error:
            self._answered(error.partial)
            # What comes after silence is no part of this answer.
            if self._lines:
                self._write_line(self._lines.popleft())
            self._write_lines()
            raise
        self._answered(data)
        return data

    def pending(self) -> bytes:
        """What has arrived without having been read; it answers no request."""
        data = self.link.pending()
        self.bytes += len(data)
        return data

    def close(self) -> None:
        """Disconnect; what is still unanswered goes into the trace as it is."""
        self._give_up()
        self.link.close()

    @property
    def exhausted(self) -> bool:
        """Whether no data will come any more."""
        return self.link.exhausted

    @property
    def counters(self) -> dict[str, int]:
        """What the link counts."""
        return self.link.counters

    def _answered(self, data: bytes) -> None:
        self.bytes += len(data)
        for line in self._lines:
            taken = line.open_bytes
            line.answer += data[:taken]
            data = data[taken:]
        self._write_lines()

    def _write_lines(self) -> None:
        while self._lines and not self._lines[0].open_bytes:
            self._write_line(self._lines.popleft())

    def _give_up(self) -> None:
        while self._lines:
            self._write_line(self._lines.popleft())

    def _write_line(self, line: _Line) -> None:
        if self._out is not None:
            self._out.write(line.json() + "\n")
