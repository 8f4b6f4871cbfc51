"""A board that is lost in the middle of a run comes back, and the gap is known."""

from daqd.acquisition.reader import Reader, ReaderEnd, Recovery
from daqd.acquisition.readout_queue import ReadoutQueue
from daqd.errors import BoardAnswerError, BoardError, BoardLost
from protocol.run_record import Gap
from tests.daqd.fake_board import FakeBoard
from tests.daqd.waiting import DEADLINE_S, wait_until


class Run:
    """A reader that recovers `board`; `bring_up` fails as often as `failures` says."""

    def __init__(self, board: FakeBoard, failures: int = 0) -> None:
        self.board = board
        self.failures = failures
        self.attempts = 0
        self.lost: list[str] = []
        self.gaps: list[Gap] = []
        self.ends: list[ReaderEnd] = []
        self.queue = ReadoutQueue(1 << 20)
        recovery = Recovery(self._bring_up, self.lost.append, self.gaps.append)
        self.reader = Reader(board, self.queue, self.ends.append, recovery=recovery)
        self.reader.start()

    def _bring_up(self) -> None:
        self.attempts += 1
        if self.attempts <= self.failures:
            raise BoardLost("still out")
        self.board.open()
        self.board.configure()

    def end(self) -> list[bytes]:
        self.reader.stop("enough")
        assert self.reader.join(DEADLINE_S)
        return [readout.data for readout in self.queue.take(0) or []]


def test_a_lost_board_comes_back_and_the_run_goes_on() -> None:
    run = Run(FakeBoard([b"a", BoardLost("cable out"), b"b"]), failures=2)
    wait_until("the board is back", lambda: run.reader.readouts == 2)
    assert run.end() == [b"a", b"b"]
    assert run.ends == [ReaderEnd("enough", failure=False)]
    assert run.lost == ["cable out"]
    assert run.attempts == 3
    assert run.board.told == ["start", "close", "close", "close", "open", "configure", "start", "stop"]
    (gap,) = run.gaps
    assert gap.reason == "cable out"
    assert gap.to_ns is not None
    assert gap.from_ns <= gap.to_ns


def test_a_board_that_answers_wrongly_is_brought_up_again() -> None:
    run = Run(FakeBoard([BoardAnswerError("board", "0x15", "1 byte", "none", "power it"), b"b"]))
    wait_until("the board is back", lambda: run.reader.readouts == 1)
    assert run.end() == [b"b"]
    assert len(run.gaps) == 1


def test_a_board_that_does_not_start_again_is_tried_again() -> None:
    board = FakeBoard([b"a"])
    run = Run(board)
    wait_until("it reads", lambda: run.reader.readouts == 1)
    board.failing["start"] = BoardLost("not yet")
    board.give(BoardLost("cable out"), b"b")
    wait_until("the board is back", lambda: run.reader.readouts == 2)
    assert run.end() == [b"a", b"b"]
    assert run.attempts == 2
    assert len(run.gaps) == 1


def test_the_run_can_be_ended_while_the_board_is_away() -> None:
    """Who is away is not asked what it still holds."""
    run = Run(FakeBoard([b"a", BoardLost("cable out")], held=[b"of nobody knows when"]), failures=1 << 30)
    wait_until("it tries to bring the board back", lambda: run.attempts > 1)
    assert run.end() == [b"a"]
    assert run.ends == [ReaderEnd("enough", failure=False)]
    (gap,) = run.gaps
    assert gap.to_ns is None


def test_every_loss_is_a_gap() -> None:
    run = Run(FakeBoard([b"a", BoardLost("one"), b"b", BoardLost("two"), b"c"]))
    wait_until("all are read", lambda: run.reader.readouts == 3)
    assert run.end() == [b"a", b"b", b"c"]
    assert [gap.reason for gap in run.gaps] == ["one", "two"]
    assert run.gaps[0].to_ns is not None
    assert run.gaps[0].to_ns <= run.gaps[1].from_ns


def test_a_board_lost_while_stopping_is_no_gap() -> None:
    board = FakeBoard([b"a"])
    board.failing["stop"] = BoardError("cable out")
    run = Run(board)
    wait_until("it is read", lambda: run.reader.readouts == 1)
    assert run.end() == [b"a"]
    assert run.gaps == []
    assert run.ends[0].failure


def test_a_board_that_is_away_when_the_run_starts_is_waited_for() -> None:
    board = FakeBoard([b"a"])
    board.failing["start"] = BoardLost("cable out")
    run = Run(board)
    wait_until("the board is there", lambda: run.reader.readouts == 1)
    assert run.end() == [b"a"]
    assert run.lost == ["cable out"]
    assert len(run.gaps) == 1
