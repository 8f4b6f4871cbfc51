"""Time stamps read in the wrong byte order, and frames filled with idle bytes: on bytes, in files, on streams."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.detector import ChipPlace
from monitor.sanity.check import CheckResult, Limits
from monitor.sanity.check_runner import CheckRunner
from monitor.sanity.checks.catalogue import DETECTOR_CHECKS as CHECKS
from monitor.sanity.checks.daemon_checks import clock_drift
from monitor.sanity.checks.frame_checks import damaged_frames, timestamp_order, timestamp_order_wrong
from monitor.sanity.frame_counts import FrameCounts, FrameTally, ends_in_idles
from monitor.sanity.recorded.recorded_files import RecordedChecks
from monitor.sanity.snapshots import Snapshots
from protocol.apx import FileHeader, apx_open
from protocol.astropix3_hit import AstroPix3LayerHit
from protocol.astropix3_readout import AstroPix3LayerReadout
from protocol.block import ReadoutBlock
from protocol.hit import HitTable
from protocol.layer_frames import LayerFrameDecoder, encode_frames
from protocol.layer_hit import AstroPix4LayerHit
from protocol.layer_readout import AstroPix4LayerReadout
from protocol.layer_scan import FrameLayout
from protocol.readout_description import ReadoutDescription, TimestampBits, TimestampOrder
from protocol.wire.alarms import AlarmLevel
from tests.monitor.publishing import MessageMaker, StreamReader, run_record
from tests.monitor.sanity.emulated_run import T0_NS, Board, emulated, found, run_checks, write_file
from tests.monitor.sanity.made_inputs import made_input

pytestmark = pytest.mark.slow

S = 1_000_000_000
IDLE = 0x3D
HIT_CLASSES: dict[int, Any] = {3: AstroPix3LayerHit, 4: AstroPix4LayerHit}


def idle_filled(hits: np.ndarray, lost: np.ndarray) -> np.ndarray:
    """What becomes of the bytes of hits (n, bytes) where `lost` (n,) of them fall out: idle bytes fill the rest."""
    kept = hits.shape[1] - lost
    return np.where(np.arange(hits.shape[1]) < kept[:, None], hits, IDLE).astype(np.uint8)


def random_hits(version: int, n: int, seed: int = 1) -> np.ndarray:
    """Bytes of hits as they stand in frames, those after the first at random."""
    size = 5 if version == 3 else 8
    hits = np.random.default_rng(seed).integers(0, 256, (n, size)).astype(np.uint8)
    hits[:, 0] = 4 if version == 3 else 7
    return hits


def decoded(frames: np.ndarray, version: int, bits: TimestampBits = 32, order: TimestampOrder = "little") -> HitTable:
    layout = FrameLayout(bits, order, 5 if version == 3 else 8)
    decoder = LayerFrameDecoder(1, 3, layout, HIT_CLASSES[version])
    hits = decoder.decode(ReadoutBlock.from_columns([frames.tobytes()], [0], [T0_NS]))
    assert len(hits) == len(frames)
    return hits


# ---- which hits end in idle bytes


@pytest.mark.parametrize("version", [3, 4])
@pytest.mark.parametrize("lost", range(8))
def test_three_idle_bytes_at_the_end_are_seen_and_fewer_are_not(version: int, lost: int) -> None:
    hits = random_hits(version, 200)
    hits[hits == IDLE] = 0  # none by chance
    lost = min(lost, hits.shape[1] - 1)
    layout = FrameLayout(data_bytes=hits.shape[1])
    frames = encode_frames(idle_filled(hits, np.full(200, lost)), 2, np.arange(200), layout)
    assert (ends_in_idles(decoded(frames, version)) == (lost >= 3)).all()


@pytest.mark.parametrize("version", [3, 4])
def test_of_random_bytes_hardly_any_look_like_that(version: int) -> None:
    hits = random_hits(version, 200_000)
    frames = encode_frames(hits, 1, 0, FrameLayout(data_bytes=hits.shape[1]))
    # 2^-24 of version 4, and 2^-20 of version 3, of which four bits are not used.
    assert np.count_nonzero(ends_in_idles(decoded(frames, version))) <= 2


# ---- the counts of time stamps


def stamps_of(n: int, bits: int, mean_ticks: float, seed: int = 1) -> np.ndarray:
    steps = np.random.default_rng(seed).exponential(mean_ticks, n).astype(np.uint64)
    return (np.cumsum(steps) + np.uint64(1 << bits - 1)) & np.uint64((1 << bits) - 1)


def counted(
    stamps: np.ndarray, bits: TimestampBits, wrong: bool, layers: int = 3, hits_per_call: int = 50
) -> FrameCounts:
    """Counts of frames with these stamps, the layers taking turns, written big-endian and read right or `wrong`."""
    n = len(stamps)
    frames = encode_frames(random_hits(4, n), 1 + np.arange(n) % layers, stamps, FrameLayout(bits, "big"))
    hits = decoded(frames, 4, bits, "little" if wrong else "big")
    tally = FrameTally()
    for begin in range(0, n, hits_per_call):
        tally.add(hits[begin : begin + hits_per_call], ReadoutDescription(timestamp_bits=bits))
    return tally.counts


@pytest.mark.parametrize(
    ("bits", "mean_ticks"),
    [(16, 10.0), (16, 300.0), *((bits, mean) for bits in (32, 48, 64) for mean in (10.0, 300.0, 5000.0, 1e6))],
)
def test_both_orders_are_told_apart(bits: TimestampBits, mean_ticks: float) -> None:
    stamps = stamps_of(5000, bits, mean_ticks)
    right, wrong = counted(stamps, bits, wrong=False), counted(stamps, bits, wrong=True)
    assert right.steps == wrong.steps == 4997
    assert (right.back, right.back_swapped) == (wrong.back_swapped, wrong.back)
    assert not timestamp_order_wrong(right)
    assert timestamp_order_wrong(wrong)


def test_16_bits_that_wrap_every_few_hits_prove_nothing() -> None:
    stamps = stamps_of(5000, 16, 5000.0)
    assert not any(timestamp_order_wrong(counted(stamps, 16, wrong)) for wrong in (False, True))


@given(st.integers(1, 400))
def test_calls_may_be_cut_anywhere(hits_per_call: int) -> None:
    stamps = stamps_of(400, 32, 1000.0)
    parts, whole = (counted(stamps, 32, True, hits_per_call=size) for size in (hits_per_call, 400))
    assert (parts.hits == whole.hits).all()
    assert (parts.steps, parts.back, parts.back_swapped) == (whole.steps, whole.back, whole.back_swapped)


def test_the_counter_may_wrap_and_begin_anew() -> None:
    stamps = stamps_of(5000, 32, 1e7)  # wraps every 430 hits
    stamps[2500:] -= stamps[2500]
    assert not timestamp_order_wrong(counted(stamps, 32, wrong=False))
    assert timestamp_order_wrong(counted(stamps, 32, wrong=True))


@pytest.mark.parametrize("seed", range(5))
def test_stamps_that_mean_nothing_prove_nothing(seed: int) -> None:
    stamps = np.random.default_rng(seed).integers(0, 1 << 32, 5000).astype(np.uint64)
    assert not timestamp_order_wrong(counted(stamps, 32, wrong=False))
    frozen = np.full(5000, 0x12345678, np.uint64)
    assert counted(frozen, 32, wrong=False).back == 0


def test_a_pulser_as_fast_as_16_bits_wrap_proves_nothing() -> None:
    """A hit in each readout, 65 281 ticks after the one before: the counter seems to go back by 255 each time."""
    stamps = np.arange(5000, dtype=np.uint64) * 65281
    hits = decoded(encode_frames(random_hits(4, 5000), 1, stamps, FrameLayout(16, "big")), 4, 16, "big")
    hits["readout_id"] = np.arange(5000)
    tally = FrameTally()
    tally.add(hits, ReadoutDescription(timestamp_bits=16))
    assert tally.counts.steps == 0


def test_stamps_wider_than_described_are_left_out() -> None:
    stamps = stamps_of(500, 48, 1000.0)
    hits = decoded(encode_frames(random_hits(4, 500), 1, stamps, FrameLayout(48, "big")), 4, 48, "big")
    tally = FrameTally()
    tally.add(hits, ReadoutDescription())
    assert tally.counts.steps == 0
    assert tally.counts.hits[1] == 500


def test_where_hits_name_no_layer_nothing_is_said() -> None:
    for check in (timestamp_order, damaged_frames):
        assert check.function(made_input(), check.defaults()) is None


# ---- the check of damaged frames


def asked(new: tuple[int, int], run: tuple[int, int]) -> list[CheckResult] | None:
    """What the check says of layer 2: (hits, damaged) since the last look, and in the run so far."""

    def counts(hits: int, damaged: int) -> FrameCounts:
        layer_2 = np.arange(256) == 2
        return FrameCounts(layer_2 * hits, layer_2 * damaged)

    before = made_input(frames=counts(run[0] - new[0], run[1] - new[1]))
    results = damaged_frames.function(made_input(frames=counts(*run), before=before), damaged_frames.defaults())
    return None if results is None else list(results)


@pytest.mark.parametrize(
    ("new", "run", "level"),
    [
        ((1000, 0), (1000, 0), None),
        ((1000, 9), (1000, 9), None),  # too few
        ((1000, 10), (1000, 10), AlarmLevel.WARNING),
        ((10_000, 40), (10_000, 40), None),  # too small a part
        ((100, 60), (100_000, 60), AlarmLevel.CRITICAL),  # just now
        ((100, 2), (1000, 20), AlarmLevel.WARNING),  # all the time, a little
        ((100, 0), (1000, 20), None),  # it is over
    ],
)
def test_when_damage_is_worth_an_alarm(new: tuple[int, int], run: tuple[int, int], level: AlarmLevel | None) -> None:
    results = asked(new, run) or []
    assert [(each.subject, each.level or damaged_frames.level) for each in results] == (
        [] if level is None else [("layer 2", level)]
    )


# ---- in runs


def filled(board: Board, version: int, probability: float, layers: tuple[int, ...] = (2, 3)) -> Board:
    """The board with frames of `layers` that waited, and lost 1 byte of the chip up to all but the first."""
    size = 5 if version == 3 else 8
    random = np.random.default_rng(3)

    def take(elapsed_s: float) -> bytes:
        frames = np.frombuffer(board(elapsed_s), np.uint8).reshape(-1, size + 6).copy()
        waited = np.isin(frames[:, 1], layers) & (random.random(len(frames)) < probability)
        lost = np.where(waited, random.integers(1, size, len(frames)), 0)
        frames[:, 2:-4] = idle_filled(frames[:, 2:-4], lost)
        return frames.tobytes()

    return take


@pytest.mark.finds("damaged_frames")
@pytest.mark.parametrize("version", [3, 4])
def test_layers_that_wait_for_another(version: int) -> None:
    board = filled(emulated(2, layers=3, version=version, rate_hz=60), version, 0.6)
    results = run_checks(board, 60, chips=2, layers=3, version=version, checks=[damaged_frames])
    assert found(results) == {("damaged_frames", "layer 2"), ("damaged_frames", "layer 3")}
    assert {result.level for _, result in results} == {AlarmLevel.CRITICAL}


@pytest.mark.parametrize("version", [3, 4])
def test_two_in_a_hundred_are_found_within_minutes(version: int) -> None:
    board = filled(emulated(2, layers=3, version=version, rate_hz=60), version, 0.02)
    results = run_checks(board, 300, chips=2, layers=3, version=version, checks=[damaged_frames])
    assert ("damaged_frames", "layer 2") in found(results)


def in_file(path: Path, version: int, order: str, **header: Any) -> Path:
    """A recording whose firmware sent the other byte order than `order`, which its header names."""
    readout_class: Any = AstroPix3LayerReadout if version == 3 else AstroPix4LayerReadout
    board = emulated(1, layers=2, version=version, rate_hz=40)  # little endian
    return write_file(path, board, 60, readout_class, chips=1, layers=2, timestamp_order=order, **header)


@pytest.mark.finds("timestamp_order")
@pytest.mark.parametrize("version", [3, 4])
def test_files_read_in_the_wrong_byte_order(version: int, tmp_path: Path) -> None:
    path = in_file(tmp_path / "a.apx", version, "big")
    notices = [notice for _, notice in RecordedChecks(Limits(), looks=CHECKS).check([path])]
    assert {notice.check.name for notice in notices} == {"timestamp_order"}
    assert "read as big endian" in notices[0].result.text
    assert "astep.timestamp_order" in notices[0].check.advice
    path = in_file(tmp_path / "b.apx", version, "little")
    assert not list(RecordedChecks(Limits(), looks=CHECKS).check([path]))


def test_the_real_quad_chip_file(recordings: Path, tmp_path: Path) -> None:
    """Two lanes of four chips, time stamps little endian; one hit in 1162 ends in idle bytes."""
    data = (recordings.parent / "astep" / "quad_chip_v3_part.bin").read_bytes()
    for order in ("little", "big"):
        path = tmp_path / f"{order}.apx"
        header = FileHeader(AstroPix3LayerReadout, {"chips": 4, "timestamp_order": order})
        with apx_open(path, "wb", header) as file:
            for index, begin in enumerate(range(0, len(data), 500)):
                readout = AstroPix3LayerReadout(data[begin : begin + 500], index, T0_NS + index * S)
                file.write(readout.to_bytes())
        checked = RecordedChecks(Limits(), looks=[timestamp_order, damaged_frames]).check([path])
        looked = {notice.check.name for _, notice in checked} & {"timestamp_order", "damaged_frames"}
        assert looked == (set() if order == "little" else {"timestamp_order"})


def test_a_stream_read_in_the_wrong_byte_order_which_the_run_s_record_names() -> None:
    decoder = AstroPix4LayerReadout.make_decoder(ReadoutDescription(chips=1, layers=2, timestamp_order="big"))
    board, maker, reader, looks = emulated(1, layers=2, rate_hz=40), MessageMaker(), StreamReader(), Snapshots()
    table = CheckRunner([timestamp_order, clock_drift])
    record = run_record(1, chips=1, layers=2, timestamp_bits=32, timestamp_order="big", readout_uid=4100)
    messages = [maker.run("begin", record)]
    said: set[tuple[str, str]] = set()
    for second in range(1, 200):
        block = ReadoutBlock.from_columns([board(second)], [second], [T0_NS + second * S])
        messages.append(maker.hits(decoder.decode(block), (second, second)))
        for frames in messages:
            if (event := reader.read(frames)) is not None:
                looks.feed(event)
        messages = []
        seen = looks.take(T0_NS + second * S, reader.counters)
        said |= {(each.check.name, result.subject) for each in table.look(seen) for result in each.results or ()}
    assert said == {("timestamp_order", "")}
    assert seen.description.timestamp_order == "big"
    assert ChipPlace(1, 0) in seen.chips
