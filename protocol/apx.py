"""`.apx` files: header, and reading and writing with the interface of the public AstroPix analysis package."""

import json
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import Any, BinaryIO, Literal, Self

from protocol.block import ReadoutBlock
from protocol.errors import ApxFormatError, UnknownReadoutError
from protocol.readout import AbstractAstroPixReadout, uid_to_readout_class
from protocol.readout_decoder import ReadoutDecoder
from protocol.readout_description import ReadoutDescription, TimestampOrder
from protocol.records import RecordScanner

MAGIC = b"%APXDF"
MAX_HEADER_BYTES = 1 << 26
_HEADER_LENGTH = struct.Struct("<I")
HEADER_HEAD_BYTES = len(MAGIC) + _HEADER_LENGTH.size
"""Size of the begin of a file that says how long its header is."""

_CHUNK_BYTES = 1 << 22
_AHEAD_BYTES = 1 << 17
_UID_KEY = "readout_uid"


class FileHeader:
    """What an `.apx` file says of itself: the class of its readouts, and anything that JSON can carry.

    `content`: mapping of strings to what JSON can carry; a key `readout_uid` in it must agree with `readout_class`.
    """

    def __init__(self, readout_class: type[AbstractAstroPixReadout], content: dict[str, Any] | None = None) -> None:
        uid = readout_class.uid()
        given = dict(content or {})
        if given.pop(_UID_KEY, uid) != uid:
            raise ValueError(f"{_UID_KEY} in the header's content is not that of {readout_class.__name__}, {uid}")
        self._readout_class = readout_class
        self._content = {_UID_KEY: uid, **given}

    def readout_uid(self) -> int:
        """The number that says how to read the records."""
        return self._readout_class.uid()

    def readout_class(self) -> type[AbstractAstroPixReadout]:
        """The class of the readouts in the file."""
        return self._readout_class

    def description(self) -> ReadoutDescription:
        """What the header says of how the readouts are to be decoded."""
        return ReadoutDescription.of(self._content)

    def chips(self) -> int | None:
        """Chips in the chain, 1…31; None where the header does not say."""
        return self.description().chips

    def full_readout_bytes(self) -> int | None:
        """Length of a readout with its padding; None where the header does not say."""
        return self.description().full_readout_bytes

    def decoder(self, chips: int | None = None) -> ReadoutDecoder:
        """A decoder for the readouts of this file, or of all files of its run; `chips` overrides the header."""
        return self._readout_class.make_decoder(self.description().with_chips(chips))

    def with_timestamp_order(self, order: TimestampOrder) -> Self:
        """The same header with another byte order of the FPGA's time stamp."""
        return type(self)(self._readout_class, {**self._content, "timestamp_order": order})

    @property
    def content(self) -> dict[str, Any]:
        """All of it, `readout_uid` first; a copy."""
        return dict(self._content)

    def __getitem__(self, key: str) -> Any:
        return self._content[key]

    def __contains__(self, key: object) -> bool:
        return key in self._content

    def get(self, key: str, default: Any = None) -> Any:
        """The value of `key`, or `default`."""
        return self._content.get(key, default)

    def serialize(self) -> str:
        """The header's text: one JSON object."""
        return json.dumps(self._content)

    @classmethod
    def deserialize(cls, text: str) -> Self:
        """Inverse of `serialize`; `ValueError` for what is no header of a known kind of readout."""
        content = _content_of(text)
        return cls(uid_to_readout_class(content[_UID_KEY]), content)

    def to_bytes(self) -> bytes:
        """The beginning of the file: magic, length, text."""
        text = self.serialize().encode()
        return MAGIC + _HEADER_LENGTH.pack(len(text)) + text

    @classmethod
    def from_file(cls, file: BinaryIO) -> Self:
        """Read a header, and leave the file at its first record.

        `ApxFormatError` with the offset of what is wrong, `UnknownReadoutError` where the header is that of readouts
        which nobody here knows.
        """
        size_bytes = header_size_bytes(file.read(HEADER_HEAD_BYTES))
        if size_bytes is None:
            raise ApxFormatError("the file ends within the length of the header", len(MAGIC))
        length = size_bytes - HEADER_HEAD_BYTES
        text = file.read(length)
        if len(text) < length:
            what = f"a header of {length} bytes announced, the file ends after {len(text)}"
            raise ApxFormatError(what, HEADER_HEAD_BYTES)
        try:
            content = _content_of(text.decode())
        except ValueError as error:  # also of the decoding from UTF-8
            raise ApxFormatError(str(error), HEADER_HEAD_BYTES) from None
        try:
            return cls(uid_to_readout_class(content[_UID_KEY]), content)
        except ValueError as error:
            failure = UnknownReadoutError if isinstance(content[_UID_KEY], int) else ApxFormatError
            raise failure(str(error), HEADER_HEAD_BYTES) from None

    def __eq__(self, other: object) -> bool:
        return self._content == other._content if isinstance(other, FileHeader) else NotImplemented

    def __hash__(self) -> int:
        # Equal contents may have their keys in another order, and 1.0 for 1.
        return hash((self.readout_uid(), frozenset(self._content)))

    def __str__(self) -> str:
        return f"FileHeader({self.serialize()})"


def header_size_bytes(head: bytes) -> int | None:
    """Size of a file's header with all that is before its first record, from the file's first `HEADER_HEAD_BYTES`.

    None where there are fewer, `ApxFormatError` where they do not begin a header.
    """
    magic = head[: len(MAGIC)]
    if magic != MAGIC:
        raise ApxFormatError(f"not an .apx file: begins with {magic!r}, not {MAGIC!r}", 0)
    if len(head) < HEADER_HEAD_BYTES:
        return None
    (length,) = _HEADER_LENGTH.unpack_from(head, len(MAGIC))
    if length > MAX_HEADER_BYTES:
        raise ApxFormatError(f"a header of {length} bytes announced; that is damage", len(MAGIC))
    return HEADER_HEAD_BYTES + int(length)


def _content_of(text: str) -> dict[str, Any]:
    """What the text of a header holds; `ValueError` where that is no object with a `readout_uid`."""
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"the header is not JSON: {error}") from None
    if not isinstance(content, dict):
        raise ValueError(f"the header is a JSON {type(content).__name__}, not an object")
    if _UID_KEY not in content:
        raise ValueError(f"the header has no {_UID_KEY}")
    return content


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Puts the name of the file at `path` into the errors of its format."""
    try:
        yield
    except ApxFormatError as error:
        raise error.in_file(str(path)) from None


class ApxReader:
    """Reads a file in blocks, in constant memory: the fast way. A context manager; close it otherwise.

    Raises `ApxFormatError` for a bad header at once, for a bad record where it comes; `OSError` as `open` does.
    """

    def __init__(self, path: str | PathLike[str]) -> None:
        self.path = Path(path)
        self._file = self.path.open("rb")
        try:
            with _named(self.path):
                self.header = FileHeader.from_file(self._file)
        except BaseException:
            self._file.close()
            raise
        self._scanner = RecordScanner(self._file.tell())

    def blocks(self, chunk_bytes: int = _CHUNK_BYTES) -> Iterator[ReadoutBlock]:
        """The readouts that are left, in blocks; ends after the last whole record."""
        with _named(self.path):
            while chunk := self._file.read(chunk_bytes):
                block = self._scanner.feed(chunk)
                if len(block):
                    yield block
            if self._scanner.leftover_bytes:
                # Nothing more can come; a fault that the last bytes brought to light is reported now.
                self._scanner.feed(b"")

    @property
    def consumed_bytes(self) -> int:
        """Size of what was read as whole records, with the header before them."""
        return self._scanner.offset

    @property
    def leftover_bytes(self) -> int:
        """Bytes read after the last whole record: at the end of a file, what a cut left over."""
        return self._scanner.leftover_bytes

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class AstroPixBinaryFile:
    """An `.apx` file, open for reading (an iterable of readouts) or for writing. Use `apx_open`."""

    def __init__(self, file: BinaryIO, header: FileHeader, path: Path) -> None:
        self._file = file
        self.header = header
        self.path = path
        self._description = header.description()
        self._scanner: RecordScanner | None = None
        self._ahead: Iterator[AbstractAstroPixReadout] = iter(())

    def __iter__(self) -> Iterator[AbstractAstroPixReadout]:
        return self

    def __next__(self) -> AbstractAstroPixReadout:
        while (readout := next(self._ahead, None)) is None:
            self._ahead = iter(self._read_ahead())
        return readout

    def _read_ahead(self) -> list[AbstractAstroPixReadout]:
        """Readouts of the next stretch of the file; `StopIteration` where nothing has come since the last one."""
        if self._scanner is None:
            self._scanner = RecordScanner(self._file.tell())
        chunk = self._file.read(_AHEAD_BYTES)
        if not chunk and not self._scanner.leftover_bytes:
            raise StopIteration
        with _named(self.path):
            block = self._scanner.feed(chunk)
        if not chunk:
            raise StopIteration
        return self.header.readout_class().from_block(block, self._description)

    @property
    def leftover_bytes(self) -> int:
        """After the iteration: bytes after the last whole record; not 0 where the file was cut."""
        return 0 if self._scanner is None else self._scanner.leftover_bytes

    def write(self, data: bytes) -> None:
        """Append a record, as `AbstractAstroPixReadout.write` does."""
        self._file.write(data)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def apx_open(
    path: str | PathLike[str], mode: Literal["rb", "wb", "xb"] = "rb", header: FileHeader | None = None
) -> AstroPixBinaryFile:
    """Open an `.apx` file for reading ('rb'), or a new one for writing ('wb', or 'xb' to refuse an existing one).

    Writing needs a header, reading takes none: else `ValueError`. `ApxFormatError` for a bad header, `OSError` as
    from `open`.
    """
    path = Path(path)
    if mode not in ("rb", "wb", "xb"):
        raise ValueError(f"mode {mode!r}: an .apx file is opened 'rb', 'wb' or 'xb'")
    if (header is None) != (mode == "rb"):
        raise ValueError("a header is needed to write an .apx file, and comes from the file when reading")
    file = path.open(mode)
    try:
        if header is None:
            with _named(path):
                header = FileHeader.from_file(file)
        else:
            file.write(header.to_bytes())
    except BaseException:
        file.close()
        raise
    return AstroPixBinaryFile(file, header, path)
