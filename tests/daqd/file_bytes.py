"""The bytes of .apx files, put together by hand from docs/formats.md."""

import json
import struct
from typing import Any

RECORD = struct.Struct("<3sIQI")
MARKER = bytes.fromhex("fedcba")


def header_bytes(**content: Any) -> bytes:
    text = json.dumps({"readout_uid": 4000, **content}).encode()
    return b"%APXDF" + struct.pack("<I", len(text)) + text


def record_bytes(readout_id: int, timestamp_ns: int, data: bytes) -> bytes:
    return RECORD.pack(MARKER, readout_id, timestamp_ns, len(data)) + data
