"""One run, from its number to its closed record."""

import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from daqd.acquisition.active_run import ActiveRun, RunHooks, RunRequest
from daqd.boards import open_board
from daqd.boards.board import Board
from daqd.configuration.chip_setup import load_chip_setup
from daqd.configuration.config import Config
from daqd.errors import BoardError, BoardLost, DiskError
from daqd.runs.run_store import RunStore
from protocol.apx import FileHeader, apx_open
from protocol.readout import AstroPix4Readout
from protocol.run_record import Gap, RunRecord
from tests.daqd.fake_board import FakeBoard
from tests.daqd.made_readouts import make_readouts
from tests.daqd.refusing_disk import file_size_limit
from tests.daqd.slow_disk import SlowDisk
from tests.daqd.waiting import DEADLINE_S, wait_until

pytestmark = pytest.mark.slow

SOFTWARE = {"name": "test", "version": "0"}


def configuration(**sections: dict[str, Any]) -> Config:
    return Config.model_validate({"board": {"transport": "emulated"}, **sections})


class Taking:
    """A run and what it told."""

    def __init__(self, store: RunStore, board: Board, config: Config, request: RunRequest, **options: Any) -> None:
        self.batches = 0
        self.lost: list[str] = []
        self.gaps: list[Gap] = []
        self.ended = threading.Event()
        hooks = RunHooks(self._note_batch, self._note_end, self.lost.append, self.gaps.append)
        self.active = ActiveRun(config, board, store, request, SOFTWARE, hooks, **options)

    def _note_batch(self) -> None:
        self.batches += 1

    def _note_end(self) -> None:
        assert not self.ended.is_set(), "the end was told twice"
        self.ended.set()

    def end(self) -> RunRecord:
        """Wait for it, and close the record."""
        assert self.ended.wait(DEADLINE_S)
        assert self.active.join(DEADLINE_S)
        return self.active.close_record()


Take = Callable[..., Taking]


@pytest.fixture
def take(store: RunStore) -> Iterator[Take]:
    """Makes runs, which are ended in any case."""
    begun: list[Taking] = []

    def begin(
        board: Board,
        config: Config | None = None,
        request: RunRequest | None = None,
        **options: Any,
    ) -> Taking:
        taking = Taking(store, board, config or configuration(), request or RunRequest(), **options)
        taking.active.begin()
        begun.append(taking)
        return taking

    yield begin
    for taking in begun:
        taking.active.stop("the test is over")
        assert taking.active.join(DEADLINE_S)


def on_disk(store: RunStore, run: int = 1) -> RunRecord:
    record = store.read_record(run)
    assert record is not None
    return record


def test_a_run_of_an_emulated_board(take: Take, store: RunStore) -> None:
    config = configuration(
        daq={"name": "lab"}, emulator={"rate_hz": "max", "seed": 5}, files={"max_size_mb": 0.05}, board={
            "transport": "emulated", "chips": 3, "readout_bytes": 512,
        },
    )  # fmt: skip
    setup = load_chip_setup(config.chip, config.board)
    board = open_board(config)
    board.open()
    board.configure(setup)
    taking = take(board, config, RunRequest(comment="Cd-109, 20 °C", readouts=300), setup=setup)
    begun = on_disk(store)
    assert (begun.state, begun.run, begun.daq, begun.comment) == ("running", 1, "lab", "Cd-109, 20 °C")
    assert (begun.end_ns, begun.end_reason, begun.files, begun.ledger) == (None, "", (), None)
    assert (begun.chips, begun.full_readout_bytes, begun.readout_uid) == (3, 512, 4000)
    assert begun.configuration == config.model_dump(mode="json")
    assert begun.chip_configuration == setup.describe()
    assert begun.software == SOFTWARE

    record = taking.end()
    assert on_disk(store) == record
    assert (record.state, record.end_reason) == ("finished", "300 readouts read, as asked")
    assert record.begin_ns < (record.end_ns or 0)
    assert taking.batches >= 1
    counts, board_counters = record.counts, board.status().counters
    assert counts.readouts + counts.empty_readouts == board_counters["readouts"] >= 300
    assert counts.board_bytes == board_counters["read_bytes"] == 512 * board_counters["readouts"]
    assert counts.board_bytes == counts.readout_bytes + counts.padding_bytes
    assert counts.file_bytes == sum(file.size_bytes for file in record.files)
    assert sum(file.readouts for file in record.files) == counts.readouts
    assert len(record.files) > 1
    next_id, data_bytes = 0, 0
    for index, file in enumerate(record.files):
        path = store.run_directory(1) / file.name
        assert hashlib.sha256(path.read_bytes()).hexdigest() == file.sha256
        with apx_open(path) as opened:
            header = opened.header
            readouts = list(opened)
        assert [readout.readout_id for readout in readouts] == list(range(next_id, next_id + file.readouts))
        next_id += file.readouts
        data_bytes += sum(len(readout.data()) for readout in readouts)
        assert {key: header[key] for key in ("run", "daq", "file", "chips", "comment")} == {
            "run": 1, "daq": "lab", "file": index, "chips": 3, "comment": "Cd-109, 20 °C",
        }  # fmt: skip
        assert header["configuration"] == config.model_dump(mode="json")
        assert header["chip_configuration"] == json.loads(json.dumps(setup.describe()))
        assert (header["begin_ns"], header["full_readout_bytes"]) == (record.begin_ns, 512)
    assert data_bytes == counts.readout_bytes
    assert not [path for path in store.run_directory(1).iterdir() if path.suffix not in (".apx", ".json")]
    board.close()


def test_readouts_of_a_recording_are_in_the_files_byte_by_byte(take: Take, store: RunStore, tmp_path: Path) -> None:
    recorded = make_readouts(200, seed=3)
    with apx_open(tmp_path / "recorded.apx", "wb", FileHeader(AstroPix4Readout)) as file:
        for number, data in enumerate(recorded):
            AstroPix4Readout(data, number, number).write(file)
    config = configuration(emulator={"source": "file", "speed": "max", "file": str(tmp_path / "recorded.apx")})
    board = open_board(config)
    board.open()
    board.configure()
    taking = take(board, config, RunRequest(readouts=200))
    record = taking.end()
    assert record.counts.empty_readouts == 0
    with apx_open(store.file_path(1, 0)) as file:
        assert [readout.data() for readout in file] == [data.rstrip(b"\xff") for data in recorded]
    board.close()


def test_a_disk_too_slow_for_the_board_ends_the_run_with_everything_written(
    take: Take, store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = configuration(emulator={"rate_hz": "max"}, acquisition={"queue_mb": 0.2})
    board = open_board(config)
    board.open()
    board.configure()
    disk = SlowDisk(monkeypatch)
    taking = take(board, config)
    wait_until("the board is stopped", lambda: not board.status().running and taking.active.queue.size_bytes)
    assert not taking.ended.is_set()
    assert taking.active.queue.size_bytes >= 200_000
    on_its_way_bytes = config.emulator.fifo_bytes + config.board.queue_ahead * config.board.readout_bytes
    assert taking.active.queue.size_bytes < 200_000 + 2 * on_its_way_bytes
    disk.take()
    record = taking.end()
    assert record.state == "failed"
    assert record.end_reason.startswith(
        "disk cannot keep up: the queue of 200000 bytes is full; write to a faster disk"
    )
    assert record.counts.board_bytes == board.status().counters["read_bytes"]
    assert record.counts.readouts + record.counts.empty_readouts == board.status().counters["readouts"]
    with apx_open(store.file_path(1, 0)) as file:
        assert sum(len(readout.data()) for readout in file) == record.counts.readout_bytes
    board.close()


def test_a_full_disk_ends_the_run_and_says_what_was_lost(take: Take, store: RunStore) -> None:
    board = FakeBoard([b"first"])
    taking = take(board)
    wait_until("the first is written", lambda: taking.active.counts.readouts == 1)
    with file_size_limit(taking.active.counts.file_bytes + 30):
        board.give(b"second")
        wait_until("the second is written", lambda: taking.active.counts.readouts == 2)
        board.give(b"third", b"fourth")
        wait_until("the writer has refused", lambda: taking.active.queue.refusing)
        assert taking.ended.wait(DEADLINE_S)
    record = taking.end()
    assert record.state == "failed"
    lost = board.given - 2
    assert lost >= 1
    assert record.end_reason.startswith(f"cannot write {store.run_directory(1)}: File too large; {lost} readouts that")
    assert record.counts.readouts == 2
    assert [file.readouts for file in record.files] == [2]
    assert board.told == ["start", "stop"]
    with apx_open(store.file_path(1, 0)) as file:
        assert [readout.data() for readout in file] == [b"first", b"second"]


def test_a_board_that_does_not_start_ends_the_run_as_failed(take: Take, store: RunStore) -> None:
    board = FakeBoard()
    board.failing["start"] = BoardError("no answer")
    record = take(board).end()
    assert (record.state, record.end_reason) == ("failed", "board: no answer")
    assert record.counts.readouts == 0
    assert on_disk(store) == record


def test_a_lost_board_is_brought_back_as_it_was_set_up_and_the_gap_is_in_the_record(
    take: Take, store: RunStore
) -> None:
    config = configuration()
    setup = load_chip_setup(config.chip, config.board)
    board = FakeBoard([b"a", BoardLost("cable"), b"b"])
    taking = take(board, config, setup=setup)
    wait_until("the board is back", lambda: taking.active.counts.readouts == 2)
    assert taking.lost == ["cable"]
    assert board.told == ["start", "close", "open", "configure", "start"]
    assert board.setup is setup
    (gap,) = taking.gaps
    taking.active.add_gap(gap)
    wait_until("the gap is in the record", lambda: on_disk(store).gaps)
    running = on_disk(store)
    assert (running.state, running.gaps) == ("running", (gap,))
    taking.active.stop("enough")
    record = taking.end()
    assert (record.state, record.gaps) == ("finished", (gap,))
    with apx_open(store.file_path(1, 0)) as file:
        assert [(readout.readout_id, readout.data()) for readout in file] == [(0, b"a"), (1, b"b")]


def test_stop_says_why(take: Take) -> None:
    board = FakeBoard([b"a"])
    taking = take(board)
    wait_until("it is written", lambda: taking.active.counts.readouts == 1)
    taking.active.stop("enough")
    record = taking.end()
    assert (record.state, record.end_reason) == ("finished", "enough")


def test_rotate_on_request(take: Take, store: RunStore) -> None:
    board = FakeBoard([b"a"])
    taking = take(board)
    wait_until("it is written", lambda: taking.active.counts.readouts == 1)
    taking.active.rotate()
    wait_until("the file is finished", store.file_path(1, 0).exists)
    board.give(b"b")
    wait_until("the next is written", lambda: taking.active.counts.readouts == 2)
    assert store.part_path(1, 1).exists()
    wait_until("the file is in the record", lambda: on_disk(store).files)
    running = on_disk(store)
    assert (running.state, running.counts.readouts, running.counts.readout_bytes) == ("running", 1, 1)
    (file,) = running.files
    content = store.file_path(1, 0).read_bytes()
    assert (file.size_bytes, file.sha256) == (len(content), hashlib.sha256(content).hexdigest())
    assert running.counts.file_bytes == len(content)
    taking.active.stop("enough")
    record = taking.end()
    assert [each.readouts for each in record.files] == [1, 1]
    assert record.files[0] == file


def test_runs_one_after_the_other(take: Take, store: RunStore) -> None:
    board = FakeBoard()
    for run in range(1, 4):
        board.give(bytes([run]))
        record = take(board, request=RunRequest(readouts=1)).end()
        assert record.run == run
        with apx_open(store.file_path(run, 0)) as file:
            assert [(readout.readout_id, readout.data()) for readout in file] == [(0, bytes([run]))]


def test_a_run_number_that_was_given_before(take: Take, store: RunStore) -> None:
    store.claim(5)
    with pytest.raises(ValueError, match="run 5 was given before"):
        take(FakeBoard(), request=RunRequest(run=5))
    assert take(FakeBoard([b"a"]), request=RunRequest(run=9, readouts=1)).end().run == 9


def _refuse(path: Path) -> int:
    raise OSError(28, "No space left on device", str(path))


def test_nothing_runs_where_the_first_file_cannot_be_made(take: Take, store: RunStore) -> None:
    board = FakeBoard([b"a"])
    with pytest.raises(OSError, match="No space left"):
        take(board, create=_refuse)
    assert board.told == []
    assert list(store.run_directory(1).iterdir()) == []
    assert store.read_record(1) is None


def test_nothing_runs_where_the_record_cannot_be_written(
    take: Take, store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(RunStore, "reserve", lambda *_: monkeypatch.setattr("os.fsync", fail))
    board = FakeBoard([b"a"])
    with pytest.raises(OSError, match="No space left"):
        take(board)
    assert board.told == []


def test_nothing_runs_without_a_data_directory(take: Take, tmp_path: Path) -> None:
    (tmp_path / "data").rmdir()
    with pytest.raises(DiskError, match="cannot make a directory for run 1"):
        take(FakeBoard())


def test_the_record_can_be_closed_on_a_disk_that_is_full(
    take: Take, store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the record needs was kept all along, and is given back just before."""
    board = FakeBoard([b"a"])
    taking = take(board, request=RunRequest(readouts=1))
    (reserve,) = store.run_directory(1).glob(".reserve")
    assert reserve.stat().st_size >= 1 << 18
    gone_before_writing: list[bool] = []
    write = RunStore.write_record

    def note(self: RunStore, record: RunRecord) -> None:
        gone_before_writing.append(not reserve.exists())
        write(self, record)

    monkeypatch.setattr(RunStore, "write_record", note)
    taking.end()
    assert gone_before_writing[-1]


def test_a_record_that_cannot_be_closed_is_an_error(
    take: Take, store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    taking = take(FakeBoard([b"a"]), request=RunRequest(readouts=1))
    assert taking.ended.wait(DEADLINE_S)
    with monkeypatch.context() as patch:
        patch.setattr("daqd.runs.run_store.replace_text", _refuse_text)
        with pytest.raises(DiskError, match="cannot write the record of run 1"):
            taking.active.close_record()
    assert json.loads(store.record_path(1).read_text())["state"] == "running"
    assert taking.active.record.state == "finished"


def _refuse_text(path: Path, text: str) -> None:
    _refuse(path)
