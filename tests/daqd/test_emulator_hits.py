"""Hits out of a seed, and their way through the FIFO."""

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from daqd.configuration.config import EmulatorSection
from daqd.emulator.seeded_hits import HitFault, SeededHits
from daqd.errors import ConfigError
from protocol.decode import StreamDecoder
from protocol.readout import AstroPix4Readout
from tests.daqd.emulated_bench import EmulatedBench
from tests.daqd.whole_hits import whole_hits

pytestmark = pytest.mark.slow

DECODED = ("chip_id", "row", "column", "ts_neg1", "ts_neg2", "ts_dec1", "ts_dec2", "tot_us")
MISBEHAVIOUR = {"cut_hits": 0.05, "lost_bytes": 0.05, "garbage": 0.05, "padding": 0.05}


def source(chips: int = 1, **keys: Any) -> SeededHits:
    return SeededHits(EmulatorSection.model_validate(keys), chips)


def drain(hits: SeededHits, step: int, elapsed_s: float = 0.0) -> bytes:
    """Everything that `hits` sends at one time, asked for with room for `step` bytes."""
    sent = b""
    while piece := hits.take(elapsed_s, step, 0):
        sent += piece
    return sent


def decode(stream: bytes, chips: int) -> np.ndarray[Any, Any]:
    """Hits in `stream`, taken as one readout."""
    decoder = StreamDecoder(chips)
    hits = decoder.decode([AstroPix4Readout(stream, 0, 0)])
    rest = decoder.flush()
    assert decoder.ledger.balanced
    return np.concatenate([hits, rest])


def test_the_same_seed_gives_the_same_bytes_whoever_asks_how() -> None:
    whole = drain(source(rate_hz="max", hits_limit=20_000), 1 << 30)
    assert drain(source(rate_hz="max", hits_limit=20_000), 777) == whole
    assert drain(source(rate_hz="max", hits_limit=20_000, seed=2), 1 << 30) != whole
    # A limit cuts the sequence and changes nothing before it, but the idles after the last hit.
    shorter = drain(source(rate_hz="max", hits_limit=9_000), 1 << 30)
    assert whole.startswith(shorter[:-6])


def test_pace_decides_when_and_not_what() -> None:
    at_once = drain(source(rate_hz=5000.0, hits_limit=10_000), 1 << 30, elapsed_s=10.0)
    paced = source(rate_hz=5000.0, hits_limit=10_000)
    pieces = [paced.take(tick * 0.0007, 1 << 16, 0) for tick in range(6000)]
    assert b"".join(pieces) == at_once
    assert paced.exhausted


def test_hits_come_when_their_time_has_come() -> None:
    hits = source(rate_hz=1000.0)
    expected = hits.expected_hits(3000)
    for elapsed_s in (0.0, 0.5, 1.0, 1.001, 2.0):
        hits.take(elapsed_s, 1 << 16, 0)
        assert hits.hits_sent == np.searchsorted(expected["arrival_ns"], elapsed_s * 1e9, side="right")


def test_the_stream_looks_like_a_recorded_one() -> None:
    hits = source(rate_hz=100.0, hits_limit=300)
    expected = hits.expected_hits(300)
    stream = drain(hits, 1 << 30, elapsed_s=60.0)
    alone = expected[expected["arrival_ns"] > 0][0]
    assert stream[:16] == b"\xbc\xbc" + alone["wire"].tobytes() + 6 * b"\xbc"
    for hit in expected:
        start = hit["stream_start"]
        assert stream[start : start + 8] == hit["wire"].tobytes()
        assert stream[start] == 0xE0
    assert stream.endswith(6 * b"\xbc")


def test_some_hits_of_a_burst_have_no_idle_between() -> None:
    expected = source(rate_hz="max").expected_hits(5000)
    between = np.diff(expected["stream_start"]) - 8
    assert set(between.tolist()) == {0, 1, 2, 3, 8}
    assert np.count_nonzero(between == 0) > 1000


def test_rate_spectrum_and_pixels_are_as_asked() -> None:
    hits = source(
        chips=3,
        rate_hz=2000.0,
        tot_mean_us=100.0,
        tot_sigma_us=5.0,
        hot_pixels=[[1, 12, 15, 100.0]],
        dead_pixels=[[0, 0, 0], [2, 12, 15]],
    ).expected_hits(100_000)
    assert hits["arrival_ns"][-1] / 1e9 == pytest.approx(50.0, rel=0.02)
    assert hits["tot_us"].mean() == pytest.approx(100.0, abs=0.2)
    assert hits["tot_us"].std() == pytest.approx(5.0, abs=0.2)
    counts = np.zeros((3, 13, 16))
    np.add.at(counts, (hits["chip_id"], hits["row"], hits["column"]), 1)
    assert set(zip(*np.nonzero(counts == 0), strict=True)) == {(0, 0, 0), (2, 12, 15)}
    assert counts[1, 12, 15] == pytest.approx(100 * np.median(counts), rel=0.1)
    # 50 ns counts of the arrival, as many as 17 bits hold.
    assert np.array_equal(hits["ts_dec1"], hits["arrival_ns"] // 50 % 131_072)


def test_an_extreme_spectrum_stays_within_what_a_hit_can_say() -> None:
    hits = source(tot_mean_us=6500.0, tot_sigma_us=6500.0).expected_hits(8000)
    assert hits["tot_us"].min() == 0.05
    assert hits["tot_us"].max() == 6553.55


def test_no_pixel_left_is_a_mistake_of_the_configuration() -> None:
    everything = [[0, row, column] for row in range(13) for column in range(16)]
    with pytest.raises(ConfigError, match="no pixel is left"):
        source(dead_pixels=everything)


def test_the_limit_ends_the_hits() -> None:
    hits = source(rate_hz="max", hits_limit=10)
    assert not hits.exhausted
    drain(hits, 1 << 20)
    assert hits.exhausted
    assert hits.hits_sent == len(hits.expected_hits(100)) == 10
    assert hits.take(1e9, 1 << 20, 0) == b""


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(chips=st.integers(1, 31), seed=st.integers(0, 2**32), readout_bytes=st.sampled_from([64, 104, 2048, 4096]))
def test_all_hits_come_through_driver_and_decoder(chips: int, seed: int, readout_bytes: int) -> None:
    bench = EmulatedBench(
        board={"chips": chips, "readout_bytes": readout_bytes},
        emulator={"rate_hz": "max", "seed": seed, "hits_limit": 2000},
    )
    bench.run()
    stream = bench.without_padding(bench.read_all())
    assert stream == bytes(bench.record.data)
    assert bench.model.exhausted
    assert isinstance(bench.source, SeededHits)
    expected = bench.source.expected_hits(2000)
    decoded = decode(stream, chips)
    assert len(decoded) == 2000
    for name in DECODED:
        assert np.array_equal(decoded[name], expected[name]), name


@pytest.mark.parametrize("chips", [1, 4])
def test_at_saturation_the_hits_that_readouts_cut_come_out_as_they_were_sent(chips: int) -> None:
    """One cut in 256 is after 0xFF, which goes with the padding and must come back."""
    readout_bytes, hits = 100, 60_000
    sent = source(chips, rate_hz="max", hits_limit=hits)
    stream = drain(sent, 1 << 20)
    raw = [stream[start : start + readout_bytes] for start in range(0, len(stream), readout_bytes)]
    readouts = [AstroPix4Readout(data, number, 0) for number, data in enumerate(raw)]
    expected = sent.expected_hits(hits)
    decoder = StreamDecoder(chips, full_readout_bytes=readout_bytes)
    decoded = np.concatenate([decoder.decode(readouts), decoder.flush()])
    assert len(decoded) == hits
    for name in DECODED:
        assert np.array_equal(decoded[name], expected[name]), name
    assert decoder.ledger.restored_hits > 0
    assert (decoder.ledger.orphan, decoder.ledger.dropped) == (0, 0)
    assert decoder.ledger.balanced


def test_max_fills_the_fifo_and_never_overflows() -> None:
    bench = EmulatedBench(emulator={"rate_hz": "max", "fifo_bytes": 4096})
    bench.run()
    readouts = [bench.board.read_readout(0) for _ in range(100)]
    assert None not in readouts
    # A few more were asked for and are on their way.
    assert 100 <= len(bench.record.reads) <= 100 + bench.config.board.queue_ahead
    assert set(bench.record.reads) == {2048}
    assert bench.model.fifo.lost_bytes == 0
    assert bench.board.status().counters["fifo_full"] == 0


def test_a_full_fifo_stops_spi_and_every_hit_comes_later() -> None:
    bench = EmulatedBench(
        board={"poll_interval_ms": 20.0}, emulator={"rate_hz": 100_000.0, "fifo_bytes": 4096, "hits_limit": 20_000}
    )
    bench.run()
    readouts = []
    while not bench.board.status().exhausted:
        bench.clock.sleep(0.02)  # the host is busy elsewhere, SPI is not
        readout = bench.board.read_readout(0.1)
        if readout is not None:
            readouts.append(readout.data)
    assert bench.model.fifo.lost_bytes == 0
    assert bench.board.status().counters["fifo_full"] > 0
    stream = bench.without_padding(readouts)
    assert stream == bytes(bench.record.data)
    assert isinstance(bench.source, SeededHits)
    expected = bench.source.expected_hits(20_000)
    decoded = decode(stream, 1)
    for name in DECODED:
        assert np.array_equal(decoded[name], expected[name]), name


def test_a_host_that_was_away_for_long_finds_a_full_fifo_at_once() -> None:
    bench = EmulatedBench(emulator={"rate_hz": 1e6})
    bench.run()
    bench.board.read_readout(0)
    bench.clock.sleep(3600)
    readout = bench.board.read_readout(1)
    assert readout is not None
    assert len(readout.data.rstrip(b"\xff")) > 2040
    assert bench.board.status().counters["fifo_full"] == 1
    assert bench.model.fifo.lost_bytes == 0


def test_misbehaviour_is_recorded_and_changes_no_other_hit() -> None:
    tame = source(rate_hz="max", hits_limit=10_000)
    wild = source(rate_hz="max", hits_limit=10_000, misbehave=MISBEHAVIOUR)
    stream = drain(wild, 1 << 20)
    expected = wild.expected_hits(10_000)
    for name in ("arrival_ns", "wire", *DECODED):
        assert np.array_equal(expected[name], tame.expected_hits(10_000)[name]), name

    faults = expected["faults"]
    for fault in (HitFault.CUT, HitFault.LOST_BYTE, HitFault.GARBAGE_BEFORE):
        assert np.count_nonzero(faults & fault) == pytest.approx(500, rel=0.2)
    assert np.count_nonzero(faults & HitFault.PADDING_BEFORE) > 50

    missing = 8 * len(expected) - int(expected["sent_bytes"].sum())
    added = int(expected["garbage_bytes"].sum() + expected["padding_bytes"].sum())
    assert len(stream) == len(drain(source(rate_hz="max", hits_limit=10_000), 1 << 20)) - missing + added
    for hit in expected:
        start, sent = int(hit["stream_start"]), int(hit["sent_bytes"])
        wire, got = hit["wire"].tobytes(), stream[start : start + sent]
        fault = HitFault(int(hit["faults"]))
        if fault & (HitFault.CUT | HitFault.LOST_BYTE):
            assert sent < 8
            assert is_subsequence(got, wire)
        else:
            assert got == wire
        if fault & HitFault.PADDING_BEFORE:
            padding_stop = start - int(hit["garbage_bytes"]) - 1
            padding = stream[padding_stop - int(hit["padding_bytes"]) - 1 : padding_stop + 1]
            assert padding == b"\xbc" + b"\xff" * int(hit["padding_bytes"]) + b"\xbc"


def is_subsequence(part: bytes, whole: bytes) -> bool:
    rest = iter(whole)
    return all(byte in rest for byte in part)


def test_a_cut_hit_keeps_its_beginning() -> None:
    wild = source(rate_hz="max", hits_limit=2000, misbehave={"cut_hits": 1.0})
    stream = drain(wild, 1 << 20)
    for hit in wild.expected_hits(2000):
        start, sent = int(hit["stream_start"]), int(hit["sent_bytes"])
        assert 1 <= sent <= 7
        assert stream[start : start + sent] == hit["wire"].tobytes()[:sent]


@pytest.mark.parametrize("fault", ["cut_hits", "lost_bytes", "garbage", "padding"])
def test_whatever_goes_wrong_decodes_and_adds_up(fault: str) -> None:
    bench = EmulatedBench(
        board={"chips": 4}, emulator={"rate_hz": "max", "hits_limit": 5000, "misbehave": {fault: 0.1}}
    )
    bench.run()
    stream = bench.without_padding(bench.read_all())
    assert stream == bytes(bench.record.data)
    decoded = decode(stream, 4)
    assert isinstance(bench.source, SeededHits)
    expected = bench.source.expected_hits(5000)
    whole = expected[whole_hits(expected, bench.record.losses)]
    if fault == "padding":
        assert np.array_equal(decoded["ts_dec1"], whole["ts_dec1"])
    # Damage can swallow a neighbour, or look like a hit; nearly all whole hits are found all the same.
    found = set(zip(decoded["chip_id"], decoded["ts_dec1"], decoded["ts_dec2"], strict=True))
    survived = sum((hit["chip_id"], hit["ts_dec1"], hit["ts_dec2"]) in found for hit in whole)
    assert survived > 0.9 * len(whole)


@pytest.mark.parametrize("version", [3, 4])
def test_odd_hits_are_sent_whole_and_spoil_no_others(version: int) -> None:
    def hits(**misbehave: float) -> SeededHits:
        settings = {"rate_hz": "max", "hits_limit": 4000, "misbehave": misbehave}
        return SeededHits(EmulatorSection.model_validate(settings), 1, version)

    usual, odd = hits().expected_hits(4000), hits(tot_zero=0.1, wrong_rows=0.2).expected_hits(4000)
    row = "row" if version == 4 else "location"
    outside, short = odd[row] == (13 if version == 4 else 35), odd["tot_us"] == 0
    assert np.count_nonzero(outside) == pytest.approx(800, abs=120)
    assert np.count_nonzero(short) == pytest.approx(400, abs=90)
    fine = ~outside & ~short
    assert np.array_equal(odd["wire"][fine], usual["wire"][fine])
    assert hits(tot_zero=0.1).expected_hits(100)["arrival_ns"].tolist() == usual["arrival_ns"][:100].tolist()


def test_odd_hits_decode_as_they_are() -> None:
    odd = source(rate_hz="max", hits_limit=3000, misbehave={"tot_zero": 0.1, "wrong_rows": 0.2})
    expected = odd.expected_hits(3000)
    found = decode(drain(odd, 1 << 30), 1)
    assert all(np.array_equal(found[name], expected[name]) for name in DECODED)
