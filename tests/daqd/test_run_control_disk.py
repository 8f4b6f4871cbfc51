"""Run control: the disk takes no run, no record, no ledger."""

import errno
import os

import pytest

from daqd.children.messages import PublisherState, RunDecoded
from daqd.configuration.config import Config
from daqd.errors import DiskError
from daqd.runs.run_store import RunStore
from protocol.ledger import Ledger
from protocol.wire.messages import PublisherStat
from tests.daqd.controlled import Controlled, record_of, run
from tests.daqd.refusing_disk import file_size_limit


def test_too_little_room_for_a_run(store: RunStore) -> None:
    """Nothing begins and nothing changes; with room again, nobody has to do anything else."""
    free_mb = 20.0
    config = Config.model_validate(
        {"board": {"transport": "emulated"}, "disk": {"warning_mb": 30.0, "critical_mb": 10.0, "warning_hours": 0.0}}
    )

    async def use(control: Controlled) -> None:
        nonlocal free_mb
        await control.execute("start")
        free_mb = 9.0
        assert control.disk.look().level == "critical"
        control.control.end_for_disk("9 MB are free, disk.critical_mb = 10")
        await control.until(lambda: control.control.state == "configured")
        record = record_of(store)
        assert (record.state, record.end_reason) == (
            "finished",
            "too little room on the disk: 9 MB are free, disk.critical_mb = 10",
        )
        control.control.end_for_disk("there is no run to be ended")
        code, message = await control.refused("start")
        assert code == "disk"
        assert "9 MB are free, disk.critical_mb = 10; make room first" in message
        assert control.control.state == "configured"
        assert store.runs() == [1]
        free_mb = 20.0
        assert (await control.execute("start"))["run"] == 2

    run(Controlled(store, config=config, usage=lambda _: (10**9, 0, int(free_mb * 1e6))), use)


def test_a_disk_that_takes_no_run(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise DiskError("No space left on device")

    async def use(control: Controlled) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(RunStore, "write_record", fail)
            assert await control.refused("start") == ("disk", "No space left on device")
        assert control.control.state == "error"
        assert "start" not in control.board.told
        await control.execute("reset")
        assert (await control.execute("start"))["run"] == 2

    run(Controlled(store), use)


def test_a_disk_that_is_full_already(store: RunStore) -> None:
    """What it says has the run and the place in it: the error of the system has neither."""

    async def use(control: Controlled) -> None:
        with file_size_limit(1000):
            code, message = await control.refused("start")
        where = f"run 1 cannot begin in {store.run_directory(1)}"
        assert (code, message) == ("disk", f"{where}: {os.strerror(errno.EFBIG)}")
        assert control.control.state == "error"
        await control.execute("reset")
        assert (await control.execute("start"))["run"] == 2

    run(Controlled(store), use)


def test_a_record_that_cannot_be_closed(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise DiskError("cannot write the record of run 1: No space left on device")

    async def use(control: Controlled) -> None:
        await control.execute("start")
        with monkeypatch.context() as patch:
            patch.setattr(RunStore, "write_record", fail)
            stopped = await control.execute("stop")
        assert stopped["state"] == "error"
        assert "cannot write the record of run 1" in control.state.reason
        assert control.state.reason.startswith("run 1: ")

    run(Controlled(store), use)


def test_the_ledger_of_a_run_reaches_its_record_also_late(store: RunStore) -> None:
    """Two quick runs; the publisher is behind, and reports both when the second is over."""

    async def use(control: Controlled) -> None:
        for _ in range(2):
            await control.execute("start")
            await control.execute("stop")
        for number in (1, 2):
            ledger = Ledger(bytes_read=number, idle=number).to_dict()
            control.control.receive(RunDecoded(run=number, ledger=ledger))
            await control.until(lambda: record_of(store, number).ledger == ledger)  # noqa: B023 - it is waited for
            assert record_of(store, number).state == "finished"
        control.control.receive(RunDecoded(run=77, ledger=Ledger().to_dict()))
        control.control.receive(PublisherState(run=2, ledger=Ledger().to_dict(), hits_hz=0.0, stat=PublisherStat()))
        assert await control.control.settle()
        assert record_of(store, 2).ledger == Ledger(bytes_read=2, idle=2).to_dict()

    run(Controlled(store), use)


def test_a_ledger_that_cannot_be_written_is_logged(store: RunStore, caplog: pytest.LogCaptureFixture) -> None:
    async def use(control: Controlled) -> None:
        await control.execute("start")
        await control.execute("stop")
        store.record_path(1).write_text("nonsense")
        control.control.receive(RunDecoded(run=1, ledger=Ledger().to_dict()))
        assert await control.control.settle()

    run(Controlled(store), use)
    assert "the ledger of run 1 is not in its record" in caplog.text
