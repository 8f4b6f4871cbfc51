"""What the page's scripts do with an update, in Python: parts out of bytes."""

import json
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np

_TYPES = {"Uint8Array": "u1", "Uint16Array": "<u2", "Uint32Array": "<u4", "Float32Array": "<f4", "Float64Array": "<f8"}


@dataclass(frozen=True)
class Part:
    source: str
    choice: str
    columns: dict[str, Any]
    about: dict[str, Any]


def parts(message: bytes) -> dict[str, Part]:
    """All parts of a message, by `source@choice`."""
    found: dict[str, Part] = {}
    at = 0
    while at < len(message):
        assert at % 8 == 0
        header_bytes, array_bytes = struct.unpack_from("<II", message, at)
        header = json.loads(message[at + 8 : at + 8 + header_bytes])
        arrays_at = at + 8 + header_bytes
        columns = {name: _column(message, arrays_at, column) for name, column in header["columns"].items()}
        found[f"{header['source']}@{header['choice']}"] = Part(
            header["source"], header["choice"], columns, header["about"]
        )
        at = arrays_at + array_bytes
    return found


def _column(message: bytes, arrays_at: int, column: Any) -> Any:
    if isinstance(column, list):
        return column
    assert column["at"] % 8 == 0
    count = int(np.prod(column["shape"]))
    values = np.frombuffer(message, _TYPES[column["type"]], count, arrays_at + column["at"])
    return values.reshape(column["shape"])
