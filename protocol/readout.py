"""Readouts: one binary chunk from the board each, with any number of hits, and its record in a file."""

import struct
import time
from typing import Any, BinaryIO, ClassVar, Self

from protocol.block import ReadoutBlock
from protocol.decode import StreamDecoder
from protocol.decoding import Decoding, DecodingStatus
from protocol.entry_points import CHIPS, loaded
from protocol.errors import ApxFormatError
from protocol.hit import AbstractAstroPixHit, AstroPix4Hit
from protocol.ledger import ByteClass
from protocol.readout_decoder import ReadoutDecoder
from protocol.readout_description import MAX_READOUT_BYTES, ReadoutDescription
from protocol.shared_hits import SharedHits
from protocol.stream_bytes import strip_padding

RECORD_MARKER = b"\xfe\xdc\xba"
RECORD_HEAD = struct.Struct("<3sIQI")
"""Marker, readout_id, time stamp in ns since the epoch, length of the data (docs/formats.md, "Record")."""

_LENGTH_OFFSET = RECORD_HEAD.size - struct.calcsize("<I")

_COLOURS = {
    ByteClass.IDLE: "\x1b[2m",
    ByteClass.PADDING: "\x1b[2;34m",
    ByteClass.HIT: "\x1b[1;32m",
    ByteClass.CARRIED: "\x1b[33m",
    ByteClass.ORPHAN: "\x1b[31m",
    ByteClass.DROPPED: "\x1b[35m",
}
_PLAIN = "\x1b[0m"

_NOTHING_KNOWN = ReadoutDescription()

_readout_classes: dict[int, type["AbstractAstroPixReadout"]] = {}


def uid_to_readout_class(uid: int) -> type["AbstractAstroPixReadout"]:
    """The readout class whose records a file with `readout_uid` = `uid` holds; `ValueError` if there is none."""
    try:
        if uid not in _readout_classes:
            loaded(CHIPS)  # which registers their classes
        return _readout_classes[uid]
    except (KeyError, TypeError):
        known = ", ".join(f"{number} ({each.__name__})" for number, each in sorted(_readout_classes.items()))
        raise ValueError(f"unknown readout uid {uid!r}; known are {known}") from None


class AbstractAstroPixReadout:
    """One readout; a concrete class names the class of its hits, and a uid if it is to be written to files.

    `readout_data`: bytes or bytearray as read from the board; trailing padding is removed. `readout_id`: number of the
    readout in its run, 0…2^32-1. `timestamp`: ns since the epoch; the host's clock now, where none is given.
    `description`, an attribute, says what is known beside the class; the readouts of a file have it from the header.

    A subclass sets `HIT_CLASS` (a concrete `AbstractAstroPixHit`), else `TypeError`; and `_UID`, a number that no other
    layout has ever had: it tells readers of a file how to read its records. One whose hits do not stand among idles as
    the GECCO board's do also brings its own `without_padding`, `make_decoder` and `restore_decoder`.
    """

    HIT_CLASS: ClassVar[type[AbstractAstroPixHit] | None] = None
    _UID: ClassVar[int | None] = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        hit_class = cls.HIT_CLASS
        if not (isinstance(hit_class, type) and issubclass(hit_class, AbstractAstroPixHit)):
            raise TypeError(f"{cls.__name__}.HIT_CLASS must name a class of hits, not {hit_class!r}")
        if getattr(hit_class, "__abstractmethods__", None):
            raise TypeError(f"{cls.__name__}.HIT_CLASS must be concrete; {hit_class.__name__} is abstract")
        uid = cls.__dict__.get("_UID")
        if uid is None:
            return
        if type(uid) is not int or not 0 <= uid < 1 << 32:
            raise TypeError(f"{cls.__name__}._UID must be a number of 32 bits, not {uid!r}")
        known = _readout_classes.setdefault(uid, cls)
        if (known.__module__, known.__qualname__) != (cls.__module__, cls.__qualname__):
            raise TypeError(f"{cls.__name__}._UID: {uid} is taken by {known.__name__}; a new layout takes a new uid")
        _readout_classes[uid] = cls

    def __init__(self, readout_data: bytes | bytearray, readout_id: int, timestamp: int | None = None) -> None:
        self.timestamp = time.time_ns() if timestamp is None else timestamp
        self.hit_class()  # an abstract class refuses here
        self.readout_id = readout_id
        self.description = _NOTHING_KNOWN
        self._data = self.without_padding(bytes(readout_data))
        self._status = DecodingStatus()
        self._hits: list[AbstractAstroPixHit] | None = None
        self._extra_bytes = b""
        self._shared: tuple[SharedHits, int, ReadoutDescription] | None = None

    @classmethod
    def from_block(cls, block: ReadoutBlock, description: ReadoutDescription) -> list[Self]:
        """The readouts of a block, which find their hits together when the first of them is decoded."""
        data, offsets = block.data, block.offsets.tolist()
        columns = zip(offsets, offsets[1:], block.readout_id.tolist(), block.timestamp.tolist(), strict=False)
        readouts = [cls(data[start:stop], readout_id, timestamp) for start, stop, readout_id, timestamp in columns]
        shared = SharedHits(ReadoutBlock.from_readouts(readouts), lambda: cls.make_decoder(description))
        for index, readout in enumerate(readouts):
            readout.description = description
            readout._shared = shared, index, description
        return readouts

    @classmethod
    def uid(cls) -> int:
        """The number that says in a file how to read its records; `TypeError` for a class without one."""
        if cls._UID is None:
            raise TypeError(f"{cls.__name__} has no _UID and cannot be written to files; give it one of its own")
        return cls._UID

    @classmethod
    def hit_class(cls) -> type[AbstractAstroPixHit]:
        """`HIT_CLASS`; `TypeError` for the abstract class."""
        if cls.HIT_CLASS is None:
            raise TypeError(f"{cls.__name__} is abstract; use the class of the chip, like AstroPix4Readout")
        return cls.HIT_CLASS

    @classmethod
    def without_padding(cls, data: bytes) -> bytes:
        """What is kept of `data` as the board delivered it: all but the 0xFF at its end that can only be padding."""
        return strip_padding(data)

    @classmethod
    def make_decoder(cls, description: ReadoutDescription | None = None) -> ReadoutDecoder:
        """A decoder for the readouts of one run; `description`: what its header or record says of them."""
        known = description or ReadoutDescription()
        return StreamDecoder(known.chips, cls.hit_class(), known.full_readout_bytes)

    @classmethod
    def restore_decoder(cls, state: dict[str, Any]) -> ReadoutDecoder:
        """A decoder that goes on where the one that gave `state` was; `ValueError` where it is not a state."""
        return StreamDecoder.from_state(state, cls.hit_class())

    def data(self) -> bytes:
        """The readout's bytes, trailing padding removed."""
        return self._data

    def to_bytes(self) -> bytes:
        """The record as it stands in a file."""
        return RECORD_HEAD.pack(RECORD_MARKER, self.readout_id, self.timestamp, len(self._data)) + self._data

    @classmethod
    def from_bytes(cls, record: bytes | bytearray | memoryview) -> Self:
        """Inverse of `to_bytes`, for exactly one whole record; else `ApxFormatError`."""
        record = bytes(record)
        if len(record) < RECORD_HEAD.size:
            raise ApxFormatError(f"a record has at least {RECORD_HEAD.size} bytes, this has {len(record)}", 0)
        marker, readout_id, timestamp, length = RECORD_HEAD.unpack_from(record)
        if marker != RECORD_MARKER:
            raise ApxFormatError(f"no record marker {RECORD_MARKER.hex()}, but {marker.hex()}", 0)
        if len(record) != RECORD_HEAD.size + length:
            raise ApxFormatError(
                f"{length} bytes of data announced, {len(record) - RECORD_HEAD.size} there", _LENGTH_OFFSET
            )
        return cls(record[RECORD_HEAD.size :], readout_id, timestamp)

    def write(self, file: Any) -> None:
        """Append the record to an open file (anything with `write(bytes)`)."""
        file.write(self.to_bytes())

    @classmethod
    def from_file(cls, file: BinaryIO) -> Self | None:
        """The next record of a file; None at the end, also where the file was cut within a record.

        `ApxFormatError` where no record begins, or one of more than `MAX_READOUT_BYTES`.
        """
        head = file.read(RECORD_HEAD.size)
        if head[: len(RECORD_MARKER)] != RECORD_MARKER[: len(head)]:
            offset = file.tell() - len(head) if file.seekable() else 0
            raise ApxFormatError(f"no record marker {RECORD_MARKER.hex()}, but {head[:3].hex()}", offset)
        if len(head) < RECORD_HEAD.size:
            return None
        _, readout_id, timestamp, length = RECORD_HEAD.unpack(head)
        if length > MAX_READOUT_BYTES:
            offset = file.tell() - len(head) if file.seekable() else 0
            raise ApxFormatError(f"a readout of {length} bytes announced; that is damage", offset)
        data = file.read(length)
        return cls(data, readout_id, timestamp) if len(data) == length else None

    def decode(self, extra_bytes: bytes | None = None) -> list[AbstractAstroPixHit]:
        """The hits of this readout; `extra_bytes` are the `extra_bytes()` of the readout before, if any.

        What happened is in `decoding_status()`, and the hit that waits for the next readout in `extra_bytes()`.
        A `StreamDecoder` does the same for whole runs, many times faster. Pass on the object that `extra_bytes()`
        returns: a copy of its bytes does not say how many bytes 0xFF may have been removed from the readout. Extra
        bytes of layer frames do not say where readouts ended in them, so they decide nothing about damaged frames.
        """
        status = DecodingStatus()
        if self._shared is not None and not extra_bytes:
            shared, index, description = self._shared
            self._shared = None  # the block, and its other readouts' hits, are not kept for this one
            hits = shared.of(index) if self.description is description else None
            if hits is not None:
                self._hits, self._status, self._extra_bytes = hits, status, b""
                return hits
        decoder = self._decoder(extra_bytes, status)
        given = decoder.carried
        before = len(given)
        decoded = decoder.examine([self])
        ledger = decoder.ledger
        used = ledger.rejoined_hits > 0 or ledger.carried + ledger.padding == before + len(self._data)
        for bit, happened in (
            (Decoding.ORPHAN_BYTES_MATCHED, bool(given) and ledger.rejoined_hits > 0),
            (Decoding.ORPHAN_BYTES_DROPPED, ledger.orphan > 0),
            (Decoding.ORPHAN_BYTES_NOT_USED, bool(given) and not used),
            (Decoding.VALID_EXTRA_BYTES, ledger.carried > 0 and bool(self._data)),
            (Decoding.INCOMPLETE_HIT_DROPPED, ledger.dropped_hits > 0),
            (Decoding.NOT_ALL_BYTES_VISITED, ledger.classified != len(self._data) + before),
            (Decoding.PADDING_RESTORED, ledger.restored_hits > 0),
        ):
            if happened:
                status.set(bit)
        self._extra_bytes = decoder.carried
        self._status = status
        self._hits = list(self.hit_class().from_table(decoded.table, decoded.words))
        return self._hits

    def _decoder(self, extra_bytes: bytes | None, status: DecodingStatus) -> ReadoutDecoder:
        decoder = self.make_decoder(self.description)
        try:
            decoder.carry_over(extra_bytes if isinstance(extra_bytes, bytes) else bytes(extra_bytes or b""))
        except ValueError:
            status.set(Decoding.INVALID_EXTRA_BYTES)
        return decoder

    def decoded(self) -> bool:
        """Whether `decode` was called."""
        return self._hits is not None

    def hits(self) -> list[AbstractAstroPixHit]:
        """The hits that the last `decode` found; decodes without extra bytes if it was not called."""
        return self.decode() if self._hits is None else self._hits

    def extra_bytes(self) -> bytes:
        """What the last `decode` left: a hit's beginning, for the `decode` of the next readout; empty if none."""
        return self._extra_bytes

    def decoding_status(self) -> DecodingStatus:
        """What happened in the last `decode`."""
        return self._status

    def hex(self) -> str:
        """The readout's bytes in hexadecimal."""
        return self._data.hex()

    def pretty_hex(self) -> str:
        """The same, coloured for a terminal by what each byte is taken for."""
        classes = self._decoder(None, DecodingStatus()).examine([self], classify=True).classes.tolist()
        pieces = []
        colour = ""
        for byte, byte_class in zip(self._data, classes, strict=True):
            wanted = _COLOURS[ByteClass(byte_class)]
            pieces.append(f"{_PLAIN}{wanted}{byte:02x}" if wanted != colour else f"{byte:02x}")
            colour = wanted
        return "".join(pieces) + (_PLAIN if pieces else "")

    def pretty_print(self) -> None:
        """Print the readout, its bytes coloured, and its hits."""
        print(f"{self}\n{self.pretty_hex()}")
        for hit in self.hits():
            print(f"  {hit}")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, AbstractAstroPixReadout):
            return NotImplemented
        return type(self) is type(other) and self.to_bytes() == other.to_bytes()

    def __hash__(self) -> int:
        return hash(self.to_bytes())

    def __str__(self) -> str:
        return (
            f"{type(self).__name__}({len(self._data)} bytes, readout_id = {self.readout_id}, "
            f"timestamp = {self.timestamp} ns)"
        )

    __repr__ = __str__


class AstroPix4Readout(AbstractAstroPixReadout):
    """What one read of the board's FIFO returned: AstroPix 4 with the GECCO bench firmware."""

    HIT_CLASS = AstroPix4Hit
    _UID = 4000
