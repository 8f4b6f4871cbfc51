"""A replay of recorded files."""

import subprocess
from pathlib import Path

from astropix_pytest.recording import Recording
from astropix_pytest.source import DEADLINE_S, Source


class ReplaySource(Source):
    """`daqd replay` of a recording, at `endpoint`; begins when `wait_for` subscribers to hits are there.

    `speed`: 1.0 as it was, N times as fast, or "max", at which nothing is lost either. `loop`: again and again, until
    the test ends. `raw`: the readouts are published, too. A replay does not answer for the past: `catch_up` is empty.
    """

    def __init__(
        self,
        folder: Path,
        recording: Recording,
        *,
        speed: float | str = "max",
        loop: bool = False,
        wait_for: int = 1,
        raw: bool = False,
    ) -> None:
        self._recording = recording
        self._loop = loop
        options = ["--bind", "tcp://127.0.0.1:*", "--speed", str(speed), "--wait-for", str(wait_for)]
        options += ["--loop"] * loop + ["--raw"] * raw
        if recording.chips is not None:
            options += ["--chips", str(recording.chips)]
        super().__init__(folder, "replay", *map(str, recording.files), *options)
        self.endpoint = self._wait_until_said(r"replaying \d+ files? at (\S+)")[1]

    @property
    def recording(self) -> Recording:
        """What is replayed."""
        return self._recording

    def wait_until_done(self, timeout_s: float = DEADLINE_S) -> None:
        """Until everything was published and taken, and the program has ended; a loop is never done."""
        if self._loop:
            raise ValueError("a replay with loop=True is never done")
        try:
            code = self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise self._error(f"is not done within {timeout_s:g} s") from None
        if code:
            raise self._error(f"ended with {code}")
