"""Hits as CSV text, a whole table at a time (docs/formats.md, "CSV").

Every column becomes a matrix of characters, one row a hit, in which NUL stands for no character; the matrices are
joined side by side with commas, and the NULs taken out of the text at the end.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from protocol.hit import HitTable

Characters = npt.NDArray[np.uint8]
"""Shape (rows, width): ASCII codes, 0 where there is no character."""

_MAX_ROWS = 1 << 15
"""Rows formatted at a time: small enough for the processor's cache."""

_GROUP = 10_000
_BLANK = 2 * _GROUP


def _digit_groups() -> npt.NDArray[np.uint32]:
    """Four digits each: 0…9999 with leading zeros; the same without; and, last, no digit at all."""
    padded = b"".join(b"%04d" % number for number in range(_GROUP))
    leading = b"".join((b"%d" % number).rjust(4, b"\0") for number in range(_GROUP))
    return np.frombuffer(padded + leading + bytes(4), np.uint32)


_DIGITS = _digit_groups()
# n/200 has one of these endings
_ENDINGS = np.frombuffer(b"".join(repr(n / 200)[1:].encode().ljust(4, b"\0") for n in range(200)), np.uint8).reshape(
    200, 4
)


def integer_characters(values: npt.NDArray[Any]) -> Characters:
    """Unsigned integers (n,) in decimal."""
    if len(values) == 0:
        return np.zeros((0, 1), np.uint8)
    rest: npt.NDArray[np.uint32 | np.uint64] = values.astype(np.uint64 if values.dtype.itemsize > 4 else np.uint32)
    groups: list[npt.NDArray[np.uint32]] = []
    while True:
        high = rest // _GROUP
        index = (rest - high * _GROUP).astype(np.intp)
        index += (high == 0) * _GROUP
        if groups:
            index[rest == 0] = _BLANK
        groups.append(_DIGITS.take(index))
        rest = high
        if not rest.any():
            break
    return np.stack(groups[::-1], axis=1).view(np.uint8)


def float_characters(values: npt.NDArray[np.float64]) -> Characters:
    """Floats (n,), each in the shortest text that reads back as the same number, as `repr` writes it.

    Times over threshold are whole numbers of 50, 25, 10 or 5 ns, and so of 200ths of a microsecond: those are made of
    their whole part and one of 200 endings.
    """
    with np.errstate(invalid="ignore", over="ignore"):
        plain = (values >= 0) & (values < 2e7)
        parts = np.where(plain, np.rint(values * 200), 0).astype(np.uint32)
        plain &= (parts / 200 == values) & ~np.signbit(values)
    if not plain.all():
        texts = np.array([repr(value).encode() for value in values.tolist()])
        return texts.view(np.uint8).reshape(len(texts), -1)
    whole = parts // 200
    endings = _ENDINGS.take(parts - whole * 200, axis=0)
    return np.concatenate([integer_characters(whole), endings], axis=1)


def column_characters(values: npt.NDArray[Any]) -> Characters:
    """A column of any kind of number; unsigned integers and floats are fast."""
    if values.dtype.kind == "u":
        return integer_characters(values)
    if values.dtype.kind == "f":
        return float_characters(values.astype(np.float64))
    texts = np.array([str(value).encode() for value in values.tolist()], dtype=np.bytes_)
    return texts.view(np.uint8).reshape(len(texts), -1)


def csv_rows(table: HitTable, columns: Sequence[str]) -> bytes:
    """The rows of `table` (n,): values of `columns` with commas between, each row ended by a line feed."""
    return b"".join(_csv_rows(table[start : start + _MAX_ROWS], columns) for start in range(0, len(table), _MAX_ROWS))


def _csv_rows(table: HitTable, columns: Sequence[str]) -> bytes:
    comma = np.full((len(table), 1), ord(","), np.uint8)
    line_feed = np.full((len(table), 1), ord("\n"), np.uint8)
    parts: list[Characters] = []
    for name in columns:
        parts += [column_characters(table[name]), comma]
    parts[-1] = line_feed
    return np.concatenate(parts, axis=1).tobytes().translate(None, b"\0")
