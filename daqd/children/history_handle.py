"""The daemon's side of the process that answers for the past."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from daqd.children.child_process import ChildProcess
from daqd.children.notices import Report
from daqd.configuration.config import SecuritySection


class HistoryHandle(ChildProcess):
    """One `daqd-history`, alive as long as the daemon wants it; none where `bind` is empty.

    `on_ledger` is called in the event loop with number and ledger of a run whose record had none.
    """

    NAME = "history server"
    MODULE = "daqd.catching_up.history"

    def __init__(
        self,
        bind: str,
        data_dir: Path,
        after_run: int,
        on_ledger: Callable[[int, dict[str, Any]], None],
        security: SecuritySection | None = None,
    ) -> None:
        super().__init__(bind, self._take_ledger, security)
        self._data_dir = data_dir
        self._after_run = after_run
        self._on_ledger = on_ledger

    def arguments(self) -> list[str]:
        """Where the runs are, and which of them have no writer any more."""
        return [f"--data-dir={self._data_dir}", f"--after-run={self._after_run}"]

    async def start(self) -> None:
        """Start it, if it is wanted; `ChildError` where that cannot be."""
        if self._bind:
            await super().start()

    def _take_ledger(self, report: Report) -> None:
        if report.run is not None and report.ledger is not None:
            self._on_ledger(report.run, report.ledger)
