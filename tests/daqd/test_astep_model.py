"""The emulated A-STEP board at byte level, by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daqd.configuration.config import EmulatorSection
from daqd.emulator.astep_model import AstepModel
from daqd.emulator.seeded_frames import SeededFrames
from protocol.layer_scan import FrameLayout
from tests.daqd.astep_bench import AstepBench
from tests.daqd.emulated_bench import HandClock

pytestmark = pytest.mark.slow

READY = "01080100040109010018"  # chip version 4, clocks on
FLUSH = "01490001" + 256 * "00"


def model(clock: HandClock | None = None, layers: int = 1, fifo_bytes: int = 1000, **settings: object) -> AstepModel:
    source = SeededFrames(EmulatorSection.model_validate({"rate_hz": 1000.0, **settings}), 1, layers)
    return AstepModel(source, fifo_bytes, clock or HandClock(), record=True)


def say(board: AstepModel, *requests: str) -> str:
    """The answers to requests, each of which waits for the one before."""
    answers = []
    for request in requests:
        now = board._clock()
        board._clock.sleep(max(0.0, board.answering_until - now))  # type: ignore[attr-defined]
        answers.append(board.exchange(bytes.fromhex(request)))
    return b"".join(answers).hex()


def flushed(clock: HandClock, layer_registers: str = "011f01001d") -> AstepModel:
    """Ready to send, old data of layer 0 flushed out."""
    board = model(clock)
    say(board, READY, "011d010013", layer_registers, FLUSH)
    clock.sleep(1.0)
    say(board, "011f010015")
    return board


def test_power_up() -> None:
    board = model()
    assert say(board, "06000400", "02080100", "02090100", "061f0300", "06760200") == "03ac000003020707071000"
    assert say(board, "060a0400") == "109f5055"  # 2545 and 1365, left-aligned
    assert say(board, "02a30300", "06a40400", "02220100") == "ffffff0000000000"
    assert say(board, "0108010004", "02080100", "06760200") == "041000"
    board.power_up()
    assert say(board, "02080100") == "03"


def test_what_is_read_only_stays() -> None:
    board = model()
    assert say(board, "050004 0001020304".replace(" ", ""), "06000400") == "03ac0000"
    assert say(board, "05220100ff", "02220100") == "00"
    assert say(board, "05250400ffffffff", "06250400") == "ffffffff"  # counters of the layers can be written


@pytest.mark.parametrize("missing", ["", "0108010004", "0109010018"])
def test_no_frames_before_chip_version_and_clocks(missing: str) -> None:
    clock = HandClock()
    board = model(clock)
    say(board, missing, "011f010008")
    clock.sleep(1.0)
    assert say(board, "06a40400") == "00000000"


@pytest.mark.parametrize("control", ["09", "0a", "0c", "18", "00"])
def test_no_frames_on_hold_in_reset_without_autoread_without_miso_not_selected(control: str) -> None:
    clock = HandClock()
    board = flushed(clock)
    say(board, "011f0100" + control)
    clock.sleep(1.0)
    assert say(board, "06a40400") == "00000000"


def test_frames_come_and_are_counted() -> None:
    clock = HandClock()
    board = flushed(clock)
    say(board, "0190010005", "011f010008")
    clock.sleep(0.05)
    size = int.from_bytes(bytes.fromhex(say(board, "06a40400")), "little")
    hits = board.source.hits_sent
    assert size == 14 * hits > 14 * 20
    assert bytes.fromhex(say(board, "02a30200")) == bytes((13, 1))
    assert bytes.fromhex(say(board, "06250400", "06310400", "063d0400")) == b"".join(
        count.to_bytes(4, "little") for count in (hits, 5 * hits, 0)
    )
    board.power_up()
    assert say(board, "06250400") == "00000000"


def test_old_data_that_nobody_flushed_are_found_in_the_readout() -> None:
    board = model()
    assert say(board, "02220100") == "00"
    say(board, READY, "011f010008")
    assert say(board, "06a40400", "02a30e00") == "0e0000000d01" + 12 * "55"


def test_the_mosi_fifo_holds_256_bytes_and_empties_with_the_clock() -> None:
    clock = HandClock()
    board = model(clock)
    assert say(board, "011d010013", "011f01001d", "01492c01" + 300 * "aa", "064a0400") == "00010000"
    assert board.mosi[0].lost_bytes == 44
    clock.sleep(0.001001)  # 1 MHz: 125 bytes
    assert say(board, "064a0400") == "83000000"
    clock.sleep(0.01)
    assert say(board, "064a0400", "011f010015") == "00000000"
    assert board.mosi[0].frames == [256 * b"\xaa"]


def test_a_frame_that_does_not_fit_is_lost_whole() -> None:
    clock = HandClock()
    board = model(clock, fifo_bytes=64)
    say(board, READY, "011d010013", "011f01001d", FLUSH)
    clock.sleep(1.0)
    say(board, "011f010015", "011f010008")
    clock.sleep(1.0)
    assert say(board, "06a40400") == "38000000"  # 56 of 64
    assert board.readout.lost_hits == board.source.hits_sent - 4


def test_the_same_seed_gives_the_same_frames_whoever_reads_when() -> None:
    settings = EmulatorSection.model_validate({"rate_hz": 5000.0, "hits_limit": 20_000, "seed": 7})
    layout = FrameLayout(48, "big")
    slow, quick = SeededFrames(settings, 4, 3), SeededFrames(settings, 4, 3)
    in_steps = [frames.data for step in range(50) for frames in slow.take(step / 10, 0, layout)]
    at_once = [frames.data for frames in quick.take(5.0, 0, layout)]
    assert b"".join(in_steps) == b"".join(at_once)
    assert slow.exhausted
    assert quick.exhausted
    assert len(b"".join(at_once)) == 20_000 * 16
    expected = quick.expected_hits(100)
    assert expected.tolist() == quick.expected_hits(20_000)[:100].tolist()
    assert set(np.unique(quick.expected_hits(20_000)["chip_id"])) == {0, 1, 2, 3}


@given(st.lists(st.binary(max_size=60), max_size=8))
def test_any_bytes_are_survived(noise: list[bytes]) -> None:
    board = model()
    for piece in noise:
        board.exchange(piece)


@pytest.mark.parametrize("damage", [False, True])
def test_frames_that_wait_for_another_layer_end_in_idle_bytes_and_look_valid(damage: bool) -> None:
    """The firmware's own fault, which can be switched off."""
    bench = AstepBench(
        {"layers": 3}, {"rate_hz": 30_000.0, "hits_limit": 2000, "fifo_bytes": 1 << 20, "firmware_damage": damage}
    )
    bench.run()
    table, decoder = bench.decode(bench.read_all())
    assert decoder.ledger.dropped_hits == 0
    assert len(table) == 2000
    data = bytes(bench.model.fifo.record.data)  # type: ignore[union-attr]
    filled = sum(data[start + 2 : start + 10].endswith(b"\x3d\x3d") for start in range(0, len(data), 14))
    assert (filled > 200) is damage


def test_switching_packet_mode_with_data_in_the_fifo_breaks_its_size() -> None:
    clock = HandClock()
    board = flushed(clock)
    say(board, "011f010008")
    clock.sleep(0.05)
    assert say(board, "01a2010000", "01a2010001", "06a40400") == "3cf1ffff"
