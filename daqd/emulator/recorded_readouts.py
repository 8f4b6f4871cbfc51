"""Recorded `.apx` files played back through an emulated board: bytes of a GECCO board, or layer frames (A-STEP)."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from daqd.emulator.emulated_chips import emulated_chips
from daqd.emulator.hit_sources import ByteSource, FrameSource, HitDelivery, SentFrames
from daqd.errors import ConfigError
from protocol.apx import ApxReader
from protocol.block import ReadoutBlock
from protocol.errors import ProtocolError
from protocol.layer_scan import FrameLayout
from protocol.readout import AbstractAstroPixReadout, AstroPix4Readout
from protocol.readout_decoder import ReadoutDecoder
from protocol.readout_description import ReadoutDescription, TimestampOrder
from protocol.registers.astep_registers import MAX_LAYERS
from protocol.stream_bytes import PADDING_BYTE


class RecordedReadouts(ByteSource):
    """Each read of the FIFO gives exactly one recorded readout, then padding.

    The next readout enters the FIFO when the one before was read and its time has come: the recorded time since the
    first readout of its file, divided by `speed`; "max" waits for nothing. An empty recorded readout enters as one byte
    of padding. After the last one it is silent.

    Raises `ConfigError` where a file cannot be read, holds readouts longer than `readout_bytes`, others than of
    `readout_class`, or frames whose time stamps are not as `described`.
    """

    delivery = HitDelivery.READOUTS

    def __init__(
        self,
        paths: Sequence[Path],
        readout_bytes: int,
        speed: float | Literal["max"] = 1.0,
        readout_class: type[AbstractAstroPixReadout] = AstroPix4Readout,
        described: ReadoutDescription | None = None,
    ) -> None:
        self._paths = tuple(paths)
        self._speed = speed
        for path in self._paths:
            _check_header(path, readout_class, described or ReadoutDescription())
        self.readouts = sum(_count_readouts(path, readout_bytes) for path in self._paths)
        self.played = 0
        self._timed_readouts = self._read()
        self._next = next(self._timed_readouts, None)
        self._file_began_s = 0.0

    def _read(self) -> Iterator[tuple[float | None, bytes]]:
        """Seconds since the first readout of the file (None for that one) and data of each readout."""
        for path in self._paths:
            first_ns: int | None = None
            with ApxReader(path) as reader:
                for block in reader.blocks():
                    for index, timestamp_ns in enumerate(block.timestamp.tolist()):
                        data = block.data[block.offsets[index] : block.offsets[index + 1]]
                        if first_ns is None:
                            first_ns = timestamp_ns
                            yield None, data
                        else:
                            yield (timestamp_ns - first_ns) / 1e9, data

    def take(self, elapsed_s: float, room: int, waiting: int) -> bytes:
        """The next readout, when the FIFO is empty and the time has come."""
        if waiting or self._next is None:
            return b""
        since_first_s, data = self._next
        if since_first_s is None:
            self._file_began_s = elapsed_s
        elif self._speed != "max" and elapsed_s - self._file_began_s < since_first_s / self._speed:
            return b""
        self._next = next(self._timed_readouts, None)
        self.played += 1
        return data or bytes((PADDING_BYTE,))

    @property
    def exhausted(self) -> bool:
        """Whether the last readout was played."""
        return self._next is None

    @property
    def counters(self) -> dict[str, int]:
        """Readouts played, and how many there are."""
        return {"emulator_readouts_played": self.played, "emulator_readouts": self.readouts}


def recorded_order(path: Path) -> TimestampOrder:
    """Order of the bytes of the time stamps in a file of layer frames; "big" where it cannot be read."""
    try:
        with ApxReader(path) as reader:
            return reader.header.description().timestamp_order or "little"
    except (OSError, ProtocolError):
        return "big"


def _check_header(path: Path, wanted: type[AbstractAstroPixReadout], described: ReadoutDescription) -> None:
    """The file must be of such a board: a real one sends nothing else."""
    try:
        with ApxReader(path) as reader:
            header = reader.header
    except (OSError, ProtocolError) as error:
        raise ConfigError([f"emulator.file: {error}"]) from error
    found = header.readout_class()
    if found is not wanted:
        raise ConfigError(
            [
                f"emulator.file: {path} holds {found.__name__}, and the board sends {wanted.__name__}: "
                "set board.kind and board.chip_version to those of the recording"
            ]
        )
    stamps = header.description()
    mistakes = [
        f"emulator.file: {path} has time stamps with {name} = {recorded}: set astep.{name} to that"
        for name, recorded, mine in (
            ("timestamp_bits", stamps.timestamp_bits or 32, described.timestamp_bits),
            ("timestamp_order", stamps.timestamp_order or "little", described.timestamp_order),
        )
        if mine not in (None, recorded)
    ]
    if mistakes:
        raise ConfigError(mistakes)


def _count_readouts(path: Path, readout_bytes: int) -> int:
    readouts = longest = 0
    try:
        with ApxReader(path) as reader:
            for block in reader.blocks():
                readouts += len(block)
                longest = max(longest, int((block.offsets[1:] - block.offsets[:-1]).max()))
    except (OSError, ProtocolError) as error:
        raise ConfigError([f"emulator.file: {error}"]) from error
    if longest > readout_bytes:
        raise ConfigError(
            [f"emulator.file: {path} has readouts of {longest} bytes: board.readout_bytes must be at least that"]
        )
    return readouts


_FIRST_LAYER_ID = 1


class RecordedFrames(FrameSource):
    """What is read of the FIFO at a time is exactly one recorded readout; see `RecordedReadouts` for when it comes.

    The bytes are played as they are. `decoder` finds the frames among them, for the counters of the layers.
    """

    as_recorded = True

    def __init__(self, readouts: RecordedReadouts, chip_version: int, decoder: ReadoutDecoder) -> None:
        self.chip_version = chip_version
        self.hit_bytes = emulated_chips(chip_version).hit_bytes
        self._readouts = readouts
        self._decoder = decoder

    def take(self, elapsed_s: float, room: int, layout: FrameLayout, waiting: int = 0) -> Iterator[SentFrames]:
        """The next readout, when the FIFO is empty and its time has come; it is lost where layer 0 is not read."""
        data = self._readouts.take(elapsed_s, room, waiting)
        if not data:
            return
        layers = self._decoder.decode(ReadoutBlock.from_columns([data], [0], [0]))["layer"]
        # The firmware numbers its layers from 1; other numbers are in nobody's register.
        counted = np.bincount(layers, minlength=MAX_LAYERS + 1)[_FIRST_LAYER_ID : MAX_LAYERS + _FIRST_LAYER_ID]
        yield SentFrames(data, np.array([len(data)]), np.zeros(1, np.int64), tuple(counted.tolist()), (0,) * MAX_LAYERS)

    @property
    def exhausted(self) -> bool:
        """Whether the last readout was played."""
        return self._readouts.exhausted

    @property
    def counters(self) -> dict[str, int]:
        """Readouts played, and how many there are."""
        return self._readouts.counters
