"""A daemon with an emulated board."""

import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from astropix_pytest.recording import Recording
from astropix_pytest.settings import write_config
from astropix_pytest.source import DEADLINE_S, Source
from astropix_runtime.sockets.endpoints import directory_for_sockets
from daqd.control import ControlClient
from protocol.run_record import RunRecord, run_name
from protocol.wire.messages import Stat

T = TypeVar("T")

_ASK_S = 0.02


class DaemonSource(Source):
    """`daqd run` with an emulated board that sends `hits` hits in all, then falls silent; at `endpoint` and `catch_up`.

    `start()` begins a run; who subscribes before gets all of it, who comes later asks for the past. When it is done,
    the daemon goes on serving, and `hits` and `ledger` are those of the run. `board`: as for `write_config`.
    """

    def __init__(self, folder: Path, hits: int = 1000, **board: Any) -> None:
        # The path of a socket may have a hundred letters: not in the folder of the test.
        self._runtime_dir = Path(tempfile.mkdtemp(prefix="apx-", dir=directory_for_sockets()))
        self._run: int | None = None
        self._recording: Recording | None = None
        try:
            self.config_path = folder / "daqd.toml"
            settings = {**board.pop("settings", {})}
            settings["daq"] = {
                "name": "emulated",
                "data_dir": str(folder / "data"),
                "runtime_dir": str(self._runtime_dir),
                **settings.get("daq", {}),
            }
            self._config = write_config(self.config_path, hits, settings=settings, **board)
            super().__init__(folder, "run", "-c", str(self.config_path))
            self.endpoint = self._wait_until_said(r"publishes at (\S+), listens at")[1]
            self.catch_up = self.status().catch_up
        except BaseException:
            self.close()
            raise

    @property
    def recording(self) -> Recording:
        """The files of the run, once it is done."""
        if self._recording is None:
            raise RuntimeError("what the run has brought is known when it is done: call wait_until_done() first")
        return self._recording

    def command(self, command: str, **arguments: Any) -> dict[str, Any]:
        """What the daemon answers to a command, like those of `daqctl`."""
        with ControlClient(self._config.control_endpoint, DEADLINE_S) as client:
            return client.call(command, **arguments)

    def status(self) -> Stat:
        """What the daemon says of itself."""
        return Stat.model_validate(self.command("status")["status"])

    def start(self, comment: str = "") -> int:
        """Begin a run; its number."""
        self._recording = None
        self._run = int(self.command("start", comment=comment)["run"])
        return self._run

    def wait_until_done(self, timeout_s: float = DEADLINE_S) -> None:
        """Wait until the board has sent all its hits, end the run, and wait until all of it was published."""
        if self._run is None:
            raise RuntimeError("no run was started: call start() first")
        deadline = time.monotonic() + timeout_s
        self._wait("the board has not sent all its hits", self._all_written, deadline)
        self.command("stop")
        record = self._wait("the run was not published", self._published_record, deadline)
        directory = self._config.daq.data_dir / run_name(self._run)
        self._recording = Recording(tuple(directory / file.name for file in record.files))

    def _all_written(self) -> bool:
        status = self.status()
        counters = status.board.counters
        return bool(counters.get("exhausted")) and status.counts["board_bytes"] == counters["read_bytes"]

    def _published_record(self) -> RunRecord | None:
        """The record of the run, as soon as it has the ledger of all that was published."""
        name = run_name(self._run or 0)
        record = RunRecord.from_json((self._config.daq.data_dir / name / f"{name}.json").read_bytes())
        return record if record.ledger is not None else None

    def _wait(self, complaint: str, condition: Callable[[], T | None], deadline: float) -> T:
        while not (value := condition()):
            if time.monotonic() > deadline or self._process.poll() is not None:
                raise self._error(f"is not done: {complaint}")
            time.sleep(_ASK_S)
        return value

    def close(self) -> None:
        """End the daemon; a run that is being taken is ended in order."""
        try:
            if hasattr(self, "_process"):
                super().close()
        finally:
            shutil.rmtree(self._runtime_dir, ignore_errors=True)
