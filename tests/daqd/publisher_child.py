"""The publisher as the process that it is, with the test in the place of the daemon."""

import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from daqd.children.messages import (
    FromChild,
    MoreData,
    PublisherState,
    Ready,
    RunDecoded,
    ToChild,
    decode_from_child,
    encode_line,
)
from daqd.runs.run_store import RunStore
from tests.daqd.waiting import DEADLINE_S, wait_until

M = TypeVar("M", bound=FromChild)


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
        self.messages: list[FromChild] = []
        self.said = ""
        self._readers = [threading.Thread(target=self._read_messages), threading.Thread(target=self._read_errors)]
        for reader in self._readers:
            reader.start()

    def _read_messages(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            message = decode_from_child(line)
            assert message is not None, line
            self.messages.append(message)

    def _read_errors(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.said += line.decode()

    def wait_for(self, kind: type[M], wanted: Callable[[M], bool] = lambda _: True) -> M:
        def found() -> M | None:
            ended = self.process.poll() is not None
            message = next((each for each in self.messages if isinstance(each, kind) and wanted(each)), None)
            assert message is not None or not ended, f"it has ended: {self.said}"
            return message

        message = wait_until("a message", found)
        assert message is not None
        return message

    def wait_for_decoded(self) -> tuple[RunDecoded, PublisherState]:
        """The first run that was decoded to its end, with the state that the publisher sent then."""
        decoded = self.wait_for(RunDecoded)
        after = self.messages.index(decoded)
        return decoded, self.wait_for(PublisherState, lambda state: self.messages.index(state) > after)

    @property
    def endpoint(self) -> str:
        """Where it publishes; waits until it does."""
        return self.wait_for(Ready).endpoint

    def write(self, line: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line)
        self.process.stdin.flush()

    def send(self, message: ToChild | None = None) -> None:
        self.write(encode_line(message or MoreData()))

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
