"""A replay of recorded files."""

import subprocess
from pathlib import Path

from astropix_pytest.recording import Recording
from astropix_pytest.source import DEADLINE_S, Source


class ReplaySource(Source):
    """`daqd replay` of a recording, at `endpoint` and `catch_up`; begins when `wait_for` subscribers to hits are there.

    `speed`: 1.0 as it was, N times as fast, or "max", at which nothing is lost either. `loop`: again and again, until
    the test ends. `stay`: when all was published, it goes on answering for it until the test ends, for readers that
    come after that. `raw`: the readouts are published, too.
    """

    def __init__(
        self,
        folder: Path,
        recording: Recording,
        *,
        speed: float | str = "max",
        loop: bool = False,
        stay: bool = False,
        wait_for: int = 1,
        raw: bool = False,
    ) -> None:
        self._recording = recording
        self._loop = loop
        self._stay = stay
        options = ["--bind", "tcp://127.0.0.1:*", "--catch-up", "tcp://127.0.0.1:*"]
        options += ["--speed", str(speed), "--wait-for", str(wait_for)]
        options += ["--loop"] * loop + ["--stay"] * stay + ["--raw"] * raw
        if recording.chips is not None:
            options += ["--chips", str(recording.chips)]
        super().__init__(folder, "replay", *map(str, recording.files), *options)
        self.endpoint = self._wait_until_said(r"replaying \d+ files? at (\S+)")[1]
        self.catch_up = self._wait_until_said(r"answering for the past at (\S+)")[1]

    @property
    def recording(self) -> Recording:
        """What is replayed."""
        return self._recording

    def wait_until_done(self, timeout_s: float = DEADLINE_S) -> None:
        """Until everything was published and taken, and the program has ended; a loop is never done.

        With `stay`, until everything was published.
        """
        if self._loop:
            raise ValueError("a replay with loop=True is never done")
        if self._stay:
            self._wait_until_said("staying until interrupted", timeout_s, "is not done")
            return
        try:
            code = self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise self._error(f"is not done within {timeout_s:g} s") from None
        if code:
            raise self._error(f"ended with {code}")
