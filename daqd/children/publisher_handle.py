"""The daemon's side of its publisher: what it is started with, and what it is told."""

from collections.abc import Callable
from pathlib import Path

from daqd.children.child_process import ChildProcess
from daqd.children.notices import WAKE_LINE, Notice, Report
from daqd.configuration.config import SecuritySection, StreamSection
from protocol.wire.messages import LogLine, Stat


class PublisherHandle(ChildProcess):
    """One publisher, alive as long as the daemon wants it.

    A publisher that does not read its notices misses some; it looks into the files anyway.
    """

    NAME = "publisher"
    MODULE = "daqd.publishing.publish"

    def __init__(
        self,
        stream: StreamSection,
        daq: str,
        data_dir: Path,
        after_run: int,
        on_report: Callable[[Report], None],
        security: SecuritySection | None = None,
    ) -> None:
        super().__init__(stream.bind, on_report, security)
        self._data_dir = data_dir
        self._after_run = after_run
        self._stream = stream
        self._daq = daq

    def arguments(self) -> list[str]:
        """As `python -m daqd.publishing.publish --help` tells."""
        return [
            f"--data-dir={self._data_dir}",
            f"--after-run={self._after_run}",
            f"--daq={self._daq}",
            f"--batch-s={self._stream.batch_ms / 1000}",
            f"--max-hits={self._stream.max_hits}",
            f"--high-water={self._stream.high_water}",
            f"--checkpoint={self._data_dir / 'publisher.checkpoint'}",
            f"--restarts={self.restarts}",
            *(["--raw"] if self._stream.raw else []),
        ]

    def wake(self) -> None:
        """Tell it that there is more in the files; from any thread."""
        self.tell_line(WAKE_LINE)

    def send_stat(self, stat: Stat) -> None:
        """Have the daemon's state published."""
        self.tell(Notice(stat=stat))

    def send_log(self, line: LogLine) -> None:
        """Have a line for the operator published."""
        self.tell(Notice(log=line))
