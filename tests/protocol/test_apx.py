"""`.apx` files: header, the public loop, the fast reader, cut and damaged files."""

import contextlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol import (
    ApxFormatError,
    ApxReader,
    AstroPix4Readout,
    FileHeader,
    ReadoutBlock,
    StreamDecoder,
    apx_open,
)
from protocol.apx import MAX_HEADER_BYTES
from tests.protocol.astropix3 import AstroPix3Readout
from tests.protocol.golden import A, B
from tests.protocol.streams import numbered

RECORDINGS = ("20250723_092534_data.apx", "threshold_40mV_20250722-094253.apx")
HEADER = FileHeader(AstroPix4Readout, {"comment": "µ", "chips": 1})
HEADER_BYTES = b'%APXDF\x36\x00\x00\x00{"readout_uid": 4000, "comment": "\\u00b5", "chips": 1}'
READOUTS = numbered([b"\xbc" + A, b"", B[:5], B[5:] + b"\xbc"])


@pytest.fixture
def small(tmp_path: Path) -> Path:
    path = tmp_path / "small.apx"
    with apx_open(path, "wb", HEADER) as file:
        for readout in READOUTS:
            readout.write(file)
    return path


def read_blocks(path: Path, chunk_bytes: int = 1 << 22) -> tuple[list[AstroPix4Readout], ApxReader]:
    found = []
    with ApxReader(path) as reader:
        for block in reader.blocks(chunk_bytes):
            found += as_readouts(block)
    return found, reader


def as_readouts(block: ReadoutBlock) -> list[AstroPix4Readout]:
    return [
        AstroPix4Readout(block[index : index + 1].data, int(block.readout_id[index]), int(block.timestamp[index]))
        for index in range(len(block))
    ]


# ---- header


def test_golden_header_both_ways(tmp_path: Path) -> None:
    assert HEADER.to_bytes() == HEADER_BYTES
    path = tmp_path / "it.apx"
    path.write_bytes(HEADER_BYTES)
    with apx_open(path) as file:
        assert file.header == HEADER
        assert list(file) == []


def test_header_is_a_mapping_with_a_readout_class() -> None:
    assert HEADER.readout_uid() == 4000
    assert HEADER.readout_class() is AstroPix4Readout
    assert (HEADER["comment"], HEADER.get("chips"), HEADER.get("none", 5)) == ("µ", 1, 5)
    assert "comment" in HEADER
    assert "none" not in HEADER
    assert HEADER.content == {"readout_uid": 4000, "comment": "µ", "chips": 1}
    HEADER.content["comment"] = "changed"
    assert HEADER["comment"] == "µ"
    with pytest.raises(KeyError):
        HEADER["none"]
    assert str(HEADER) == f"FileHeader({HEADER.serialize()})"
    assert hash(HEADER) == hash(FileHeader.deserialize(HEADER.serialize()))
    assert HEADER != 1


def test_equal_headers_are_one_in_a_set() -> None:
    one, other = ({"a": 1, "b": 2}, {"b": 2.0, "a": True})
    assert FileHeader(AstroPix4Readout, one) == FileHeader(AstroPix4Readout, other)
    assert len({FileHeader(AstroPix4Readout, one), FileHeader(AstroPix4Readout, other)}) == 1


def test_the_uid_comes_first_and_from_the_class() -> None:
    assert FileHeader(AstroPix4Readout).serialize() == '{"readout_uid": 4000}'
    assert FileHeader(AstroPix4Readout, {"a": 1, "readout_uid": 4000}).serialize() == '{"readout_uid": 4000, "a": 1}'
    with pytest.raises(ValueError, match="readout_uid"):
        FileHeader(AstroPix4Readout, {"readout_uid": 3000})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text().filter(lambda key: key != "readout_uid"), JSON, max_size=4))
def test_header_there_and_back(content: dict[str, object]) -> None:
    header = FileHeader(AstroPix4Readout, content)
    again = FileHeader.deserialize(header.serialize())
    assert again == header
    assert json.loads(header.serialize()) == {"readout_uid": 4000, **content}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[4000]", "JSON list, not an object"),
        ('"text"', "JSON str"),
        ("{}", "no readout_uid"),
        ('{"readout_uid": 12}', "unknown readout uid 12"),
        ('{"readout_uid": null}', "unknown readout uid None"),
        ('{"readout_uid": {}}', "unknown readout uid"),
    ],
)
def test_bad_header_text(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        FileHeader.deserialize(text)


@given(st.text())
def test_any_text_is_a_header_or_a_value_error(text: str) -> None:
    with contextlib.suppress(ValueError):
        FileHeader.deserialize(text)


@pytest.mark.parametrize(
    ("content", "offset", "reason"),
    [
        (b"", 0, "not an .apx file"),
        (b"%APX", 0, "not an .apx file"),
        (b"%PDF-1.7 and so on", 0, "not an .apx file"),
        (HEADER_BYTES[:8], 6, "within the length"),
        (HEADER_BYTES[:10], 10, "ends after 0"),
        (HEADER_BYTES[:-1], 10, "ends after 53"),
        (b"%APXDF" + (MAX_HEADER_BYTES + 1).to_bytes(4, "little"), 6, "damage"),
        (b"%APXDF\x02\x00\x00\x00{]", 10, "not JSON"),
        (b"%APXDF\x02\x00\x00\x00\xff\xff", 10, "utf-8"),
        (b"%APXDF\x12\x00\x00\x00" + b'{"readout_uid": 1}', 10, "unknown readout uid 1"),
    ],
)
def test_bad_beginning_of_a_file_is_told_with_its_place(
    tmp_path: Path, content: bytes, offset: int, reason: str
) -> None:
    path = tmp_path / "bad.apx"
    path.write_bytes(content)
    for opener in (apx_open, ApxReader):
        with pytest.raises(ApxFormatError, match=reason) as caught:
            opener(path)
        assert caught.value.offset == offset
        assert str(caught.value).startswith(f"{path}: at byte {offset}: ")


# ---- opening


def test_modes(tmp_path: Path, small: Path) -> None:
    with pytest.raises(ValueError, match="header is needed"):
        apx_open(tmp_path / "new.apx", "wb")
    with pytest.raises(ValueError, match="when reading"):
        apx_open(small, "rb", HEADER)
    with pytest.raises(ValueError, match="mode 'ab'"):
        apx_open(small, "ab", HEADER)
    with pytest.raises(FileExistsError):
        apx_open(small, "xb", HEADER)
    with pytest.raises(FileNotFoundError):
        apx_open(tmp_path / "none.apx")
    assert not (tmp_path / "new.apx").exists()
    with apx_open(tmp_path / "new.apx", "xb", HEADER) as file:
        file.write(READOUTS[0].to_bytes())
    with apx_open(str(tmp_path / "new.apx")) as file:
        assert list(file) == READOUTS[:1]


# ---- reading


def test_small_file_both_ways(small: Path) -> None:
    assert small.read_bytes() == HEADER_BYTES + b"".join(readout.to_bytes() for readout in READOUTS)
    with apx_open(small) as file:
        assert list(file) == READOUTS
        assert file.leftover_bytes == 0
        assert file.path == small
    for chunk_bytes in (1, 10, 1 << 20):
        found, reader = read_blocks(small, chunk_bytes)
        assert found == READOUTS
        assert (reader.consumed_bytes, reader.leftover_bytes) == (small.stat().st_size, 0)


def test_a_file_cut_anywhere_reads_up_to_the_last_whole_record(tmp_path: Path, small: Path) -> None:
    whole = small.read_bytes()
    ends = [len(HEADER_BYTES)]
    for readout in READOUTS:
        ends.append(ends[-1] + len(readout.to_bytes()))
    path = tmp_path / "cut.apx"
    for length in range(len(whole) + 1):
        path.write_bytes(whole[:length])
        if length < ends[0]:
            with pytest.raises(ApxFormatError):
                ApxReader(path)
            with pytest.raises(ApxFormatError):
                apx_open(path)
            continue
        records = sum(end <= length for end in ends) - 1
        found, reader = read_blocks(path)
        assert found == READOUTS[:records]
        assert (reader.consumed_bytes, reader.leftover_bytes) == (ends[records], length - ends[records])
        with apx_open(path) as file:
            assert list(file) == READOUTS[:records]
            assert file.leftover_bytes == length - ends[records]


@pytest.mark.parametrize("damage", [b"\x00\x00", b"\xfe\xdc\xbb" + bytes(16), b"\xfe\xdc\xba" + b"\xff" * 16])
def test_damage_within_a_file_is_told_with_its_place(small: Path, damage: bytes) -> None:
    size = small.stat().st_size
    with small.open("ab") as file:
        file.write(damage)
    found: list[AstroPix4Readout] = []
    with ApxReader(small) as reader, pytest.raises(ApxFormatError) as caught:
        for block in reader.blocks():
            found += as_readouts(block)
    assert found == READOUTS
    assert (caught.value.offset, caught.value.path) == (size, str(small))
    one_by_one = []
    with apx_open(small) as apx, pytest.raises(ApxFormatError) as caught:
        for readout in apx:
            one_by_one.append(readout)
    assert one_by_one == READOUTS
    assert (caught.value.offset, caught.value.path) == (size, str(small))


def test_a_file_that_grows_is_read_on(small: Path, tmp_path: Path) -> None:
    content = small.read_bytes()
    growing = tmp_path / "growing.apx"
    with apx_open(small) as file:
        readouts = list(file)
    growing.write_bytes(content[:-3])
    with apx_open(growing) as file:
        assert list(file) == readouts[:-1]
        assert file.leftover_bytes > 0
        with growing.open("ab") as end:
            end.write(content[-3:] + readouts[0].to_bytes())
        assert list(file) == [readouts[-1], readouts[0]]
        assert file.leftover_bytes == 0


def test_a_file_is_not_read_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "long.apx"
    with apx_open(path, "wb", HEADER) as file:
        for number in range(200):
            AstroPix4Readout(bytes(10_000), number, 0).write(file)
    with apx_open(path) as file:
        next(file)
        position = file._file.tell()
        assert [readout.readout_id for readout in file] == list(range(1, 200))
    assert position < path.stat().st_size / 4


def test_a_file_of_another_chip_reads_with_its_own_class(tmp_path: Path) -> None:
    path = tmp_path / "version3.apx"
    readouts = [AstroPix3Readout(b"\xbc" + bytes.fromhex("2050041a01"), number, number) for number in range(3)]
    with apx_open(path, "wb", FileHeader(AstroPix3Readout)) as file:
        for readout in readouts:
            readout.write(file)
    with apx_open(path) as file:
        assert file.header.readout_class() is AstroPix3Readout
        again = list(file)
    assert again == readouts
    assert [len(readout.decode()) for readout in again] == [1, 1, 1]
    with ApxReader(path) as reader:
        hit_class = reader.header.readout_class().HIT_CLASS
        assert hit_class is not None
        decoder = StreamDecoder(hit_class=hit_class)
        assert sum(len(decoder.decode(block)) for block in reader.blocks()) == 3


# ---- real recordings


@pytest.mark.parametrize("name", RECORDINGS)
def test_recordings_are_written_again_byte_by_byte(recordings: Path, tmp_path: Path, name: str) -> None:
    copy = tmp_path / name
    with apx_open(recordings / name) as source, apx_open(copy, "wb", source.header) as target:
        for readout in source:
            readout.write(target)
        assert source.leftover_bytes == 0
    assert copy.read_bytes() == (recordings / name).read_bytes()


def test_the_public_loop_gives_the_published_hits(recordings: Path) -> None:
    hits = []
    with apx_open(recordings / RECORDINGS[0]) as input_file:
        extra_bytes = None
        for readout in input_file:
            hits += readout.decode(extra_bytes)
            extra_bytes = readout.extra_bytes()
    comment, columns, *lines = (recordings / RECORDINGS[0]).with_suffix(".csv").read_text().splitlines()
    assert json.loads(comment.removeprefix("#")) == input_file.header.content
    assert columns.split(",") == list(hits[0].ATTRIBUTE_NAMES)
    assert [",".join(map(str, hit.attribute_values())) for hit in hits] == lines
    assert len(hits) == 776


@pytest.mark.parametrize(("name", "readouts", "hits"), [(RECORDINGS[0], 775, 776), (RECORDINGS[1], 258, 258)])
def test_the_fast_way_through_the_recordings(recordings: Path, name: str, readouts: int, hits: int) -> None:
    decoder = StreamDecoder(1)
    with ApxReader(recordings / name) as reader:
        tables = [decoder.decode(block) for block in reader.blocks(4096)]
    assert sum(map(len, tables)) + len(decoder.flush()) == hits
    assert (decoder.ledger.readouts, decoder.ledger.balanced) == (readouts, True)
