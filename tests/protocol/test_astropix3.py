"""AstroPix 3: hits of rows and columns, in both kinds of readouts. Golden bytes are put together by hand."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apx.cli import main
from protocol import (
    ASTROPIX3_HIT_DTYPE,
    ASTROPIX3_LAYER_HIT_DTYPE,
    AbstractAstroPixReadout,
    ApxReader,
    AstroPix3Hit,
    AstroPix3LayerHit,
    AstroPix3LayerReadout,
    AstroPix3Readout,
    AstroPix4LayerHit,
    AstroPix4LayerReadout,
    FileHeader,
    LayerFrameDecoder,
    StreamDecoder,
    apx_open,
    uid_to_readout_class,
)
from protocol.block import ReadoutBlock
from protocol.hit import reverse_bit_order
from protocol.layer_frames import encode_frames
from protocol.layer_scan import FrameLayout
from protocol.mid_run import decoder_within_run
from protocol.readout_description import ReadoutDescription
from tests.protocol.layer_sequential import SequentialFrames
from tests.protocol.sequential import SequentialDecoder
from tests.protocol.test_formats_document import code, numbers, section, table, tables

TITLE = "Hit of version 3"
ROW, COLUMN = bytes.fromhex("20885a40c5"), bytes.fromhex("20919a4059")
LAYOUT = FrameLayout(data_bytes=5)


def test_uids() -> None:
    assert uid_to_readout_class(3000) is AstroPix3Readout
    assert uid_to_readout_class(3100) is AstroPix3LayerReadout
    assert AstroPix3Readout.hit_class() is AstroPix3Hit
    assert AstroPix3LayerReadout.hit_class() is AstroPix3LayerHit


# ---- the document


def test_fields() -> None:
    rows = table(TITLE, "field")
    fields = [(code(name), *map(int, re.findall(r"\d+", bits))) for name, bits, _ in rows]
    assert fields == [
        (field.name, field.first_bit, field.first_bit + field.width - 1)
        if field.width > 1
        else (field.name, field.first_bit)
        for field in AstroPix3Hit.LAYOUT.fields
    ]


def test_columns() -> None:
    rows = table(TITLE, "column")
    pairs = [*((row[0], row[1]) for row in rows), *((row[3], row[4]) for row in rows)]
    assert [(code(name), np.dtype(kind)) for name, kind in pairs] == [
        (name, ASTROPIX3_HIT_DTYPE[name]) for name in ASTROPIX3_HIT_DTYPE.names or ()
    ]
    assert f"{ASTROPIX3_HIT_DTYPE.itemsize} bytes a row" in section(TITLE)
    assert f"{ASTROPIX3_LAYER_HIT_DTYPE.itemsize} bytes a row" in section(TITLE)


def heading(first: str) -> list[str]:
    (found,) = [rows[0] for rows in tables(section(TITLE)) if rows[0][0] == first]
    return found


@pytest.mark.parametrize("row", table(TITLE, "wire bytes"), ids=lambda row: row[0])
def test_golden_hits(row: list[str]) -> None:
    wire = bytes.fromhex(code(row[0]))
    (hit,) = StreamDecoder(4, AstroPix3Hit).decode([AstroPix3Readout(wire + b"\xbc", 0, 0)])
    fields = {}
    for names, cell in zip(heading("wire bytes")[1:], row[1:], strict=True):
        for name, value in zip(names.split(", "), numbers(cell), strict=True):
            assert hit[name] == value
            fields[name] = int(value)
    for derived in ("tot_msb", "tot_lsb", "tot_us"):
        del fields[derived]
    assert AstroPix3Hit.encode(**fields).tobytes() == wire


@pytest.mark.parametrize("row", table(TITLE, "frame"), ids=lambda row: row[0])
def test_golden_frames(row: list[str]) -> None:
    frame = bytes.fromhex(code(row[0]))
    (hit,) = AstroPix3LayerReadout.make_decoder().decode([AstroPix3LayerReadout(frame, 0, 0)])
    for names, cell in zip(heading("frame")[1:], row[1:], strict=True):
        assert [hit[name] for name in names.split(", ")] == numbers(cell)
    data = AstroPix3LayerHit.encode(
        hit["chip_id"], hit["is_column"], hit["location"], hit["chip_timestamp"], hit["tot_dec"]
    )
    assert encode_frames(data, hit["layer"], hit["fpga_timestamp"], LAYOUT).tobytes() == frame


# ---- the stream of the bench firmware


def test_first_bytes_are_neither_idle_nor_padding() -> None:
    assert AstroPix3Hit.first_bytes(None).nonzero()[0].tolist() == list(range(0x20, 0x3F))
    assert AstroPix3Hit.first_bytes(3).nonzero()[0].tolist() == [0x20, 0x28, 0x30]


def test_unused_bits_change_nothing() -> None:
    spoilt = bytearray(reverse_bit_order(ROW))
    spoilt[1] |= 0x40
    spoilt[3] |= 0xF0
    hit, same = AstroPix3Hit(bytes(spoilt)), AstroPix3Hit(reverse_bit_order(ROW))
    assert hit.dict() == same.dict()
    assert same.attribute_values(["chip_id", "payload", "is_column", "location"]) == [0, 4, 0, 17]
    assert hit != same


def test_a_cut_hit_goes_on_in_the_next_readout_and_a_last_ff_comes_back() -> None:
    wire = bytes.fromhex("3845fff0ff")
    readouts = [
        AstroPix3Readout(b"\xbc" + ROW + COLUMN[:2], 0, 0),
        AstroPix3Readout(COLUMN[2:] + b"\xbc" + wire, 1, 0),
        AstroPix3Readout(b"\xbc", 2, 0),
    ]
    decoder = AstroPix3Readout.make_decoder(ReadoutDescription(chips=4))
    hits = decoder.decode(readouts)
    assert hits["location"].tolist() == [17, 9, 34]
    assert hits["readout_id"].tolist() == [0, 1, 2]
    assert (decoder.ledger.rejoined_hits, decoder.ledger.restored_hits) == (1, 1)
    assert decoder.ledger.balanced


numbers_of_hits = st.tuples(
    st.integers(0, 30), st.integers(0, 1), st.integers(0, 63), st.integers(0, 255), st.integers(0, 4095)
)


@given(st.lists(numbers_of_hits, max_size=30), st.data())
def test_any_hits_cut_in_any_way_come_back(content: list[tuple[int, ...]], data: st.DataObject) -> None:
    columns = np.array(content, np.int64).reshape(-1, 5).T
    # An idle before each readout's end keeps a last byte of 0xFF from going with the padding.
    stream = b"".join(hit.tobytes() + b"\xbc" for hit in AstroPix3Hit.encode(*columns))
    plain = SequentialDecoder(lambda byte: 0x20 <= byte < 0x3F, 5).run([(0, stream)], flush=True)
    decoder = StreamDecoder(None, AstroPix3Hit)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=4)))
    whole = decoder.decode([AstroPix3Readout(stream, 0, 0)])
    names = ("chip_id", "is_column", "location", "chip_timestamp", "tot_dec")
    assert [tuple(hit[name] for name in names) for hit in whole] == content
    assert len(plain.hits) == len(content)
    # A full readout settles nothing, so cuts anywhere change nothing.
    chunks = [stream[start:stop] for start, stop in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    cut = StreamDecoder(None, AstroPix3Hit, full_readout_bytes=1)
    again = cut.decode([AstroPix3Readout(chunk, number, 0) for number, chunk in enumerate(chunks)])
    if not any(chunk.endswith(b"\xff") for chunk in chunks):
        assert [tuple(hit[name] for name in names) for hit in again] == content
    assert cut.ledger.balanced


# ---- layer frames


def test_frames_of_another_chip_are_refused() -> None:
    with pytest.raises(ValueError, match="hold no AstroPix3LayerHit"):
        LayerFrameDecoder(layout=FrameLayout(), hit_class=AstroPix3LayerHit)
    with pytest.raises(ValueError, match="hold no AstroPix4LayerHit"):
        LayerFrameDecoder(layout=LAYOUT)


def test_equal_by_bits_layer_and_time_stamp() -> None:
    data = reverse_bit_order(ROW)
    assert AstroPix3LayerHit(data, 1, layer=1, fpga_timestamp=5) == AstroPix3LayerHit(
        data, 2, layer=1, fpga_timestamp=5
    )
    assert AstroPix3LayerHit(data, layer=1) != AstroPix3LayerHit(data, layer=2)
    assert AstroPix3LayerHit(data) != AstroPix4LayerHit(bytes(8))
    assert AstroPix3LayerReadout(b"", 0, 0) != AstroPix4LayerReadout(b"", 0, 0)


@st.composite
def any_runs(draw: st.DrawFn) -> tuple[FrameLayout, list[bytes]]:
    """Any bytes, rich in what looks like frames of version 3, cut anywhere."""
    layout = FrameLayout(draw(st.sampled_from([16, 32, 48, 64])), draw(st.sampled_from(["little", "big"])), 5)
    some = st.sampled_from([layout.length, 5, 8, 10, 12, 13, 0, 1, 2, 4, 12, 20, 0xFF, 0xFF, 0x42])
    noise = st.lists(some, max_size=16).map(bytes)
    good = st.builds(
        lambda layer, rest: bytes([layout.length, layer, 4]) + rest[: layout.length - 2],
        st.integers(0, 4),
        st.one_of(st.binary(min_size=12, max_size=12), st.lists(some, min_size=12, max_size=12).map(bytes)),
    )
    stream = b"".join(draw(st.lists(st.one_of(noise, good, good, st.binary(max_size=20)), max_size=10)))
    cuts = sorted(draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    return layout, [stream[start:stop] for start, stop in zip([0, *cuts], [*cuts, len(stream)], strict=True)]


@given(any_runs(), st.integers(0, 6))
def test_any_bytes_as_the_plain_decoder_has_them(run: tuple[FrameLayout, list[bytes]], handed_over: int) -> None:
    layout, chunks = run
    readouts = [AstroPix3LayerReadout(chunk, number, 0) for number, chunk in enumerate(chunks)]
    known = ReadoutDescription(
        chips=3, layers=3, timestamp_bits=layout.timestamp_bits, timestamp_order=layout.timestamp_order
    )
    decoder = AstroPix3LayerReadout.make_decoder(known)
    before = decoder.decode(readouts[:handed_over])
    decoder = AstroPix3LayerReadout.restore_decoder(json.loads(json.dumps(decoder.state())))
    hits = np.concatenate([before, decoder.decode(readouts[handed_over:])])
    plain = SequentialFrames(3, 3, layout.timestamp_bits, layout.timestamp_order, data_bytes=5)
    plain.run([(readout.readout_id, readout.data()) for readout in readouts], flush=False)
    names = ("chip_id", "is_column", "location", "chip_timestamp", "tot_dec")
    data = AstroPix3LayerHit.encode(*(hits[name] for name in names))
    significant = np.array([0xFF, 0xBF, 0xFF, 0x0F, 0xFF], np.uint8)
    assert [bytes(each) for each in data] == [
        bytes(np.frombuffer(frame.data, np.uint8) & significant) for frame in plain.frames
    ]
    for name in ("readout_id", "decoding_order", "layer", "fpga_timestamp"):
        assert hits[name].tolist() == [getattr(frame, name) for frame in plain.frames]
    assert decoder.ledger.balanced
    assert decoder.ledger.dropped == plain.counts["dropped"]


# ---- from the middle of a run


@pytest.mark.parametrize("readout_class", [AstroPix3Readout, AstroPix3LayerReadout])
def test_beginning_in_the_middle(readout_class: type[AbstractAstroPixReadout]) -> None:
    random = np.random.default_rng(3)
    content = (random.integers(0, most, 2000) for most in (4, 2, 35, 256, 4096))
    if readout_class is AstroPix3Readout:
        stream = AstroPix3Hit.encode(*content).tobytes()
    else:
        stream = encode_frames(AstroPix3LayerHit.encode(*content), 1, np.arange(2000), LAYOUT).tobytes()
    chunks = [readout_class.without_padding(stream[start : start + 301]) for start in range(0, len(stream), 301)]
    whole = ReadoutBlock.from_columns(chunks, list(range(len(chunks))), [0] * len(chunks))
    known = ReadoutDescription(chips=4, full_readout_bytes=301)
    every = readout_class.make_decoder(known).decode(whole)
    for start in range(len(chunks) - 8):
        settled = decoder_within_run(readout_class.make_decoder(known), whole[start:])
        assert settled is not None
        late, first = settled[0], start + settled[1]
        some = np.concatenate([late.decode(whole[first:]), late.flush()])
        late_hits = every[every["readout_id"] >= first]
        np.testing.assert_array_equal(some[: len(late_hits)], late_hits)


# ---- files and their tool


@pytest.mark.parametrize(
    ("readout_class", "data", "first_row"),
    [
        (AstroPix3Readout, b"\xbc" + ROW + COLUMN + b"\xbc", "0,4,0,7,0,0,17,90,2,163,675,3.375"),
        (
            AstroPix3LayerReadout,
            bytes.fromhex("0a0104115a02a378563412 0a0104895902 9a00000000"),
            "0,4,0,7,0,0,17,90,2,163,675,6.75,1,305419896",
        ),
    ],
)
def test_a_file_from_writing_to_the_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], readout_class: type[AbstractAstroPixReadout], data: bytes,
    first_row: str,
) -> None:  # fmt: skip
    path = tmp_path / "run.apx"
    with apx_open(path, "wb", FileHeader(readout_class, {"chips": 1})) as file:
        readout_class(data, 0, 7).write(file)
    with ApxReader(path) as reader:
        assert reader.header.readout_class() is readout_class
    for command in (["info"], ["dump"]):
        assert main([*command, str(path)]) == 0
    assert "hits" in capsys.readouterr().out
    assert main(["convert", str(path), "--format", "csv"]) == 0
    lines = path.with_suffix(".csv").read_text().splitlines()
    assert lines[1] == ",".join(readout_class.hit_class().ATTRIBUTE_NAMES)
    assert lines[2] == first_row
    assert len(lines) == 4
