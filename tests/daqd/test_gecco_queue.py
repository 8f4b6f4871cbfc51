"""Asking a GECCO board ahead: how deep, what for, and that no readout is lost or invented."""

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daqd.errors import BoardAnswerError, LinkTimeout
from protocol.registers.gecco import ReadRequest, Register
from tests.daqd.emulated_bench import EmulatedBench, ScriptedSource

FULL = bytes(range(64))


def bench_of(*pieces: bytes, **board: Any) -> EmulatedBench:
    """Pieces enter the FIFO one with each request, from the first readout on."""
    bench = EmulatedBench(
        ScriptedSource(),
        board={"readout_bytes": 64, "poll_interval_ms": 0.0, **board},
        emulator={"link_latency_ms": 2.0},
    )
    bench.run()
    while bench.board.read_readout(0) is not None:
        pass
    assert isinstance(bench.source, ScriptedSource)
    bench.source.pieces += pieces
    bench.record.reads.clear()
    return bench


def requests(bench: EmulatedBench) -> list[str]:
    """What is written to the board from now on: F for a question for flags, D for one for data."""
    said: list[str] = []
    exchange = bench.model.exchange

    def listen(data: bytes) -> bytes:
        # Each request is four bytes, the second is the register; the identity is a part of the question for flags.
        letters = {Register.SPI_READ_FIFO: "D", Register.SPI_CONFIG: "F", Register.IDENTITY: ""}
        said.append("".join(letters[Register(data[at + 1])] for at in range(0, len(data), 4)))
        return exchange(data)

    bench.model.exchange = listen
    return said


def readouts(bench: EmulatedBench) -> Iterator[bytes]:
    while (readout := bench.board.read_readout(0)) is not None:
        yield readout.data


def test_a_board_that_had_something_is_asked_both_questions_at_once() -> None:
    bench = bench_of(b"one", b"", b"two", b"", b"three", b"")
    said = requests(bench)
    assert [data.rstrip(b"\xff") for data in readouts(bench)] == [b"one", b"two", b"three"]
    assert said == ["F", "D", "FD", "FD", "FD"]
    assert bench.board.status().counters["vain_reads"] == 1
    assert list(readouts(bench)) == []
    assert said[-1] == "F"


def test_one_question_one_answer() -> None:
    bench = bench_of(b"one", b"", b"two", b"", b"three", b"", queue_ahead=0)
    said = requests(bench)
    assert [data.rstrip(b"\xff") for data in readouts(bench)] == [b"one", b"two", b"three"]
    assert said == ["F", "D"] * 3 + ["F"]
    assert bench.board.status().counters["vain_reads"] == 0


def test_a_board_that_has_nothing_more_is_left_alone_for_a_while() -> None:
    bench = bench_of(b"one", b"", FULL, FULL, poll_interval_ms=30.0)
    read_at = []
    for expected in (b"one", FULL, FULL):
        readout = bench.board.read_readout(1.0)
        assert readout is not None
        assert readout.data.rstrip(b"\xff") == expected
        read_at.append(bench.clock())
    first, second, third = read_at
    assert second - first >= 0.03  # padding: it had nothing more
    assert third - second < 0.03  # none: it may have more
    said = requests(bench)
    for _ in range(2):
        assert bench.board.read_readout(0) is None
    assert said == ["F"]
    assert bench.clock() - third < 0.03  # who cannot wait has his answer at once


def test_each_full_readout_doubles_what_is_asked_ahead_and_the_first_with_padding_ends_it() -> None:
    bench = bench_of(FULL * 9, b"", b"", queue_ahead=8)
    said = requests(bench)
    assert [len(data.rstrip(b"\xff")) for data in readouts(bench)] == [64] * 9
    assert said == [
        *("F", "D"),  # readout 1 is full: two
        "FDD",  # 2 is full, one is under way: up to four
        "FDDD",  # 3 is full, three are under way: up to eight
        "FDDDDD",
        "FDDDD",  # 4 to 7 are full, half of the eight are under way: up to eight again
        # 8 and 9 are the last, the other six were asked for in vain.
    ]
    assert bench.board.status().counters["vain_reads"] == 6
    assert list(readouts(bench)) == []
    assert said[-1] == "F"
    assert bench.board.status().exhausted


def test_never_more_than_asked_ahead() -> None:
    bench = bench_of(FULL * 200, queue_ahead=8)
    said = requests(bench)
    asked = given = 0
    for _ in readouts(bench):
        given += 1
        asked = sum(text.count("D") for text in said)
        assert asked - given <= 8
    assert given == 200


def test_not_ahead_at_all() -> None:
    bench = bench_of(FULL * 5, queue_ahead=0)
    said = requests(bench)
    assert len(list(readouts(bench))) == 5
    assert said == ["F", "D"] * 5 + ["F"]


def test_the_latency_of_the_link_is_shared() -> None:
    spent = {}
    for queue_ahead in (0, 32):
        bench = bench_of(FULL * 600, queue_ahead=queue_ahead)
        start = bench.clock()
        assert len(list(itertools.islice(readouts(bench), 600))) == 600
        spent[queue_ahead] = bench.clock() - start
    assert spent[0] == pytest.approx(600 * 0.004)
    # Sixteen and more questions share 2 ms, after the first few.
    assert spent[32] < spent[0] / 20


def test_each_readout_has_the_time_of_its_own_answer() -> None:
    bench = bench_of(FULL * 40, queue_ahead=4)
    times = []
    for _ in range(40):
        readout = bench.board.read_readout(0)
        assert readout is not None
        times.append(readout.timestamp_ns)
        assert readout.timestamp_ns == round(bench.clock.now * 1e9)
        bench.clock.sleep(0.0001)
    assert times == sorted(times)
    assert len(set(times)) == 40


def test_stopping_loses_nothing_of_what_was_asked_ahead() -> None:
    bench = bench_of(b"".join(bytes((index,)) * 64 for index in range(30)), queue_ahead=8)
    came = list(itertools.islice(readouts(bench), 10))
    bench.board.stop()
    came += readouts(bench)
    assert came == [bytes((index,)) * 64 for index in range(30)]


def test_a_board_that_fills_its_fifo_is_seen_while_asked_ahead() -> None:
    bench = EmulatedBench(ScriptedSource(), board={"readout_bytes": 64, "queue_ahead": 4}, emulator={"fifo_bytes": 256})
    bench.run()
    assert isinstance(bench.source, ScriptedSource)
    bench.source.pieces += [bytes(256)] * 40
    for _ in range(20):
        assert bench.board.read_readout(1) is not None
    assert bench.board.status().counters["fifo_full"] > 2


def answers_broken_off(bench: EmulatedBench, at: int, keep: int) -> list[bytes]:
    """From the data answer with number `at` on, which gives `keep` bytes, answers are held back; they are returned."""
    held: list[bytes] = []
    count = itertools.count()

    def hold(request: ReadRequest, answer: bytes) -> bytes:
        if not held and (request.register != Register.SPI_READ_FIFO or next(count) < at):
            return answer
        held.append(answer if held else answer[keep:])
        return b"" if len(held) > 1 else answer[:keep]

    bench.model.answer_filter = hold
    return held


def deliver_late(bench: EmulatedBench, held: list[bytes], missing: int = 0) -> None:
    """What is `held` back comes, without its first `missing` bytes, when the driver has waited for it in vain."""
    read, delivered = bench.link.read, []

    def reading(length: int, timeout_s: float, under_way: int = 0) -> bytes:
        try:
            return read(length, timeout_s, under_way)
        except LinkTimeout:
            if held and not delivered:
                delivered.append(b"".join(held)[missing:])
                bench.model.answer_filter = None
                bench.link._answers.append((bench.clock.now, delivered[0]))
            raise

    bench.link.read = reading  # type: ignore[method-assign]


@pytest.mark.parametrize("at", range(12))
def test_what_comes_late_of_several_answers_is_taken_apart_as_it_was_asked_for(at: int) -> None:
    bench = bench_of(b"".join(bytes((index,)) * 64 for index in range(20)), queue_ahead=8)
    deliver_late(bench, answers_broken_off(bench, at, keep=10))
    came = list(itertools.islice(readouts(bench), 40))
    # Those asked for in vain are among what came late, too: nobody can tell, and the writer drops them.
    assert [data for data in came if data.strip(b"\xff")] == [bytes((index,)) * 64 for index in range(20)]
    counters = bench.board.status().counters
    assert (counters["short_readouts"], counters["resyncs"]) == (1, 0)


def test_a_stop_while_answers_are_late_takes_them() -> None:
    bench = bench_of(b"".join(bytes((index,)) * 64 for index in range(20)), queue_ahead=8)
    deliver_late(bench, answers_broken_off(bench, 5, keep=32))
    came = list(itertools.islice(readouts(bench), 4))
    bench.board.stop()
    assert bench.model.exchange(bytes.fromhex("00150001 00000001"))[1] == 0x10
    came += readouts(bench)
    assert [data for data in came if data.strip(b"\xff")] == [bytes((index,)) * 64 for index in range(20)]


def test_where_bytes_are_missing_all_that_came_is_kept_from_the_beginning_of_a_readout() -> None:
    bench = bench_of(b"".join(bytes((index,)) * 64 for index in range(20)), queue_ahead=8)
    held = answers_broken_off(bench, 3, keep=10)
    deliver_late(bench, held, missing=5)
    list(itertools.islice(readouts(bench), 3))
    following = list(itertools.islice(readouts(bench), 3))
    expected = bytes((3,)) * 10 + b"".join(held)[5:]
    assert b"".join(following) == expected[: 3 * 64]
    assert bench.board.status().counters["resyncs"] == 1


def test_silence_while_asked_ahead() -> None:
    """Whole answers are missing: a request may have been damaged, so the board has to be set up again."""
    bench = bench_of(FULL * 20, queue_ahead=8)
    answers_broken_off(bench, 5, keep=0)
    with pytest.raises(BoardAnswerError, match=r"0x18 \(SPI_READ_FIFO\): expected 64 bytes, got none"):
        list(readouts(bench))
    bench.model.answer_filter = None
    with pytest.raises(BoardAnswerError, match=r"0x18 \(SPI_READ_FIFO\): expected 64 bytes, got none"):
        bench.board.read_readout(1)
    bench.board.close()
    bench.run()
    bench.source.pieces += [b"more"]
    following = bench.board.read_readout(1)
    assert following is not None
    assert following.data.rstrip(b"\xff") == b"more"


@settings(max_examples=60, deadline=None)
@given(
    pieces=st.lists(st.binary(max_size=300).map(lambda data: data.replace(b"\xff", b"\x00")), max_size=60),
    queue_ahead=st.integers(0, 20),
    stop_after=st.integers(0, 40),
)
def test_every_byte_comes_once_and_in_order(pieces: list[bytes], queue_ahead: int, stop_after: int) -> None:
    bench = bench_of(*pieces, queue_ahead=queue_ahead)
    came = list(itertools.islice(readouts(bench), stop_after))
    bench.board.stop()
    for _ in range(len(pieces)):
        came += readouts(bench)
    taken = bytes(bench.record.data)
    assert b"".join(data.rstrip(b"\xff") for data in came) == taken
    assert all(len(data) == 64 and data.strip(b"\xff") for data in came)


def test_a_board_that_goes_on_without_being_asked_takes_no_memory_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("daqd.boards.dialogue.MAX_LATE_BYTES", 300_000)
    bench = bench_of(FULL * 20, queue_ahead=8)
    held = answers_broken_off(bench, 3, keep=10)
    read, asked = bench.link.read, itertools.count()

    def endless(length: int, timeout_s: float, under_way: int = 0) -> bytes:
        if not held or not next(asked):
            return read(length, timeout_s, under_way)
        assert next(asked) < 400, "it is read on and on"
        return bytes(length)

    came = list(itertools.islice(readouts(bench), 3))
    monkeypatch.setattr(bench.link, "read", endless)
    with pytest.raises(BoardAnswerError):
        bench.board.stop()
    assert len(came) == 3
