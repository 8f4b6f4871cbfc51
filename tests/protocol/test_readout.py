"""Readouts one by one, as in the public AstroPix analysis package."""

import io
import time

import pytest
from hypothesis import given

from protocol import (
    AbstractAstroPixHit,
    AbstractAstroPixReadout,
    ApxFormatError,
    AstroPix4Hit,
    AstroPix4Readout,
    Decoding,
    DecodingStatus,
    StreamDecoder,
    uid_to_readout_class,
)
from protocol.hit import reverse_bit_order
from protocol.readout_description import MAX_READOUT_BYTES
from tests.protocol.astropix3 import AstroPix3Hit, AstroPix3Readout
from tests.protocol.golden import CASES, A, B, Case
from tests.protocol.streams import Run, any_runs, numbered, runs

pytestmark = pytest.mark.slow

READOUT = AstroPix4Readout(b"\xbc" + A + b"\xbc", 258, 0x0102030405060708)
RECORD = bytes.fromhex("fedcba0201000008070605040302010a000000bce05042030620d701bc")


def wire(hits: list[AbstractAstroPixHit]) -> tuple[bytes, ...]:
    return tuple(reverse_bit_order(hit.data) for hit in hits)


# ---- decoding, one after the other


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_difficult_readouts(case: Case) -> None:
    extra_bytes = None
    for readout, expected, status in zip(numbered(case.data()), case.hits, case.statuses, strict=True):
        assert not readout.decoded()
        hits = readout.decode(extra_bytes)
        extra_bytes = readout.extra_bytes()
        assert readout.decoded()
        assert readout.hits() is hits
        assert wire(hits) == expected
        assert [hit.decoding_order for hit in hits] == list(range(len(hits)))
        assert {(hit.readout_id, hit.timestamp) for hit in hits} <= {(readout.readout_id, readout.timestamp)}
        assert {bit for bit in Decoding if readout.decoding_status()[bit]} == status
        assert bool(readout.decoding_status()) is bool(status)
        if readout.data():
            assert bool(extra_bytes) is (Decoding.VALID_EXTRA_BYTES in status)


@given(runs())
def test_any_run_comes_back(run: Run) -> None:
    found, extra_bytes = [], None
    for readout in run.readouts():
        hits = readout.decode(extra_bytes)
        extra_bytes = readout.extra_bytes()
        found += [(hit.readout_id, hit.decoding_order, reverse_bit_order(hit.data)) for hit in hits]
    assert found == [(hit.readout_id, hit.decoding_order, hit.data) for hit in run.hits][: len(found)]
    # What the end of the run leaves open is settled by `StreamDecoder.flush` alone.
    assert len(run.hits) - len(found) == bool(extra_bytes)


@given(any_runs())
def test_any_bytes_decode_as_with_the_stream_decoder(run: tuple[int | None, list[bytes]]) -> None:
    readouts = numbered(run[1])
    found, extra_bytes = [], None
    for readout in readouts:
        found += [hit.attribute_values() for hit in readout.decode(extra_bytes)]
        extra_bytes = readout.extra_bytes()
        assert not readout.decoding_status()[Decoding.NOT_ALL_BYTES_VISITED]
        assert not readout.decoding_status()[Decoding.INVALID_EXTRA_BYTES]
    decoder = StreamDecoder()
    assert found == [list(row) for row in decoder.decode(readouts).tolist()]
    assert (extra_bytes or b"") == decoder.carried


@pytest.mark.parametrize("extra_bytes", [b"\xbc", b"\x42", A, A + b"\x01"])
def test_extra_bytes_that_begin_no_hit_are_ignored_and_said(extra_bytes: bytes) -> None:
    readout = AstroPix4Readout(A, 1, 1)
    assert wire(readout.decode(extra_bytes)) == (A,)
    assert readout.decoding_status()[Decoding.INVALID_EXTRA_BYTES]


def test_decoding_again_begins_anew() -> None:
    readout = AstroPix4Readout(A[6:] + B, 1, 1)
    assert wire(readout.decode(A[:6])) == (A, B)
    assert wire(readout.decode()) == (B,)
    assert {bit for bit in Decoding if readout.decoding_status()[bit]} == {Decoding.ORPHAN_BYTES_DROPPED}
    assert readout.extra_bytes() == b""


def test_hits_decodes_where_nobody_has() -> None:
    assert wire(READOUT.hits()) == (A,)
    assert isinstance(READOUT.hits()[0], AstroPix4Hit)


# ---- status


def test_names_and_order_of_the_flags() -> None:
    assert [(bit.name, bit.value) for bit in Decoding] == [
        ("ORPHAN_BYTES_MATCHED", 0),
        ("ORPHAN_BYTES_DROPPED", 1),
        ("ORPHAN_BYTES_NOT_USED", 2),
        ("VALID_EXTRA_BYTES", 3),
        ("INVALID_EXTRA_BYTES", 4),
        ("INCOMPLETE_HIT_DROPPED", 5),
        ("NOT_ALL_BYTES_VISITED", 6),
        ("UNKNOWN_FATAL_ERROR", 7),
        ("PADDING_RESTORED", 8),
    ]


def test_status_is_a_set_of_flags() -> None:
    status = DecodingStatus()
    assert not status
    assert str(status) == "DecodingStatus(clean)"
    status.set(Decoding.VALID_EXTRA_BYTES)
    status.set(Decoding.VALID_EXTRA_BYTES)
    assert status
    assert [bit for bit in Decoding if status[bit]] == [Decoding.VALID_EXTRA_BYTES]
    assert str(status) == repr(status) == "DecodingStatus(VALID_EXTRA_BYTES)"
    assert status != DecodingStatus()
    assert status != 8
    assert DecodingStatus() == DecodingStatus()
    assert hash(DecodingStatus()) == hash(DecodingStatus())


# ---- bytes and records


@pytest.mark.parametrize("kind", [bytes, bytearray])
def test_trailing_padding_is_removed_and_only_that(kind: type[bytes] | type[bytearray]) -> None:
    assert AstroPix4Readout(kind(b"\xff\xbc\xff" + A + b"\xff\xff"), 0, 0).data() == b"\xff\xbc\xff" + A
    assert AstroPix4Readout(kind(b"\xff\xff"), 0, 0).data() == b""


def test_the_time_is_now_where_none_is_given() -> None:
    before = time.time_ns()
    readout = AstroPix4Readout(b"", 0)
    assert before <= readout.timestamp <= time.time_ns()
    assert AstroPix4Readout(b"", 0, 0).timestamp == 0


def test_golden_record_both_ways() -> None:
    assert READOUT.to_bytes() == RECORD
    for kind in (bytes, bytearray, memoryview):
        assert AstroPix4Readout.from_bytes(kind(RECORD)) == READOUT


@pytest.mark.parametrize(
    ("record", "offset"),
    [(RECORD[:18], 0), (b"", 0), (b"\xfe\xdc\xbb" + RECORD[3:], 0), (RECORD[:-1], 15), (RECORD + b"\x00", 15)],
)
def test_what_is_not_one_record_is_refused(record: bytes, offset: int) -> None:
    with pytest.raises(ApxFormatError) as caught:
        AstroPix4Readout.from_bytes(record)
    assert caught.value.offset == offset


def test_written_records_are_read_back() -> None:
    file = io.BytesIO()
    readouts = numbered([A, b"", b"\xbc" * 30])
    for readout in readouts:
        readout.write(file)
    file.seek(0)
    assert [AstroPix4Readout.from_file(file) for _ in range(4)] == [*readouts, None]


def test_a_file_cut_within_a_record_ends_there() -> None:
    for length in range(len(RECORD)):
        assert AstroPix4Readout.from_file(io.BytesIO(RECORD[:length])) is None


@pytest.mark.parametrize("damage", [b"\x00", b"\xfe\xdc\x00", b"\xfe\xdc\x00" + bytes(40)])
def test_no_record_where_one_should_begin(damage: bytes) -> None:
    file = io.BytesIO(RECORD + damage)
    assert AstroPix4Readout.from_file(file) == READOUT
    with pytest.raises(ApxFormatError, match="no record marker") as caught:
        AstroPix4Readout.from_file(file)
    assert caught.value.offset == len(RECORD)


def test_an_absurd_length_is_damage() -> None:
    damaged = RECORD[:15] + (MAX_READOUT_BYTES + 1).to_bytes(4, "little") + RECORD[19:]
    with pytest.raises(ApxFormatError, match="damage") as caught:
        AstroPix4Readout.from_file(io.BytesIO(damaged))
    assert caught.value.offset == 0


def test_equal_by_content() -> None:
    same = AstroPix4Readout(READOUT.data() + b"\xff", READOUT.readout_id, READOUT.timestamp)
    assert same == READOUT
    assert hash(same) == hash(READOUT)
    assert AstroPix4Readout(READOUT.data(), 1, READOUT.timestamp) != READOUT
    assert AstroPix3Readout(b"", 0, 0) != AstroPix4Readout(b"", 0, 0)
    assert READOUT != RECORD


# ---- looking at them


def test_hex() -> None:
    assert READOUT.hex() == "bc" + A.hex() + "bc"


def test_pretty_hex_colours_what_each_byte_was_taken_for() -> None:
    pretty = AstroPix4Readout(b"\xbc\x01" + A[:6] + A + b"\xbc\xff\xbc" + A[:2], 0, 0).pretty_hex()
    pieces = [piece.split("m", 1) for piece in pretty.split("\x1b[")[1:]]
    shown = [(colour, text) for colour, text in pieces if text]
    assert "".join(text for _, text in shown) == "bc01" + A[:6].hex() + A.hex() + "bcffbc" + A[:2].hex()
    assert len({colour for colour, _ in shown}) == 6
    assert pretty.endswith("\x1b[0m")
    assert AstroPix4Readout(b"", 0, 0).pretty_hex() == ""


def test_pretty_print(capsys: pytest.CaptureFixture[str]) -> None:
    READOUT.pretty_print()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == str(READOUT) == "AstroPix4Readout(10 bytes, readout_id = 258, timestamp = 72623859790382856 ns)"
    assert lines[1] == READOUT.pretty_hex()
    assert lines[2] == f"  {READOUT.hits()[0]}"


# ---- classes


def test_uids() -> None:
    assert AstroPix4Readout.uid() == 4000
    assert uid_to_readout_class(4000) is AstroPix4Readout
    assert uid_to_readout_class(AstroPix3Readout.uid()) is AstroPix3Readout
    assert AstroPix4Readout.HIT_CLASS is AstroPix4Hit


@pytest.mark.parametrize("uid", [4001, -1, None, "4000", [4000]])
def test_unknown_uid(uid: object) -> None:
    with pytest.raises(ValueError, match=r"unknown readout uid .*4000 \(AstroPix4Readout\)"):
        uid_to_readout_class(uid)


def test_the_abstract_readout_refuses_to_be() -> None:
    with pytest.raises(TypeError, match="abstract"):
        AbstractAstroPixReadout(b"", 0, 0)
    with pytest.raises(TypeError, match="_UID"):
        AbstractAstroPixReadout.uid()


@pytest.mark.parametrize("hit_class", [None, int, "AstroPix4Hit", AbstractAstroPixHit])
def test_a_readout_class_without_a_concrete_hit_class_refuses_to_exist(hit_class: object) -> None:
    with pytest.raises(TypeError, match="HIT_CLASS must"):
        type("Nameless", (AbstractAstroPixReadout,), {"HIT_CLASS": hit_class})


def test_a_uid_belongs_to_one_class() -> None:
    with pytest.raises(TypeError, match="4000 is taken by AstroPix4Readout"):
        type("Usurper", (AbstractAstroPixReadout,), {"HIT_CLASS": AstroPix4Hit, "_UID": 4000})
    assert uid_to_readout_class(4000) is AstroPix4Readout


@pytest.mark.parametrize("uid", [-1, 1 << 32, "7", True, 7.0])
def test_a_uid_is_a_number_of_32_bits(uid: object) -> None:
    with pytest.raises(TypeError, match="32 bits"):
        type("Odd", (AbstractAstroPixReadout,), {"HIT_CLASS": AstroPix4Hit, "_UID": uid})


def test_a_class_without_a_uid_decodes_but_is_not_for_files() -> None:
    class Passing(AbstractAstroPixReadout):
        HIT_CLASS = AstroPix4Hit

    assert wire(Passing(A, 0, 0).decode()) == (A,)
    with pytest.raises(TypeError, match="Passing has no _UID"):
        Passing.uid()


def test_defining_a_class_again_replaces_it() -> None:
    """As when a notebook's cell is run twice."""

    def define() -> type[AbstractAstroPixReadout]:
        class Again(AbstractAstroPixReadout):
            HIT_CLASS = AstroPix4Hit
            _UID = 3998

        return Again

    first, second = define(), define()
    assert uid_to_readout_class(3998) is second is not first


def test_a_readout_of_another_chip_decodes_with_its_own_hits() -> None:
    hits = AstroPix3Readout(b"\xbc" + bytes.fromhex("2050041a01") + b"\xbc", 9, 8).decode()
    assert [type(hit) for hit in hits] == [AstroPix3Hit]
    assert [(hit.dict()["payload"], hit.dict()["readout_id"], hit.dict()["timestamp"]) for hit in hits] == [(4, 9, 8)]
