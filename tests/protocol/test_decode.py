"""The stream decoder: the table of difficult readouts, any valid run, any bytes."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol import AstroPix4Hit, AstroPix4Readout, ByteClass, Ledger, ReadoutBlock, StreamDecoder, apx_open
from protocol.decode import Decoded
from protocol.hit import HIT_DTYPE, HitTable, reverse_bit_order
from protocol.textlog import TextLog
from tests.protocol.astropix3 import AstroPix3Hit, starts_astropix3_hit
from tests.protocol.golden import CASES, GOLDEN, A, B, Case
from tests.protocol.sequential import FoundHit, SequentialDecoder, starts_astropix4_hit
from tests.protocol.streams import FIRST_READOUT, Run, any_runs, batches, first_byte, numbered, runs


def rows_of(found: list[FoundHit]) -> list[list[object]]:
    """What the table must hold, from one hit at a time."""
    return [
        AstroPix4Hit(reverse_bit_order(hit.data), hit.readout_id, 10 * hit.readout_id, hit.decoding_order)
        .attribute_values()
        for hit in found
    ]  # fmt: skip


def table_rows(table: HitTable) -> list[list[object]]:
    return [list(row) for row in table.tolist()]


# ---- golden vectors and the table of difficult readouts


def test_golden_vectors_one_by_one_and_all_at_once() -> None:
    table = StreamDecoder(1).decode([AstroPix4Readout(b"".join(GOLDEN), 7, 42)])
    assert table.dtype == HIT_DTYPE
    assert len(table) == len(GOLDEN)
    for order, (row, columns) in enumerate(zip(table, GOLDEN.values(), strict=True)):
        assert {name: row[name].item() for name in columns} == columns
        assert (row["readout_id"], row["timestamp"], row["decoding_order"]) == (7, 42, order)


@pytest.mark.parametrize("chips", [None, 1])
@pytest.mark.parametrize("one_by_one", [False, True])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_difficult_readouts(case: Case, one_by_one: bool, chips: int | None) -> None:
    readouts = numbered(case.data())
    decoder = StreamDecoder(chips)
    if one_by_one:
        table = np.concatenate([decoder.decode([readout]) for readout in readouts])
    else:
        table = decoder.decode(readouts)
    expected = [
        FoundHit(readout.readout_id, order, data)
        for readout, of_readout in zip(readouts, case.hits, strict=True)
        for order, data in enumerate(of_readout)
    ]
    assert table_rows(table) == rows_of(expected)
    assert len(decoder.flush()) == 0
    counts = decoder.ledger.to_dict()
    assert {name: counts[name] for name in case.counts} == case.counts
    assert decoder.ledger.balanced
    assert decoder.ledger.bytes_read == sum(len(readout.data()) for readout in readouts)
    zero = {"idle", "padding", "hit", "carried", "orphan", "dropped", "dropped_hits", "restored_hits", "rejoined_hits"}
    assert all(counts[name] == 0 for name in zero - case.counts.keys())
    assert (counts["hits"], counts["chip_hits"][0]) == (len(expected),) * 2
    assert counts["readouts"] == len(readouts)


def test_hand_made_readouts_at_full_length(recordings: Path) -> None:
    with (recordings / "decode_cases.log").open() as stream:
        readouts = [AstroPix4Readout(row.data, row.readout_id, 0) for row in TextLog(stream)]
    decoder = StreamDecoder()
    found = [decoder.decode([readout]) for readout in readouts]
    in_cases = [len(hits) for case in CASES[:6] for hits in case.hits]
    assert [len(table) for table in found] == in_cases


def test_recording_equals_the_published_table(recordings: Path) -> None:
    decoder = StreamDecoder(1)
    with apx_open(recordings / "20250723_092534_data.apx") as file:
        table = decoder.decode(file)
    published = np.genfromtxt(
        recordings / "20250723_092534_data.csv", delimiter=",", names=True, dtype=HIT_DTYPE, skip_header=1
    )
    assert published.dtype.names == HIT_DTYPE.names
    assert len(table) == 776
    assert table.tolist() == published.tolist()
    assert decoder.ledger.balanced


# ---- settling at the end of a run


def test_flush_gives_the_carried_hit_to_the_last_readout_with_bytes() -> None:
    decoder = StreamDecoder()
    first = decoder.decode(numbered([b"\xbc", A + B[:6], b""]))
    assert decoder.ledger.carried == 6
    assert decoder.ledger.balanced
    flushed = decoder.flush()
    expected = [FoundHit(FIRST_READOUT + 1, 0, A), FoundHit(FIRST_READOUT + 1, 1, B[:6] + b"\xff\xff")]
    assert table_rows(np.concatenate([first, flushed])) == rows_of(expected)
    assert (decoder.ledger.carried, decoder.ledger.restored_hits, decoder.ledger.restored_bytes) == (0, 1, 2)
    assert decoder.ledger.balanced
    assert len(decoder.flush()) == 0


def test_nothing_at_all() -> None:
    decoder = StreamDecoder()
    for table in (decoder.decode([]), decoder.decode(ReadoutBlock.empty()), decoder.flush()):
        assert (len(table), table.dtype) == (0, HIT_DTYPE)
    assert decoder.ledger == Ledger()


# ---- number of chips


@pytest.mark.parametrize("chips", [0, 32, -1])
def test_impossible_number_of_chips_is_refused(chips: int) -> None:
    with pytest.raises(ValueError, match="chips in a chain"):
        StreamDecoder(chips)


def test_known_chips_reject_false_starts() -> None:
    garbage = bytes([first_byte(1)]) + b"\xbc" * 7
    readouts = numbered([garbage + A + b"\xbc"])
    known = StreamDecoder(1)
    assert table_rows(known.decode(readouts)) == rows_of([FoundHit(FIRST_READOUT, 0, A)])
    assert known.ledger.orphan == 1
    assert StreamDecoder(2).decode(readouts)["chip_id"].tolist() == [1, 0]
    assert StreamDecoder().decode(readouts)["chip_id"].tolist() == [1, 0]


def test_every_chip_of_the_chain_is_found_and_counted() -> None:
    wire = AstroPix4Hit.encode(np.arange(31), 3, 4, 100, 300)
    for chips in (None, 31):
        decoder = StreamDecoder(chips)
        assert decoder.decode(numbered([wire.tobytes()]))["chip_id"].tolist() == list(range(31))
        assert decoder.ledger.chip_hits == [1] * 31 + [0]


def test_a_lost_part_is_counted_for_the_chip_that_began_the_hit() -> None:
    decoder = StreamDecoder(2)
    decoder.decode(numbered([b"\xbc\xf0\x01\x02" + A + b"\xbc"]))
    assert decoder.ledger.chip_dropped == [0, 1] + [0] * 30
    assert decoder.ledger.chip_hits == [1] + [0] * 31


# ---- any run that a board may deliver


@given(runs(), st.data())
def test_hits_come_back_whichever_way_they_are_cut_and_interleaved(run: Run, data: st.DataObject) -> None:
    decoder = StreamDecoder(run.chips, full_readout_bytes=run.readout_bytes)
    tables = [decoder.decode(batch) for batch in batches(data, run.readouts())]
    tables.append(decoder.flush())
    assert table_rows(np.concatenate(tables)) == rows_of(run.hits)
    ledger = decoder.ledger
    assert ledger.balanced
    assert (ledger.orphan, ledger.dropped, ledger.carried) == (0, 0, 0)
    assert ledger.idle == run.idle
    assert ledger.hit + ledger.restored_bytes == 8 * len(run.hits)
    assert sum(ledger.chip_hits) == ledger.hits == len(run.hits)


@given(runs())
def test_the_sequential_decoder_agrees_on_such_runs(run: Run) -> None:
    readouts = [(readout.readout_id, readout.data()) for readout in run.readouts()]
    sequential = SequentialDecoder(starts_astropix4_hit(run.chips), readout_bytes=run.readout_bytes)
    assert sequential.run(readouts, flush=True).hits == run.hits


# ---- any bytes


def found_in(decoded: Decoded) -> list[FoundHit]:
    table = decoded.table
    assert table["timestamp"].tolist() == [10 * readout_id for readout_id in table["readout_id"].tolist()]
    wire = AstroPix4Hit.LAYOUT.wire(decoded.words)
    places = zip(table["readout_id"].tolist(), table["decoding_order"].tolist(), wire, strict=True)
    return [FoundHit(readout_id, order, data.tobytes()) for readout_id, order, data in places]


def check_against_sequential(
    chips: int | None,
    readouts: list[AstroPix4Readout],
    parts: list[list[AstroPix4Readout]],
    flush: bool,
    readout_bytes: int | None = None,
) -> None:
    plain = [(readout.readout_id, readout.data()) for readout in readouts]
    expected = SequentialDecoder(starts_astropix4_hit(chips), readout_bytes=readout_bytes).run(plain, flush=flush)
    decoder = StreamDecoder(chips, full_readout_bytes=readout_bytes)
    found: list[FoundHit] = []
    for part in parts:
        found += found_in(decoder.examine(part))
        assert decoder.ledger.balanced
        decoder = StreamDecoder.from_state(json.loads(json.dumps(decoder.state())))
    last = decoder.flush() if flush else np.zeros(0, HIT_DTYPE)
    assert found == expected.hits[: len(found)]
    assert table_rows(last) == rows_of(expected.hits[len(found) :])
    counts = decoder.ledger.to_dict()
    names = {name for name, value in counts.items() if isinstance(value, int)} - {"bytes_read", "readouts"}
    assert {name: counts[name] for name in names} == {name: expected.counts[name] for name in names}
    assert decoder.ledger.balanced
    assert decoder.ledger.bytes_read == sum(len(data) for _, data in plain)
    assert decoder.ledger.readouts == len(readouts)
    assert sum(decoder.ledger.chip_hits) == decoder.ledger.hits
    assert sum(decoder.ledger.chip_dropped) == decoder.ledger.dropped_hits
    assert sum(decoder.ledger.chip_restored) == decoder.ledger.restored_hits


@settings(max_examples=400)
@given(any_runs(), st.booleans(), st.none() | st.integers(1, 24), st.data())
def test_any_bytes_in_any_batches_decode_as_one_by_one(
    run: tuple[int | None, list[bytes]], flush: bool, readout_bytes: int | None, data: st.DataObject
) -> None:
    chips, raw = run
    readouts = numbered(raw)
    parts = [list(batch) for batch in batches(data, readouts)]
    check_against_sequential(chips, readouts, parts, flush, readout_bytes)


MOSTLY_WHOLE = st.lists(
    st.sampled_from([A, A, B, b"\xbc", b"\xbc", b"\xff\xbc", A[:5], b"\x42", b"\xff" * 8]), max_size=4
)


@given(st.lists(MOSTLY_WHOLE.map(b"".join), max_size=8), st.sampled_from([None, 4, 8, 12, 24, 40]), st.data())
def test_hit_by_hit_and_in_whole_array_steps_is_the_same(
    raw: list[bytes], readout_bytes: int | None, data: st.DataObject
) -> None:
    in_steps, mixed = (StreamDecoder(1, full_readout_bytes=readout_bytes) for _ in range(2))
    for part in batches(data, numbered(raw)):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("protocol.decode._SHORT_BYTES", -1)
            expected = in_steps.examine(part)
        decoded = mixed.examine(part)
        for name in ("table", "words", "start", "end"):
            assert getattr(decoded, name).tolist() == getattr(expected, name).tolist()
        assert mixed.state() == in_steps.state()


@given(st.binary(min_size=1, max_size=400), st.integers(1, 16), st.integers(1, 64), st.booleans())
def test_with_a_known_readout_length_every_cut_is_healed(
    seed: bytes, hits: int, readout_bytes: int, idles: bool
) -> None:
    """Whatever the hits are: where no readout had padding, their cuts make no difference."""
    random = np.random.default_rng(list(seed))
    wire = random.choice(np.frombuffer(b"\xe0\xbc\xff\x01", np.uint8), (hits, 8))
    wire[:, 0] = 0xE0
    stream = b"".join((b"\xbc" if idles else b"") + hit.tobytes() for hit in wire)
    whole = len(stream) // readout_bytes * readout_bytes
    raw = [stream[start : start + readout_bytes] for start in range(0, whole, readout_bytes)]
    raw = [chunk for chunk in (*raw, stream[whole:] + b"\xbc") if chunk]
    if any(chunk.endswith(b"\xff") for chunk in raw):
        return  # then it depends on what follows; `test_no_hit_is_mistaken_at_saturation` has usual hits
    decoder = StreamDecoder(1, full_readout_bytes=readout_bytes)
    found = found_in(decoder.examine(numbered(raw)))
    assert [hit.data for hit in found] == [hit.tobytes() for hit in wire]


@pytest.mark.parametrize("chips", [None, 1, 4])
@pytest.mark.parametrize("readout_bytes", [24, 61, 2048])
def test_no_hit_is_mistaken_at_saturation(chips: int | None, readout_bytes: int) -> None:
    """Readouts without padding, cut anywhere: what is 0xFF before a cut is stripped, and must come back.

    Only a rest of two or more bytes that are idle all of them cannot be told, once in 256^3 such cuts.
    """
    random = np.random.default_rng(readout_bytes)
    count = 50_000
    wire = random.integers(0, 256, (count, 8), np.uint8)
    wire[:, 0] = [first_byte(chip) for chip in random.integers(0, chips or 31, count).tolist()]
    # From time to time some 0xFF one after the other, so that more than one is stripped.
    start, end = random.integers(1, 8, (2, count, 1))
    position = np.arange(8)
    wire[(random.random((count, 1)) < 0.1) & (position >= start) & (position < end)] = 0xFF
    idles = random.integers(0, 4, count).tolist()
    stream = b"".join(b"\xbc" * idle + hit.tobytes() for idle, hit in zip(idles, wire, strict=True)) + b"\xbc"
    readouts = numbered([stream[at : at + readout_bytes] for at in range(0, len(stream), readout_bytes)])
    decoder = StreamDecoder(chips, full_readout_bytes=readout_bytes)
    found = AstroPix4Hit.LAYOUT.wire(decoder.examine(readouts).words)
    assert np.array_equal(found, wire)
    ledger = decoder.ledger
    assert (ledger.orphan, ledger.dropped, ledger.carried) == (0, 0, 0)
    assert ledger.idle == sum(idles) + 1
    assert ledger.hit + ledger.restored_bytes == 8 * count
    assert ledger.restored_hits > 0
    assert ledger.restored_bytes == sum(readout_bytes - len(readout.data()) for readout in readouts[:-1])


@pytest.mark.parametrize("last", ["e05042", "e05042ff"])
def test_a_cut_hit_after_a_full_readout_is_dropped_at_the_end_of_the_run(last: str) -> None:
    decoder = StreamDecoder(1, full_readout_bytes=7 + len(last) // 2)
    assert len(decoder.decode(numbered([b"\xbc" * 7 + bytes.fromhex(last)]))) == 0
    assert len(decoder.flush()) == 0
    assert (decoder.ledger.dropped_hits, decoder.ledger.dropped, decoder.ledger.chip_dropped[0]) == (1, 3, 1)
    assert decoder.ledger.balanced


@pytest.mark.parametrize("chips", [None, 1, 4])
@pytest.mark.parametrize("lost", [0.0, 0.01])
@pytest.mark.slow
def test_many_bytes_decode_as_one_by_one(chips: int | None, lost: float) -> None:
    """More than one block of the decoder, long chains of candidates, readouts of any length."""
    random = np.random.default_rng(chips or 0)
    count = 40_000
    wire = random.integers(0, 256, (count, 8), np.uint8)
    wire[:, 0] = [first_byte(chip) for chip in random.integers(0, chips or 31, count).tolist()]
    stream = wire.reshape(-1)[random.random(8 * count) >= lost].tobytes()
    cuts = np.cumsum(random.integers(0, 3000, 400)).tolist()
    raw = [stream[start:stop] for start, stop in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    readouts = numbered(raw)
    assert sum(len(readout.data()) for readout in readouts) > 1 << 18
    check_against_sequential(chips, readouts, [readouts], flush=True)


@pytest.mark.parametrize("filling", [b"\xe0", b"\xe0\x01", b"\xe0" * 7 + b"\x01", b"\xe0\xf0\x00", b"\x01", b"\xbc"])
def test_long_monotony_decodes_as_one_by_one(filling: bytes) -> None:
    readouts = numbered([(filling * 20_000)[: 5 + 2048 * number] for number in range(6)])
    check_against_sequential(None, readouts, [readouts], flush=True)


@given(any_runs())
def test_examine_says_what_each_byte_was_taken_for(run: tuple[int | None, list[bytes]]) -> None:
    chips, raw = run
    readouts = numbered(raw)
    decoder = StreamDecoder(chips)
    decoded = decoder.examine(readouts, classify=True)
    assert len(decoded.classes) == sum(len(readout.data()) for readout in readouts)
    counts = decoder.ledger.to_dict()
    for byte_class in ByteClass:
        assert np.count_nonzero(decoded.classes == byte_class) == counts[byte_class.name.lower()]
    assert decoded.table.tolist() == StreamDecoder(chips).decode(readouts).tolist()


def test_classes_leave_out_what_an_earlier_call_carried() -> None:
    decoder = StreamDecoder()
    decoder.examine(numbered([A[:3]]), classify=True)
    classes = decoder.examine([AstroPix4Readout(A[3:] + b"\xbc", 9, 0)], classify=True).classes
    assert classes.tolist() == [ByteClass.HIT] * 5 + [ByteClass.IDLE]


# ---- state


@pytest.mark.parametrize(
    "change",
    [
        {"carry": "zz"},
        {"carry": None},
        {"carry": "bc"},
        {"carry": A.hex()},
        {"chips": 40},
        {"chips": "1"},
        {"last_readout": [1, 2]},
        {"stripped": -1},
        {"stripped": 9},
        {"stripped": True},
        {"stripped": None},
        {"last_readout": None},
        {"last_readout": ["a", 2, 3]},
        {"ledger": {}},
        {"ledger": None},
    ],
)
def test_what_is_no_state_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        StreamDecoder.from_state(StreamDecoder(1).state() | change)


@pytest.mark.parametrize("key", ["carry", "stripped"])
def test_state_with_a_missing_key_is_refused(key: str) -> None:
    state = StreamDecoder(1).state()
    del state[key]
    with pytest.raises(ValueError, match="not the state of a decoder"):
        StreamDecoder.from_state(state)


# ---- blocks


def test_a_block_decodes_as_its_readouts() -> None:
    readouts = numbered([data for case in CASES for data in case.data()])
    block = ReadoutBlock.from_readouts(readouts)
    assert len(block) == len(readouts)
    assert StreamDecoder().decode(block).tolist() == StreamDecoder().decode(readouts).tolist()
    halves = StreamDecoder()
    parts = [halves.decode(block[:9]), halves.decode(block[9:])]
    assert np.concatenate(parts).tolist() == StreamDecoder().decode(block).tolist()
    for size_bytes in (1, 20, 10_000):
        pieces = list(block.cut(size_bytes))
        assert b"".join(piece.data for piece in pieces) == block.data
        assert np.concatenate([piece.readout_id for piece in pieces]).tolist() == block.readout_id.tolist()
        assert all(piece.offsets[0] == 0 and piece.offsets[-1] == len(piece.data) for piece in pieces)
    with pytest.raises(ValueError, match="consecutive"):
        block[::2]


# ---- another chip, by naming its layout


def test_another_chip_decodes_with_its_own_layout() -> None:
    row_hit, column_hit = bytes.fromhex("2050041a01"), bytes.fromhex("2045041bff")
    decoder = StreamDecoder(1, AstroPix3Hit)
    table = decoder.decode(numbered([b"\xbc\xbc" + row_hit + b"\xbc" + column_hit, b"\xbc"]))
    assert table.dtype == AstroPix3Hit.DTYPE
    assert table["payload"].tolist() == [4, 4]
    assert table["readout_id"].tolist() == [FIRST_READOUT, FIRST_READOUT + 1]
    assert table["tot"].tolist()[1] & 0xFF == 0xFF
    assert decoder.ledger.restored_hits == 1
    assert decoder.ledger.balanced
    assert StreamDecoder.from_state(decoder.state(), AstroPix3Hit).ledger == decoder.ledger


@given(any_runs(), st.none() | st.integers(6, 16))
def test_another_size_decodes_as_one_by_one(run: tuple[int | None, list[bytes]], readout_bytes: int | None) -> None:
    _, raw = run
    raw = [data.replace(b"\xe0", b"\x20") for data in raw]
    readouts = numbered(raw)
    plain = [(readout.readout_id, readout.data()) for readout in readouts]
    expected = SequentialDecoder(starts_astropix3_hit, 5, readout_bytes).run(plain, flush=True)
    decoder = StreamDecoder(None, AstroPix3Hit, readout_bytes)
    decoded = decoder.examine(readouts)
    flushed = decoder.flush()
    assert AstroPix3Hit.LAYOUT.wire(decoded.words).tobytes() == b"".join(
        hit.data for hit in expected.hits[: len(decoded.words)]
    )
    assert len(decoded.table) + len(flushed) == len(expected.hits)
    counts = decoder.ledger.to_dict()
    for name in ("idle", "padding", "hit", "orphan", "dropped", "restored_hits", "restored_bytes", "rejoined_hits"):
        assert counts[name] == expected.counts[name]
    assert decoder.ledger.balanced
