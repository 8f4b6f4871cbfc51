"""What the firmware does that earlier drivers did not expect, a busy chip, and a link that loses and repeats bytes."""

import random
from typing import Any

import numpy as np
import pytest

from daqd.boards import open_board
from daqd.boards.gecco import GeccoBoard
from daqd.configuration.config import Config
from daqd.emulator.factory import emulated_board
from daqd.emulator.seeded_hits import SeededHits
from daqd.errors import BoardAnswerError, BoardError, BoardLost
from daqd.transports.emulated import EmulatedLink
from protocol.hit import HitTable
from tests.daqd.emulated_bench import EmulatedBench, HandClock, ScriptedSource, without_padding
from tests.daqd.test_emulator_model import RUN, busy, say
from tests.daqd.test_gecco_configured import power_up_to_data

pytestmark = pytest.mark.slow

DECODED = ("chip_id", "row", "column", "ts_neg1", "ts_neg2", "ts_dec1", "ts_dec2", "tot_us")
HITS = 20_000
ALWAYS_BUSY_HZ = 2e6
"""More than SPI carries at any divider."""


# ---- what earlier drivers did


def test_the_scratch_register_that_was_written_and_read_does_not_exist() -> None:
    bench = EmulatedBench()
    assert say(bench.model, "0109000155", "00090001") == "00"
    bench.board.open()


def test_the_filler_of_earlier_drivers_begins_a_request() -> None:
    bench = EmulatedBench()
    bench.model.exchange(bytes(65536) + b"\xff\xff\xff")
    assert say(bench.model, "0109000155", "00090001", "00500004") == ""
    bench.board.open()


@pytest.mark.parametrize(("ahead", "lost"), [(15, 0), (32, 17)])
def test_32_readouts_asked_ahead_lost_bytes(ahead: int, lost: int) -> None:
    board, _, _ = busy(0)
    assert len(board.exchange(bytes.fromhex("00180800") * ahead)) == 2048 * ahead - lost


def test_a_divider_set_while_spi_was_on_shifted_the_data() -> None:
    """A restart from divider 40 to 2, with the divider behind `SPI on`; then as it is now."""
    spi_on, routing, empty = "0115000100", "01170008" + "0400000000000000", "0115000108" + "0115000100"
    for divider_first, slipped in ((False, True), (True, False)):
        board, chip, clock = busy(40)
        say(board, "0115000180")
        lost = board.fifo.lost_bytes
        steps = ["0116000102", spi_on] if divider_first else [spi_on, "0116000102"]
        say(board, *steps, routing, empty)
        clock.sleep(0.001)
        came = without_padding(board.exchange(bytes.fromhex("00180400")))
        assert (came != chip.sent()[lost : lost + len(came)]) == slipped


def test_a_faster_spi_after_a_daemon_that_died_shifts_nothing() -> None:
    bench = busy_bench(40)
    bench.clock.sleep(0.01)
    faster = EmulatedBench(board={"chips": 4, "spi_divider": 2, "poll_interval_ms": 0.0})
    board = GeccoBoard(bench.link, faster.config.board, bench.clock, bench.clock.sleep)
    board.open()
    board.configure()
    board.start()
    decoder = board.readout_class.make_decoder(board.description)
    hits = 0
    for number in range(20):
        bench.clock.sleep(0.001)
        if (readout := board.read_readout(0.001)) is not None:
            hits += len(decoder.decode([board.readout_class(readout.data, number, 0)]))
    assert hits > 100
    assert decoder.ledger.dropped_hits == 0
    # At most the rest of a hit of which the first bytes went before.
    assert decoder.ledger.dropped + decoder.ledger.orphan < 8


def test_one_readout_thrown_away_left_old_data() -> None:
    board, _, clock = busy(2)
    clock.sleep(0.1)
    say(board, "0115000180")
    held = len(board.fifo)
    board.exchange(bytes.fromhex("00180800"))
    assert len(board.fifo) == held - 2048 == 6144
    say(board, RUN)
    assert len(board.fifo) == 0


@pytest.mark.parametrize("kind", ["gecco", "astep"])
def test_a_board_of_the_other_kind_is_named(kind: str) -> None:

    other = Config.model_validate({"board": {"kind": "astep" if kind == "gecco" else "gecco", "transport": "emulated"}})
    clock = HandClock()
    link = EmulatedLink(emulated_board(other, clock), 0, clock, clock.sleep)
    board = open_board(Config.model_validate({"board": {"kind": kind, "transport": "emulated"}}), link)
    named = "A-STEP firmware 0xAC.*" if kind == "gecco" else "GECCO bench firmware.*"
    with pytest.raises(BoardError, match=f'runs the {named}set board.kind = "{other.board.kind}"'):
        board.open()


# ---- a chip that always has something to say


def decoded(bench: EmulatedBench, readouts: list[bytes]) -> HitTable:
    board = bench.board
    decoder = board.readout_class.make_decoder(board.description)
    hits = decoder.decode([board.readout_class(data, number, 0) for number, data in enumerate(readouts)])
    hits = np.concatenate([hits, decoder.flush()])
    assert decoder.ledger.balanced
    assert decoder.ledger.orphan == decoder.ledger.dropped == 0
    return hits


def take_everything(bench: EmulatedBench, host_pause_s: float) -> list[bytes]:
    readouts: list[bytes] = []
    while not bench.board.status().exhausted:
        bench.clock.sleep(host_pause_s)
        if (readout := bench.board.read_readout(0.001)) is not None:
            readouts.append(readout.data)
    return readouts


def busy_bench(divider: int, **board: Any) -> EmulatedBench:
    bench = EmulatedBench(
        board={"chips": 4, "spi_divider": divider, "poll_interval_ms": 0.0, **board},
        emulator={"rate_hz": ALWAYS_BUSY_HZ, "hits_limit": HITS, "link_latency_ms": 0.01},
    )
    bench.run()
    return bench


@pytest.mark.parametrize("queue_ahead", [0, 15])
@pytest.mark.parametrize("host_pause_s", [0.0, 0.01], ids=["fast host", "slow host"])
@pytest.mark.parametrize("divider", [2, 40])
def test_every_hit_of_a_busy_chip_is_decoded_right(divider: int, host_pause_s: float, queue_ahead: int) -> None:
    bench = busy_bench(divider, queue_ahead=queue_ahead)
    readouts = take_everything(bench, host_pause_s)
    assert bench.model.fifo.lost_bytes == bench.model.shortened_answers == 0
    if host_pause_s:
        assert bench.board.status().counters["fifo_full"] > 0
    else:
        assert any(b"\xff" * 8 in data.rstrip(b"\xff") for data in readouts)
    assert isinstance(bench.source, SeededHits)
    expected = bench.source.expected_hits(HITS)
    hits = decoded(bench, readouts)
    assert len(hits) == HITS
    for name in DECODED:
        assert np.array_equal(hits[name], expected[name]), name


def test_a_stop_loses_the_word_in_transfer_and_nothing_else() -> None:
    """Six runs of a busy chip: each gives its hits without a gap, up to the word of 8 bytes that was on its way."""
    bench = busy_bench(2)
    assert isinstance(bench.source, SeededHits)
    expected = bench.source.expected_hits(HITS)
    position = 0
    for _ in range(6):
        readouts = []
        for _ in range(20):
            bench.clock.sleep(0.0003)
            if (readout := bench.board.read_readout(0.001)) is not None:
                readouts.append(readout.data)
        bench.board.stop()
        while (readout := bench.board.read_readout(0)) is not None:
            readouts.append(readout.data)
        board = bench.board
        decoder = board.readout_class.make_decoder(board.description)
        hits = decoder.decode([board.readout_class(data, number, 0) for number, data in enumerate(readouts)])
        assert decoder.ledger.orphan == decoder.ledger.dropped_hits == 0
        assert len(hits) > 100
        following = expected[position : position + len(hits)]
        for name in DECODED:
            assert np.array_equal(hits[name], following[name]), name
        position += len(hits)
        lost = bench.source.hits_sent - position
        assert lost in (0, 1, 2)
        position += lost
        bench.board.start()


def test_what_was_read_before_a_stop_fails_is_given() -> None:
    bench = busy_bench(2)
    before = b""
    while bench.board._poller.idle:
        bench.clock.sleep(0.01)
        if (readout := bench.board.read_readout(0.001)) is not None:
            before += without_padding(readout.data)
    settle = bench.board._poller.settle

    def unplug_afterwards() -> None:
        settle()
        bench.link.cable.unplug()

    bench.board._poller.settle = unplug_afterwards  # type: ignore[method-assign]
    with pytest.raises(BoardLost):
        bench.board.stop()
    after = b""
    while (readout := bench.board.read_readout(0)) is not None:
        after += without_padding(readout.data)
    record = bench.model.fifo.record
    assert record is not None
    assert len(after) > 1000
    assert bytes(record.data).find(before + after) >= 0


# ---- a link that damages what it carries (more in test_gecco_soak.py)


def pieces_bench() -> EmulatedBench:
    bench = EmulatedBench(ScriptedSource(), board={"readout_bytes": 64, "queue_ahead": 8, "poll_interval_ms": 0.0})
    power_up_to_data(bench)
    while bench.board.read_readout(0) is not None:
        pass
    assert isinstance(bench.source, ScriptedSource)
    bench.source.pieces += [bytes((number,)) * 64 for number in range(40)]
    return bench


@pytest.mark.parametrize("seed", range(30))
def test_bytes_lost_between_board_and_host_cost_only_those_bytes(seed: int) -> None:
    """A few bytes of answers lost: everything else is kept, the board is resynchronised and the run goes on."""
    bench = pieces_bench()
    exchange, chosen = bench.model.exchange, random.Random(seed)
    lost = bytearray()

    def lose_one(data: bytes) -> bytes:
        answer = exchange(data)
        if not lost and len(answer) > 200 and chosen.random() < 0.5:
            at = chosen.randrange(len(answer))
            lost.append(answer[at])
            return answer[:at] + answer[at + 1 :]
        return answer

    bench.model.exchange = lose_one
    came = b""
    for _ in range(200):
        if (readout := bench.board.read_readout(0)) is not None:
            came += readout.data
    assert len(lost) == 1
    counts = np.bincount(np.frombuffer(came, np.uint8), minlength=256)
    # Identity and flags that were taken for data may have come in.
    assert sum(max(0, 64 - count) for count in counts[:40]) == 1
    assert bench.board.status().counters["resyncs"] == 1
    bench.board.stop()


@pytest.mark.parametrize("keep", range(4))
def test_a_request_that_lost_a_byte_ends_in_an_error_and_the_board_comes_back(keep: int) -> None:
    bench = pieces_bench()
    exchange, cut = bench.model.exchange, []

    def lose_one(data: bytes) -> bytes:
        if not cut and len(data) > 16:
            cut.append(data)
            return exchange(data[:keep] + data[keep + 1 :])
        return exchange(data)

    bench.model.exchange = lose_one
    came = b""
    with pytest.raises(BoardAnswerError):
        for _ in range(3000):  # what the damaged requests were answered comes first
            if (readout := bench.board.read_readout(0)) is not None:
                came += readout.data
    assert cut
    bench.board.close()
    power_up_to_data(bench)
    bench.source.pieces += [b"after"]  # type: ignore[attr-defined]
    for _ in range(100):
        if (readout := bench.board.read_readout(0)) is not None:
            came += readout.data
    assert b"after" in came


@pytest.mark.parametrize(("register", "value"), [(0x15, 0x80), (0x16, 0x28), (0x00, 0x10)])
def test_a_run_on_a_board_that_is_set_up_otherwise_after_a_broken_exchange_ends(register: int, value: int) -> None:
    bench = busy_bench(2)
    bench.clock.sleep(0.001)
    assert bench.board.read_readout(0.1) is not None
    exchange = bench.model.exchange
    done = []

    def lose_and_write(data: bytes) -> bytes:
        answer = exchange(data)
        if not done and len(answer) > 100:
            done.append(exchange(bytes((1, register, 0, 1, value))))
            return answer[1:]
        return answer

    bench.model.exchange = lose_and_write
    with pytest.raises(BoardAnswerError) as caught:
        for _ in range(100):
            bench.clock.sleep(0.001)
            bench.board.read_readout(0)
    assert caught.value.register.startswith(f"0x{register:02X}")
