"""The programs that run as children of the daemon or of a replay, with their command lines."""

from collections.abc import Callable
from pathlib import Path

from daqd.children.child_process import ChildProcess
from daqd.children.messages import MORE_DATA_LINE, FromChild, PublishLog, PublishStat, encode_line
from daqd.configuration.config import SecuritySection, StreamSection
from protocol.wire.messages import LogLine, Stat

PUBLISHER_MODULE = "daqd.publishing.publish"
HISTORY_MODULE = "daqd.catching_up.history"


class PublisherHandle(ChildProcess):
    """One `daqd-publish`. Its methods can be called from any thread.

    A publisher that does not read its input misses messages; it looks into the files anyway.
    """

    def __init__(
        self,
        stream: StreamSection,
        daq: str,
        data_dir: Path,
        after_run: int,
        on_message: Callable[[FromChild], None],
        security: SecuritySection | None = None,
    ) -> None:
        arguments = [
            f"--data-dir={data_dir}",
            f"--after-run={after_run}",
            f"--daq={daq}",
            f"--batch-s={stream.batch_ms / 1000}",
            f"--max-hits={stream.max_hits}",
            f"--high-water={stream.high_water}",
            f"--checkpoint={data_dir / 'publisher.checkpoint'}",
            *(["--raw"] if stream.raw else []),
        ]
        super().__init__("publisher", PUBLISHER_MODULE, stream.bind, arguments, on_message, security)

    def arguments(self) -> list[str]:
        """Arguments of the next one, which has to know whether there was one before."""
        return [*super().arguments(), f"--restarts={self.restarts}"]

    def wake(self) -> None:
        """Announce that there is more in the files."""
        self.send_line(MORE_DATA_LINE)

    def send_stat(self, stat: Stat) -> None:
        """Have the daemon's state published."""
        self.send_line(encode_line(PublishStat(stat=stat)))

    def send_log(self, line: LogLine) -> None:
        """Have a line for the operator published."""
        self.send_line(encode_line(PublishLog(line=line)))


def history_server(
    bind: str,
    data_dir: Path,
    after_run: int,
    on_message: Callable[[FromChild], None],
    security: SecuritySection | None = None,
) -> ChildProcess:
    """`daqd-history` for the runs in `data_dir`; none is started if `bind` is empty.

    It sends `RunDecoded` for a run up to `after_run` whose record has no ledger.
    """
    arguments = [f"--data-dir={data_dir}", f"--after-run={after_run}"]
    return ChildProcess("history server", HISTORY_MODULE, bind, arguments, on_message, security)


def replay_history_server(
    bind: str,
    progress: Path,
    on_message: Callable[[FromChild], None],
    security: SecuritySection | None = None,
    *,
    any_port: bool = False,
) -> ChildProcess:
    """`daqd-history` for the replay that writes its progress to the file `progress`.

    `any_port`: use any other port if that of `bind` is taken.
    """
    arguments = [f"--replay={progress}", *(["--any-port"] if any_port else [])]
    return ChildProcess("history server", HISTORY_MODULE, bind, arguments, on_message, security)
