"""Recordings as the subcommands read them: in blocks, with a progress bar."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from apx.subcommand import MisuseError, ToolError
from apx.terminal import complain, is_file, progress
from protocol.apx import ApxReader, FileHeader
from protocol.block import ReadoutBlock
from protocol.hit import AbstractAstroPixHit
from protocol.readout_description import TimestampOrder


class Recording:
    """An open `.apx` file; memory does not grow with its size. `timestamp_order` overrides that of its header.

    Raises `ToolError` where the hits have no time stamp whose bytes have an order.
    """

    def __init__(
        self,
        reader: ApxReader,
        size_bytes: int,
        advance: Callable[[int], None],
        timestamp_order: TimestampOrder | None = None,
    ) -> None:
        self._reader = reader
        self._advance = advance
        self.path = reader.path
        self.size_bytes = size_bytes
        self.header: FileHeader = reader.header
        if timestamp_order is not None:
            if "fpga_timestamp" not in self.hit_class.ATTRIBUTE_NAMES:
                raise ToolError(f"{self.path}: its hits have no FPGA time stamp: leave out --timestamp-order")
            self.header = reader.header.with_timestamp_order(timestamp_order)
        self.header_bytes = reader.consumed_bytes

    @property
    def hit_class(self) -> type[AbstractAstroPixHit]:
        """The class of the hits in the file."""
        hit_class = self.header.readout_class().HIT_CLASS
        if hit_class is None:
            raise ToolError(f"{self.path}: {self.header.readout_class().__name__} does not say what its hits are")
        return hit_class

    @property
    def leftover_bytes(self) -> int:
        """After `blocks`: bytes after the last whole record."""
        return self._reader.leftover_bytes

    def blocks(self) -> Iterator[ReadoutBlock]:
        """The readouts, once."""
        for block in self._reader.blocks():
            yield block
            self._advance(self._reader.consumed_bytes)

    def complete(self) -> bool:
        """After `blocks`: whether the file ended with a whole record; says so on stderr if not."""
        if self.leftover_bytes:
            complain(f"{self.path}: cut: the last {self.leftover_bytes} bytes are no whole readout and were left out")
        return not self.leftover_bytes


@contextmanager
def open_recording(
    path: Path, timestamp_order: TimestampOrder | None = None, *, prints: bool = False
) -> Iterator[Recording]:
    """Open an `.apx` file; `OSError` and `ApxFormatError` as `ApxReader`.

    `timestamp_order`: as in `Recording`. `prints`: what is read goes to standard output as it is read. A bar would be
    in the middle of it on a terminal, and in the middle of a pager's screen, so there is one only where a file takes
    it.
    """
    with ApxReader(path) as reader:
        size_bytes = path.stat().st_size
        with progress(path, size_bytes if not prints or is_file(sys.stdout) else 0) as advance:
            yield Recording(reader, size_bytes, advance, timestamp_order)


def chosen_columns(text: str | None, hit_class: type[AbstractAstroPixHit]) -> tuple[str, ...]:
    """Column names from `a,b,c`, all for None; `MisuseError` for one that the hits do not have."""
    if text is None:
        return hit_class.ATTRIBUTE_NAMES
    names = tuple(name.strip() for name in text.split(","))
    for name in names:
        if name not in hit_class.ATTRIBUTE_NAMES:
            raise MisuseError(f"no column {name!r}: there are {', '.join(hit_class.ATTRIBUTE_NAMES)}")
    return names
