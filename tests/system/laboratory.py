"""A place where one test runs real programs: directories, logs, and the certainty that everything ends."""

import os
import re
import shutil
import signal
import subprocess
import tempfile
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from astropix_runtime.sockets.endpoints import directory_for_sockets
from daqd.configuration.config import Config, load_config
from daqd.control import ControlClient
from protocol.wire.messages import Stat
from tests.system.processes import DEADLINE_S, MARK, Process, end_at_once, marked, wait_until
from tests.system.programs import Finished, Program, program_path
from tests.system.subscriber import Subscriber
from tests.system.taken_run import TakenRun

Settings = Mapping[str, Mapping[str, Any]]
"""Sections of a configuration file, `{"emulator": {"seed": 3}}`; a key with a dot is a section below."""


_SERVICE = ("RUNTIME_DIRECTORY", "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "JOURNAL_STREAM")
"""What a service manager says to those that it starts; the tests may be one of them, the programs here are not."""


class Laboratory:
    """Starts programs in `folder`. `close` ends all that is left, by pid, and fails where something did not end well.

    `runtime_dir` has a short path, as sockets need it; what programs put into the directory for temporary files is
    found in `temporary_dir`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.mark = uuid.uuid4().hex
        self.runtime_dir = Path(tempfile.mkdtemp(prefix="apx-", dir=directory_for_sockets()))
        self.temporary_dir = self.runtime_dir / "tmp"
        self.temporary_dir.mkdir()
        self._programs: list[Program] = []
        self._subscribers: list[Subscriber] = []
        self._environment = {
            **{name: value for name, value in os.environ.items() if name not in _SERVICE},
            MARK: self.mark,
            "TMPDIR": str(self.temporary_dir),
            "PYTHONUNBUFFERED": "1",
            "PYTHONWARNINGS": "error",
        }

    def start(self, program: str, *arguments: str | Path, environment: Mapping[str, str] | None = None) -> Program:
        """Start an installed program; its log is `NN-program.log`."""
        return self.start_command([program_path(program), *map(str, arguments)], environment)

    def start_command(self, argv: list[str], environment: Mapping[str, str] | None = None) -> Program:
        """Start any command."""
        log_path = self.folder / f"{len(self._programs):02}-{Path(argv[0]).name}.log"
        program = Program(argv, log_path, {**self._environment, **(environment or {})}, self.folder)
        self._programs.append(program)
        return program

    def run(self, program: str, *arguments: str | Path) -> Finished:
        """Run an installed program to its end."""
        return self.run_command([program_path(program), *map(str, arguments)])

    def run_command(self, argv: list[str], environment: Mapping[str, str] | None = None) -> Finished:
        """Run any command to its end."""
        process = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            env={**self._environment, **(environment or {})},
            cwd=self.folder,
            timeout=DEADLINE_S,
            check=False,
        )
        return Finished(process.returncode, process.stdout, process.stderr)

    def subscribe(self, endpoint: str, **options: Any) -> Subscriber:
        """A subscriber that is closed at the end."""
        self._subscribers.append(Subscriber(endpoint, **options))
        return self._subscribers[-1]

    def configure(self, settings: Settings | None = None, name: str = "bench") -> "Daemon":
        """A daemon with its configuration written and nothing started: emulated board, any free port.

        However little room there is on this machine, it is enough, unless `settings` say otherwise.
        """
        sections: dict[str, dict[str, Any]] = {
            "daq": {"name": name, "data_dir": str(self.folder / "data"), "runtime_dir": str(self.runtime_dir)},
            "board": {"transport": "emulated"},
            "disk": {"warning_mb": 0.0, "critical_mb": 0.0, "warning_hours": 0.0},
            "stream": {"bind": "tcp://127.0.0.1:*", "catch_up": "tcp://127.0.0.1:*"},
        }
        for section, values in (settings or {}).items():
            sections.setdefault(section, {}).update(values)
        path = self.folder / f"{name}.toml"
        path.write_text("".join(f"[{section}]\n{_keys(values)}\n" for section, values in sections.items()))
        return Daemon(self, path)

    def daemon(self, config_path: Path) -> "Daemon":
        """A daemon with a configuration of the test's own, and nothing started."""
        return Daemon(self, config_path)

    def processes(self) -> list[Process]:
        """All processes of this test that are running."""
        return marked(self.mark)

    def wait_until_empty(self) -> None:
        """Until no process of this test runs any more."""
        wait_until("all processes have ended", lambda: not self.processes())

    def close(self) -> None:
        """End everything, show the logs, and fail where a process was left behind or did not end when asked."""
        failures = []
        for subscriber in self._subscribers:
            subscriber.close()
        for program in reversed(self._programs):
            try:
                program.end()
            except AssertionError as error:
                failures.append(str(error).splitlines()[0])
                program.kill()
        try:
            self.wait_until_empty()
        except AssertionError:
            for process in self.processes():
                failures.append(f"left behind: {process}")
                end_at_once(process.pid, signal.SIGKILL)
        shutil.rmtree(self.runtime_dir)
        for program in self._programs:
            print(f"----- {program.log_path.name} (ended with {program.code})\n{program.output}")
            if re.search(r"Traceback|ResourceWarning", program.output):
                failures.append(f"{program.log_path.name} has a traceback")
        assert not failures, failures


class Daemon:
    """One daemon of the laboratory, its configuration file at `config_path`."""

    def __init__(self, laboratory: Laboratory, config_path: Path) -> None:
        self._laboratory = laboratory
        self.config_path = config_path
        self._program: Program | None = None

    @property
    def config(self) -> Config:
        return load_config(self.config_path)

    @property
    def program(self) -> Program:
        """The process that was started last."""
        assert self._program is not None, "not started"
        return self._program

    @property
    def endpoint(self) -> str:
        """Where it publishes."""
        return re.search(r"publishes at (\S+),", self.program.output)[1]

    @property
    def publisher(self) -> Process:
        """The child that publishes."""
        return self.program.child("daqd.publishing.publish")

    @property
    def history(self) -> Process:
        """The child that answers for the past."""
        return self.program.child("daqd.catching_up.history")

    @property
    def catch_up(self) -> str:
        """Where it answers."""
        return self.status().catch_up

    @property
    def control_socket(self) -> Path:
        """The socket for commands."""
        return Path(self.config.control_endpoint.removeprefix("ipc://"))

    def launch(self, *arguments: str, environment: Mapping[str, str] | None = None) -> "Daemon":
        """Start `daqd run`, wait for nothing."""
        self._program = self._laboratory.start(
            "daqd", "run", "-c", self.config_path, *arguments, environment=environment
        )
        return self

    def launch_command(self, argv: list[str], environment: Mapping[str, str] | None = None) -> "Daemon":
        """Start another command in the place of `daqd run`."""
        self._program = self._laboratory.start_command(argv, environment)
        return self

    def wait_until_serving(self) -> "Daemon":
        """Until it publishes and listens."""
        self.program.wait_for_output(r"publishes at \S+, listens at")
        return self

    def start(self, *arguments: str) -> "Daemon":
        """Start `daqd run`, wait until it serves."""
        return self.launch(*arguments).wait_until_serving()

    def subscribe(self, **options: Any) -> Subscriber:
        """A subscriber to its stream."""
        return self._laboratory.subscribe(self.endpoint, **options)

    def call(self, command: str, **args: Any) -> dict[str, Any]:
        """Result of a command, over the control socket."""
        with ControlClient(self.config.control_endpoint, DEADLINE_S) as client:
            return client.call(command, **args)

    def ctl(self, *arguments: str) -> Finished:
        """The real `daqctl` for this daemon."""
        return self._laboratory.run("daqctl", "-c", self.config_path, *arguments)

    def status(self) -> Stat:
        """What it says of itself."""
        return Stat.model_validate(self.call("status")["status"])

    def wait_for_status(self, what: str, **wanted: Any) -> Stat:
        """Until its status has these values."""

        def look() -> Stat | None:
            status = self.status()
            return status if all(getattr(status, name) == value for name, value in wanted.items()) else None

        return wait_until(what, look)

    def wait_until_exhausted(self) -> Stat:
        """Until everything that the emulated board has to send is in the files."""

        def look() -> Stat | None:
            status = self.status()
            counters = status.board.counters
            written = status.counts["board_bytes"] == counters["read_bytes"]
            return status if counters["exhausted"] and written else None

        return wait_until("the emulated board has sent everything", look)

    def wait_for_readouts(self, number: int) -> Stat:
        """Until the present run has so many readouts in its files."""

        def look() -> Stat | None:
            status = self.status()
            return status if status.counts["readouts"] >= number else None

        return wait_until(f"{number} readouts", look)

    def run(self, number: int = 1) -> TakenRun:
        """What a run has left on disk."""
        return TakenRun(self.config.daq.data_dir, number)

    def end(self) -> int:
        """SIGTERM; exit code."""
        return self.program.end()


def _keys(values: Mapping[str, Any]) -> str:
    return "".join(f"{key} = {_toml(value)}\n" for key, value in values.items())


def _toml(value: Any) -> str:
    match value:
        case bool():
            return str(value).lower()
        case int() | float():
            return repr(value)
        case list() | tuple():
            return f"[{', '.join(map(_toml, value))}]"
        case _:
            return '"' + str(value).replace("\\", "\\\\").replace('"', '\\"') + '"'
