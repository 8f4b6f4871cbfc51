"""Bytes that claim to be readouts, records, files and recordings: every byte accounted for, or a documented error."""

import io
import json
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol import AstroPix4Hit, AstroPix4Readout, FileHeader, StreamDecoder, apx_open
from protocol.apx import ApxReader
from protocol.block import ReadoutBlock
from protocol.errors import ApxFormatError, TextLogError
from protocol.layer_readout import AstroPix4LayerReadout
from protocol.readout import RECORD_HEAD, RECORD_MARKER
from protocol.readout_decoder import ReadoutDecoder
from protocol.readout_description import ReadoutDescription
from protocol.records import RecordScanner
from protocol.run_record import RunRecord
from protocol.textlog import TextLog
from tests.fuzz.damage import damaged, damaged_tree, fuzzed

_HITS = [hit.tobytes() for hit in AstroPix4Hit.encode(np.arange(4), np.arange(4), 9, [0, 1, 99, 131071], 77)]
_STREAMS = (
    b"\xbc\xbc".join(_HITS),
    b"".join(_HITS),
    b"\xbc" * 40 + _HITS[0][:5],
    _HITS[1][5:] + b"\xbc\xff\xbc" + _HITS[2],
)
_FRAME = bytes((13, 0)) + _HITS[0] + b"\1\2\3\4"
_FRAMES = (_FRAME * 3, b"\xff" * 9 + _FRAME + b"\xff" + _FRAME[:6], _FRAME[6:] + _FRAME)


def _file(records: int = 4) -> bytes:
    header = FileHeader(AstroPix4Readout, {"chips": 4, "full_readout_bytes": 64, "run": 7}).to_bytes()
    streams = [_STREAMS[number % len(_STREAMS)] for number in range(records)]
    heads = [RECORD_HEAD.pack(RECORD_MARKER, number, 10**18 + number, len(data)) for number, data in enumerate(streams)]
    return header + b"".join(head + data for head, data in zip(heads, streams, strict=True))


_FILES = (_file(), _file(0), _file(30))
_RECORD = RunRecord(
    daq="bench",
    run=7,
    state="finished",
    begin_ns=1,
    end_ns=2,
    software={"name": "x"},
    readout_uid=4000,
    configuration={},
)
_LOG = b"Digital: {'a': 1}\n Namespace(name='scan', chipVer=4)\n0\tb'bcbcffff'\n1\tb'e05042030620d701ff'\n2\tb'bc'\n"


def _accounted(decoder: ReadoutDecoder, readouts: list[bytes], cuts: int) -> None:
    """Decode `readouts` in `cuts` pieces: whatever they are, the ledger has each of their bytes in one class."""
    block = ReadoutBlock.from_columns(readouts, list(range(len(readouts))), [0] * len(readouts))
    step = max(1, len(block) // cuts)
    hits = sum(len(decoder.decode(block[start : start + step])) for start in range(0, len(block), step))
    assert decoder.ledger.bytes_read == sum(map(len, readouts))
    assert decoder.ledger.classified == decoder.ledger.bytes_read
    hits += len(decoder.flush())
    assert decoder.ledger.hits == hits
    assert decoder.ledger.classified == decoder.ledger.bytes_read
    assert decoder.ledger.carried == 0


@fuzzed
@given(
    st.lists(damaged(_STREAMS, (*_HITS, b"\xbc", b"\xff")).map(lambda data: data.rstrip(b"\xff")), max_size=12),
    st.none() | st.integers(1, 31),
    st.none() | st.sampled_from((16, 40, 64)),
    st.integers(1, 4),
)
def test_decoder(readouts: list[bytes], chips: int | None, full_bytes: int | None, cuts: int) -> None:
    _accounted(StreamDecoder(chips, full_readout_bytes=full_bytes), readouts, cuts)


@fuzzed
@given(
    st.lists(damaged(_FRAMES, (_FRAME, b"\xff" * 5, b"\x0d", b"\x0a")), max_size=12),
    st.none() | st.integers(1, 31),
    st.sampled_from((None, 16, 32, 48, 64)),
    st.integers(1, 4),
)
def test_decoder_of_layer_frames(readouts: list[bytes], chips: int | None, bits: int | None, cuts: int) -> None:
    description = ReadoutDescription.of({"chips": chips, "layers": 3, "timestamp_bits": bits})
    kept = [AstroPix4LayerReadout.without_padding(data) for data in readouts]
    _accounted(AstroPix4LayerReadout.make_decoder(description), kept, cuts)


@fuzzed
@given(damaged(_FILES))
@pytest.mark.parametrize("chunk_bytes", [7, 1 << 20])
def test_apx_reader(tmp_path: Path, chunk_bytes: int, content: bytes) -> None:
    path = tmp_path / "fuzzed.apx"
    path.write_bytes(content)
    try:
        with ApxReader(path) as reader:
            decoder = reader.header.decoder()
            for block in reader.blocks(chunk_bytes):
                decoder.decode(block)
            decoder.flush()
            assert reader.consumed_bytes + reader.leftover_bytes == len(content)
            assert decoder.ledger.classified == decoder.ledger.bytes_read
    except ApxFormatError as error:
        assert 0 <= error.offset <= len(content)
        assert "\n" not in str(error)


@fuzzed
@given(damaged(_FILES))
def test_readout_objects(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "fuzzed.apx"
    path.write_bytes(content)
    with suppress(ApxFormatError), apx_open(path) as file:
        extra_bytes = b""
        for readout in file:
            assert all(str(hit) for hit in readout.decode(extra_bytes))
            extra_bytes = readout.extra_bytes()
            assert type(readout).from_bytes(readout.to_bytes()) == readout


@fuzzed
@given(damaged(_FILES), st.lists(st.integers(0, 60), max_size=30))
def test_records_in_any_pieces(content: bytes, cuts: list[int]) -> None:
    scanner = RecordScanner(0)
    start = readouts = 0
    with suppress(ApxFormatError):
        for size in [*cuts, len(content)]:
            readouts += len(scanner.feed(content[start : start + size]))
            start += size
    assert scanner.offset <= len(content)
    assert readouts * RECORD_HEAD.size <= scanner.offset


@fuzzed
@given(damaged([_file(0)]) | damaged_tree([json.loads(_file(0)[10:])]).map(lambda tree: _header_of(tree)))
def test_header(content: bytes) -> None:
    with suppress(ApxFormatError):
        header = FileHeader.from_file(io.BytesIO(content))
        header.decoder()
        assert FileHeader.deserialize(header.serialize()) == header or "NaN" in header.serialize()


def _header_of(tree: object) -> bytes:
    text = json.dumps(tree).encode()
    return b"%APXDF" + len(text).to_bytes(4, "little") + text


@fuzzed
@given(
    damaged([_RECORD.model_dump_json().encode()])
    | damaged_tree([_RECORD.model_dump(mode="json")]).map(lambda tree: json.dumps(tree).encode())
)
def test_run_record(content: bytes) -> None:
    try:
        record = RunRecord.from_json(content)
    except ValueError as error:
        assert "\n" not in str(error)
        return
    with suppress(ValueError):
        record.decoder()


@fuzzed
@given(
    damaged([_LOG], (b"{'a': __import__('os')}", b"Namespace(", b"[" * 60, b"9" * 5000, b"\t", b"b'", b"\r", b"\xc3"))
)
def test_text_recording(content: bytes) -> None:
    with suppress(TextLogError):
        log = TextLog(io.TextIOWrapper(io.BytesIO(content), "utf-8", "replace", newline=""))
        for readout in log:
            assert len(readout.data) <= len(content) // 2
