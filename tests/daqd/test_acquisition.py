"""The reader: every way in which it ends, and that nothing it has read is left behind."""

import threading
from collections.abc import Callable
from typing import Any

import pytest

from daqd.acquisition.reader import Reader, ReaderEnd
from daqd.acquisition.readout_queue import READOUT_COST_BYTES, ReadoutQueue
from daqd.boards import open_board
from daqd.boards.board import Board
from daqd.configuration.config import Config
from daqd.errors import BoardError, BoardLost
from tests.daqd.fake_board import T0_NS, FakeBoard
from tests.daqd.waiting import DEADLINE_S, wait_until


class Reading:
    """A reader on `board`, its queue, and how it ended."""

    def __init__(self, board: Board, limit_bytes: int = 1 << 20, readout_limit: int = 0) -> None:
        self.queue = ReadoutQueue(limit_bytes)
        self.ends: list[ReaderEnd] = []
        self.reader = Reader(board, self.queue, self.ends.append, readout_limit)
        self.reader.start()

    def end(self) -> ReaderEnd:
        """Wait for it."""
        assert self.reader.join(DEADLINE_S)
        assert len(self.ends) == 1
        return self.ends[0]

    def data(self) -> list[bytes]:
        """What is in the queue, which must have been closed."""
        taken = self.queue.take(0)
        if taken is None:
            return []
        assert self.queue.take(DEADLINE_S) is None, "the queue was not closed"
        return [readout.data for readout in taken]


@pytest.fixture
def uncaught(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Exceptions that ended threads."""
    caught: list[Any] = []
    monkeypatch.setattr(threading, "excepthook", caught.append)
    return caught


def test_stop_ends_it_with_the_reason_given_first() -> None:
    board = FakeBoard([b"a", b"b"])
    reading = Reading(board)
    wait_until("both are read", lambda: reading.reader.readouts == 2)
    reading.reader.stop("enough")
    reading.reader.stop("another reason")
    assert reading.end() == ReaderEnd("enough", failure=False)
    assert reading.data() == [b"a", b"b"]
    assert board.told == ["start", "stop"]


def test_stop_while_the_board_is_silent() -> None:
    board = FakeBoard()
    reading = Reading(board)
    assert board.reading.wait(DEADLINE_S)
    reading.reader.stop("enough")
    assert reading.end() == ReaderEnd("enough", failure=False)
    assert reading.data() == []


def test_stop_before_the_first_readout() -> None:
    board = FakeBoard([b"a"])
    queue = ReadoutQueue(1000)
    ends: list[ReaderEnd] = []
    reader = Reader(board, queue, ends.append)
    reader.stop("never mind")
    reader.start()
    assert reader.join(DEADLINE_S)
    assert ends == [ReaderEnd("never mind", failure=False)]
    assert queue.take(0) is None
    assert board.told == ["start", "stop"]


def test_what_the_stopped_board_still_holds_belongs_to_the_run() -> None:
    reading = Reading(FakeBoard([b"a"], held=[b"b", b"c"]))
    wait_until("the first is read", lambda: reading.reader.readouts == 1)
    reading.reader.stop("enough")
    assert not reading.end().failure
    assert reading.data() == [b"a", b"b", b"c"]
    assert reading.reader.readouts == 3


def test_the_limit_ends_it_and_what_the_board_had_sent_by_then_is_kept() -> None:
    board = FakeBoard([b"a", b"b", b"c"], held=[b"d"])
    reading = Reading(board, readout_limit=2)
    assert reading.end() == ReaderEnd("2 readouts read, as asked", failure=False)
    assert reading.data() == [b"a", b"b", b"d"]
    assert reading.reader.readouts == 3
    assert board.told == ["start", "stop"]


def test_a_full_queue_ends_it_and_holds_the_readout_in_hand() -> None:
    board = FakeBoard([bytes(40), bytes(40), bytes(40), bytes(40)])
    limit_bytes = 2 * READOUT_COST_BYTES + 100
    reading = Reading(board, limit_bytes)
    end = reading.end()
    assert end.failure
    assert end.reason.startswith(f"disk cannot keep up: the queue of {limit_bytes} bytes is full")
    assert "queue_mb" in end.reason
    assert reading.data() == [bytes(40)] * 3
    assert board.given == 3
    assert board.told == ["start", "stop"]


def test_it_ends_at_once_where_nothing_can_be_kept_also_while_the_board_is_silent() -> None:
    board = FakeBoard()
    reading = Reading(board)
    assert board.reading.wait(DEADLINE_S)
    reading.queue.refuse()
    assert reading.end() == ReaderEnd("what is read cannot be kept", failure=True)
    assert board.told == ["start", "stop"]


@pytest.mark.parametrize("error", [BoardLost("cable"), BoardError("FIFO")])
def test_a_board_error_ends_it(error: BoardError) -> None:
    board = FakeBoard([b"a", error])
    reading = Reading(board)
    assert reading.end() == ReaderEnd(f"board: {error}", failure=True)
    assert reading.data() == [b"a"]
    assert board.told == ["start", "stop"]


def test_a_board_that_does_not_start() -> None:
    board = FakeBoard([b"a"])
    board.failing["start"] = BoardError("no answer")
    reading = Reading(board)
    assert reading.end() == ReaderEnd("board: no answer", failure=True)
    assert reading.data() == []
    assert board.told == ["start", "stop"]


def test_a_board_that_does_not_stop_is_a_failure() -> None:
    board = FakeBoard([b"a"], held=[b"held"])
    board.failing["stop"] = BoardLost("cable")
    reading = Reading(board, readout_limit=1)
    assert reading.end() == ReaderEnd("board could not be stopped: cable", failure=True)
    # What was read from it while it was being stopped belongs to the run.
    assert reading.data() == [b"a", b"held"]


def test_of_two_failures_the_first_is_the_reason() -> None:
    board = FakeBoard([BoardLost("cable")])
    board.failing["stop"] = BoardLost("cable, still")
    assert Reading(board).end() == ReaderEnd("board: cable", failure=True)


@pytest.mark.parametrize("where", ["start", "read", "stop"])
def test_an_error_nobody_expected_is_told_and_loses_nothing(where: str, uncaught: list[Any]) -> None:
    error = RuntimeError("a fault in the driver")
    board = FakeBoard([b"a", error] if where == "read" else [b"a"])
    if where != "read":
        board.failing[where] = error
    reading = Reading(board, readout_limit=0 if where == "read" else 1)
    end = reading.end()
    assert end.failure
    assert end.reason.endswith("RuntimeError: a fault in the driver")
    assert reading.data() == ([] if where == "start" else [b"a"])
    assert [caught.exc_value for caught in uncaught] == [error]
    assert board.told == ["start", "stop"]


def test_time_stamps_and_bytes_are_those_of_the_board() -> None:
    reading = Reading(FakeBoard([b"a\xff\xff", b"\xff"]), readout_limit=2)
    reading.end()
    taken = reading.queue.take(0) or []
    assert [(readout.data, readout.timestamp_ns) for readout in taken] == [
        (b"a\xff\xff", T0_NS + 1),
        (b"\xff", T0_NS + 2),
    ]


def emulated(**emulator: Any) -> Board:
    board = open_board(Config.model_validate({"board": {"transport": "emulated"}, "emulator": emulator}))
    board.open()
    board.configure()
    return board


ENDS: dict[str, tuple[dict[str, Any], Callable[[Reading], bool]]] = {
    "stopped": ({}, lambda reading: reading.reader.readouts >= 20),
    "limit": ({"readout_limit": 20}, lambda reading: False),
    "full": ({"limit_bytes": 30_000}, lambda reading: False),
}


@pytest.mark.parametrize("how", ENDS)
def test_every_byte_of_an_emulated_board_is_in_the_queue_however_it_ends(how: str) -> None:
    options, enough = ENDS[how]
    board = emulated(rate_hz="max")
    reading = Reading(board, **options)
    wait_until("enough is read", lambda: enough(reading) or reading.ends)
    reading.reader.stop("enough")
    end = reading.end()
    assert end.failure == (how == "full")
    status = board.status()
    data = reading.data()
    assert sum(map(len, data)) == status.counters["read_bytes"]
    assert len(data) == status.counters["readouts"] == reading.reader.readouts
    assert not status.running
    board.close()
