"""The publisher as the process that it is, with the test in the place of the daemon."""

import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from daqd.children.notices import Notice, Report, decode_report, encode_line
from daqd.runs.run_store import RunStore
from tests.daqd.waiting import DEADLINE_S, wait_until


class PublisherChild:
    """`python -m daqd.publishing.publish` for the runs of `store`; a context manager that kills what has not ended."""

    def __init__(self, store: RunStore, bind: str = "tcp://127.0.0.1:*", **options: Any) -> None:
        given = {
            "data_dir": store.data_dir,
            "daq": "bench",
            "bind": bind,
            "batch_s": 0.001,
            "max_hits": 50,
            "high_water": 100_000,
            "after_run": 0,
            "checkpoint": store.data_dir / "publisher.checkpoint",
            **options,
        }
        raw = given.pop("raw", False)
        arguments = [f"--{name.replace('_', '-')}={value}" for name, value in given.items()]
        command = [
            sys.executable,
            "-W",
            "error",
            "-m",
            "daqd.publishing.publish",
            *arguments,
            *(["--raw"] if raw else []),
        ]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=Path.cwd()
        )
        self.reports: list[Report] = []
        self.said = ""
        self._readers = [threading.Thread(target=self._read_reports), threading.Thread(target=self._read_errors)]
        for reader in self._readers:
            reader.start()

    def _read_reports(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            report = decode_report(line)
            assert report is not None, line
            self.reports.append(report)

    def _read_errors(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.said += line.decode()

    def wait_for_report(self, wanted: Callable[[Report], bool]) -> Report:
        def found() -> Report | None:
            assert self.process.poll() is None or any(map(wanted, self.reports)), f"it has ended: {self.said}"
            return next(filter(wanted, self.reports), None)

        report = wait_until("a report", found)
        assert report is not None
        return report

    @property
    def endpoint(self) -> str:
        """Where it publishes; waits until it does."""
        return self.wait_for_report(lambda report: report.kind == "ready").endpoint

    def write(self, line: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line)
        self.process.stdin.flush()

    def tell(self, notice: Notice | None = None) -> None:
        self.write(encode_line(notice or Notice()))

    def kill(self) -> None:
        """At once, as a crash would."""
        self.process.kill()
        self._join()

    def finish(self) -> int:
        """Say that nothing more will come; its exit code."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        return self._join()

    def _join(self) -> int:
        code = self.process.wait(DEADLINE_S)
        for reader in self._readers:
            reader.join(DEADLINE_S)
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            if stream is not None and not stream.closed:
                try:
                    stream.close()
                except BrokenPipeError:
                    continue
        return code

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.kill()
        self._join()
