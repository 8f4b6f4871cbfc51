"""What is whole in a damaged file: every record that was not touched, and every other byte accounted for."""

import hashlib
import io
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from astropix_runtime.storage.survey import ByteRange, Survey, survey, survey_path
from protocol.apx import FileHeader
from protocol.errors import ApxFormatError
from protocol.readout import RECORD_HEAD, RECORD_MARKER, AstroPix4Readout
from protocol.readout_description import MAX_READOUT_BYTES

HEADER = FileHeader(AstroPix4Readout, {"run": 1}).to_bytes()

DATA = st.lists(st.binary(min_size=1, max_size=30) | st.just(RECORD_MARKER * 7), min_size=1, max_size=12)


def records(chunks: list[bytes], first: int = 0) -> list[bytes]:
    return [
        RECORD_HEAD.pack(RECORD_MARKER, number, 10 * number + 1, len(data)) + data
        for number, data in enumerate(chunks, first)
    ]


def look(content: bytes) -> Survey:
    seen: list[int] = []
    found = survey(io.BytesIO(content), len(content), seen.append)
    edges = sorted([*found.kept, *found.cuts])
    assert all(stretch.size_bytes > 0 for stretch in edges)
    assert [edge for stretch in edges for edge in stretch][1:-1:2] == [stretch.start for stretch in edges[1:]]
    assert edges[0].start == 0
    assert edges[-1].stop == found.size_bytes == len(content)
    assert found.kept_bytes + found.cut_bytes == len(content)
    kept = b"".join(content[start:stop] for start, stop in found.kept)
    if not found.foreign:
        assert found.sha256 == hashlib.sha256(kept).hexdigest()
    if found.header is not None:
        again = survey(io.BytesIO(kept), len(kept))
        assert (again.cuts, again.tally.readouts) == ((), found.tally.readouts)
    return found


def spans(pieces: list[bytes]) -> list[ByteRange]:
    """Where records are in the file that begins with the header."""
    start = len(HEADER)
    found = []
    for piece in pieces:
        found.append(ByteRange(start, start + len(piece)))
        start += len(piece)
    return found


def is_kept(span: ByteRange, found: Survey) -> bool:
    return any(kept.start <= span.start and span.stop <= kept.stop for kept in found.kept)


@given(DATA)
def test_a_whole_file(chunks: list[bytes]) -> None:
    found = look(HEADER + b"".join(records(chunks)))
    assert (found.cuts, found.cut_at_end, found.header_bytes) == ((), True, len(HEADER))
    tally = found.tally
    assert (tally.readouts, tally.readout_bytes) == (len(chunks), sum(map(len, chunks)))
    assert (tally.first_readout, tally.last_readout) == (0, len(chunks) - 1)
    assert (tally.first_ns, tally.last_ns) == (1, 10 * len(chunks) - 9)
    assert (tally.id_jumps, tally.first_jump, tally.backward_steps) == (0, None, 0)


def test_a_file_without_readouts() -> None:
    found = look(HEADER)
    assert (found.tally.readouts, found.tally.first_readout, found.cuts, found.cut_at_end) == (0, None, (), True)


@given(DATA, st.data())
def test_a_file_that_was_cut(chunks: list[bytes], data: st.DataObject) -> None:
    content = HEADER + b"".join(records(chunks))
    size_bytes = data.draw(st.integers(len(HEADER), len(content)))
    found = look(content[:size_bytes])
    whole = [span for span in spans(records(chunks)) if span.stop <= size_bytes]
    assert found.tally.readouts == len(whole)
    assert found.kept == (ByteRange(0, whole[-1].stop if whole else len(HEADER)),)


@pytest.mark.parametrize(
    "tail",
    [
        bytes(1),
        bytes(100_000),
        b"\xff" * 70_000,
        b"garbage",
        RECORD_MARKER,
        RECORD_HEAD.pack(RECORD_MARKER, 3, 1, 1000) + bytes(999),
        RECORD_HEAD.pack(RECORD_MARKER, 3, 1, MAX_READOUT_BYTES),
        RECORD_HEAD.pack(RECORD_MARKER, 3, 1, 1 << 31) + b"x" * 50,
        RECORD_MARKER * 10_000,
        random.Random(7).randbytes(3_000_000),
    ],
    ids=["one zero", "zeros", "ones", "text", "marker", "torn", "long", "impossible", "markers", "noise"],
)
def test_what_a_power_cut_leaves_behind_the_last_record(tail: bytes) -> None:
    whole = HEADER + b"".join(records([b"one", b"two", RECORD_MARKER]))
    found = look(whole + tail)
    assert found.cuts == (ByteRange(len(whole), len(whole) + len(tail)),)
    assert found.cut_at_end
    assert found.tally.readouts == 3


@given(DATA, DATA, st.binary(min_size=1, max_size=200))
def test_bytes_that_came_between(before: list[bytes], behind: list[bytes], stray: bytes) -> None:
    first = records(before)
    content = HEADER + b"".join(first) + stray + b"".join(records(behind, len(before)))
    found = look(content)
    if stray[:1] == RECORD_MARKER[:1]:
        return  # it may go on as a record does
    assert found.tally.readouts == len(before) + len(behind)
    start = len(HEADER) + sum(map(len, first))
    assert found.cuts == (ByteRange(start, start + len(stray)),)
    assert (found.tally.id_jumps, found.cut_at_end) == (0, False)


@given(DATA, st.data())
def test_bytes_that_were_overwritten_take_no_other_record_with_them(chunks: list[bytes], data: st.DataObject) -> None:
    """Whatever was written over one stretch: all records beside it are kept, also where a length was damaged."""
    pieces = records([b"first", *chunks, b"last"])
    content = bytearray(HEADER + b"".join(pieces))
    start = data.draw(st.integers(spans(pieces)[1].start, len(content) - 1))
    size = data.draw(st.integers(1, min(60, len(content) - start)))
    content[start : start + size] = data.draw(
        st.binary(min_size=size, max_size=size) | st.just(bytes(size)) | st.just(b"\xff" * size)
    )
    found = look(bytes(content))
    for span in spans(pieces):
        if span.stop <= start or span.start >= start + size:
            assert is_kept(span, found), span


def test_a_damaged_length_does_not_swallow_what_follows() -> None:
    pieces = records([b"a" * 20, b"b" * 20, b"c" * 20, b"d" * 20])
    pieces[1] = RECORD_HEAD.pack(RECORD_MARKER, 1, 11, 50) + b"b" * 20
    found = look(HEADER + b"".join(pieces))
    damaged = spans(pieces)[1]
    assert found.cuts == (damaged,)
    assert (found.tally.readouts, found.tally.first_jump) == (3, (0, 2))


def test_a_lone_record_between_two_damages_is_kept() -> None:
    pieces = records([b"a" * 20, b"b" * 20, b"c" * 20, b"d" * 20, b"e" * 20])
    for index in (1, 3):
        pieces[index] = bytes(len(pieces[index]))
    found = look(HEADER + b"".join(pieces))
    one, three = (spans(pieces)[index] for index in (1, 3))
    assert found.cuts == (one, three)
    assert (found.tally.readouts, found.tally.id_jumps, found.tally.first_jump) == (3, 2, (0, 2))


@pytest.mark.parametrize(("behind", "kept"), [(1, 1), (2, 2), (3, 3)])
def test_a_first_record_that_is_damaged(behind: int, kept: int) -> None:
    pieces = records([b"x" * 9] * (1 + behind))
    found = look(HEADER + b"?" * len(pieces[0]) + b"".join(pieces[1:]))
    assert found.tally.readouts == kept


def test_damage_across_the_windows_that_are_read() -> None:
    """Wherever the next record lies, also where its head is in two pieces of what is read at once."""
    behind = b"".join(records([b"x" * 5, b"y" * 5], 1))
    first = records([b"first"])[0]
    for size in range((1 << 20) - 40, (1 << 20) + 4):
        content = HEADER + first + bytes(size) + behind
        found = survey(io.BytesIO(content), len(content))
        assert found.cuts == (ByteRange(len(HEADER) + len(first), len(content) - len(behind)),)
        assert found.tally.readouts == 3


def test_large_readouts_are_read_in_pieces() -> None:
    pieces = records([b"a" * 3_000_000, b"b" * 10, b"c" * 2_500_000])
    content = HEADER + b"".join(pieces)
    assert look(content).tally.readouts == 3
    assert look(content[:-1]).tally.readouts == 2


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"", "not an .apx file"),
        (bytes(5000), "not an .apx file"),
        (HEADER[:3], "not an .apx file"),
        (HEADER[:8], "ends within the length"),
        (HEADER[:-1], "the file ends after"),
        (b"%APXDF\xff\xff\xff\xff", "that is damage"),
        (b"%APXDF\x02\0\0\0[]", "not an object"),
        (b"%APXDF\x02\0\0\0\xff\xff", "can't decode"),
        (b"%APXDF\x08\0\0\0" + bytes(8), "not JSON"),
    ],
)
def test_no_whole_header(content: bytes, fault: str) -> None:
    found = survey(io.BytesIO(content), len(content))
    assert found.header is None
    assert not found.foreign
    assert fault in found.fault
    assert found.cuts == ((ByteRange(0, len(content)),) if content else ())
    assert found.kept == ()


def test_readouts_of_a_kind_that_is_not_known_are_left_alone() -> None:
    found = look(HEADER.replace(b"4000", b"4999") + bytes(100))
    assert (found.header, found.foreign, found.cuts) == (None, True, ())
    assert "unknown readout uid 4999" in found.fault


def test_ids_and_time_stamps() -> None:
    rows = [(7, 100), (8, 90), (8, 0), (12, 50), (13, 200), (14, 160)]
    pieces = [RECORD_HEAD.pack(RECORD_MARKER, number, time_ns, 1) + b"x" for number, time_ns in rows]
    tally = look(HEADER + b"".join(pieces)).tally
    assert (tally.first_readout, tally.last_readout) == (7, 14)
    assert (tally.id_jumps, tally.first_jump) == (2, (8, 8))
    assert (tally.backward_steps, tally.largest_step_ns) == (2, 40)


def test_it_does_not_look_beyond_the_size_it_was_given() -> None:
    """A file that grows while it is read."""
    pieces = records([b"one", b"two"])
    size_bytes = len(HEADER) + len(pieces[0])
    found = survey(io.BytesIO(HEADER + b"".join(pieces)), size_bytes)
    assert (found.tally.readouts, found.cuts) == (1, ())


@pytest.mark.parametrize("missing_bytes", [1, RECORD_HEAD.size, 40])
def test_a_file_that_has_become_shorter(missing_bytes: int) -> None:
    """By a repair, or on a disk that loses data: what is not there is no record, and is not looked for for ever."""
    content = HEADER + b"".join(records([b"one", b"two" * 20]))
    found = survey(io.BytesIO(content[:-missing_bytes]), len(content))
    assert found.tally.readouts == 1
    assert found.kept_bytes + found.cut_bytes == len(content)


def test_a_file_that_is_nothing_but_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("astropix_runtime.storage.survey.MAX_DAMAGED_PLACES", 100)
    path = tmp_path / "holes.apx"
    path.write_bytes(HEADER + b"".join(piece + b"?" for piece in records([b"x"] * 99)))
    assert len(survey_path(path).cuts) == 99
    path.write_bytes(HEADER + b"".join(piece + b"?" for piece in records([b"x"] * 105)))
    with pytest.raises(ApxFormatError, match=r"holes\.apx: .*damaged in more than 100 places; nothing was changed"):
        survey_path(path)
