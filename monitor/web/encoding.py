"""What goes to browsers: parts, each a JSON header and arrays as they are in memory, joined into messages.

A part: length of the header and of the arrays in bytes (two little-endian 32-bit numbers), the header, the arrays;
each of them filled up to a multiple of 8 bytes, so that a browser can look at an array without copying it. Header:
`source`, `choice`, `columns` (name to a list of texts, or to {`type`, `shape`, `at`}), `about` (all else).
"""

import json
import struct
from collections.abc import Mapping
from typing import Any

import numpy.typing as npt

_LENGTHS = struct.Struct("<II")  # header, arrays
_ALIGNMENT = 8
_TYPES = {
    "u1": "Uint8Array",
    "u2": "Uint16Array",
    "u4": "Uint32Array",
    "f4": "Float32Array",
    "f8": "Float64Array",
}


def encode_part(
    source: str,
    choice: str = "",
    columns: Mapping[str, npt.NDArray[Any] | list[str]] | None = None,
    about: Mapping[str, Any] | None = None,
) -> bytes:
    """One part; its length is a multiple of 8 bytes."""
    described: dict[str, Any] = {}
    arrays: list[bytes] = []
    at = 0
    for name, column in (columns or {}).items():
        if isinstance(column, list):
            described[name] = column
            continue
        array = _small(column)
        data = _filled_up(array.tobytes())
        described[name] = {"type": _TYPES[array.dtype.str[1:]], "shape": array.shape, "at": at}
        arrays.append(data)
        at += len(data)
    header = {"source": source, "choice": choice, "columns": described, "about": about or {}}
    text = json.dumps(header, separators=(",", ":"), allow_nan=False).encode()
    text += b" " * (-(_LENGTHS.size + len(text)) % _ALIGNMENT)
    return b"".join([_LENGTHS.pack(len(text), at), text, *arrays])


def _small(column: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Little endian, and counts in as few bytes as they need."""
    if column.dtype.kind in "iub":
        largest = int(column.max(initial=0))
        kind = "<u1" if largest < 1 << 8 else "<u2" if largest < 1 << 16 else "<u4" if largest < 1 << 32 else "<f8"
        return column.astype(kind)
    return column.astype("<f4" if column.dtype.itemsize <= 4 else "<f8", copy=False)


def _filled_up(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % _ALIGNMENT)
