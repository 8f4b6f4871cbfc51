"""A replay's side of the process that answers for what it has published."""

from collections.abc import Callable
from pathlib import Path

from daqd.children.child_process import ChildProcess
from daqd.children.notices import Report
from daqd.configuration.config import SecuritySection


class ReplayHistoryHandle(ChildProcess):
    """One `daqd-history` for the replay that tells in the file `progress` how far it is.

    `any_port`: where the port of `bind` is taken, any other will do. `on_asked` is called in the event loop, a few
    times a second, while somebody asks.
    """

    NAME = "history server"
    MODULE = "daqd.catching_up.history"

    def __init__(
        self,
        bind: str,
        progress: Path,
        on_asked: Callable[[], None],
        security: SecuritySection | None = None,
        *,
        any_port: bool = False,
    ) -> None:
        super().__init__(bind, self._take_report, security)
        self._progress = progress
        self._on_asked = on_asked
        self._any_port = any_port

    def arguments(self) -> list[str]:
        """What is replayed, and how certain its port is."""
        return [f"--replay={self._progress}", *(["--any-port"] if self._any_port else [])]

    def _take_report(self, report: Report) -> None:
        if report.kind == "asked":
            self._on_asked()
