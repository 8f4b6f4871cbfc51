"""What the daemon does at its start about runs that a daemon before it did not live to close."""

import logging
import time
from collections.abc import Callable

from astropix_runtime.storage.run_repair import plan_run_repair
from daqd.runs.run_store import RunStore

log = logging.getLogger(__name__)


def repair_runs(store: RunStore, enough: Callable[[], bool] = lambda: False) -> None:
    """Repair what is open in the data directory, which nobody else writes to; a line in the log for each such run.

    A run that cannot be repaired is logged, too, and left as it is; nothing is raised. Between two runs it ends early
    where `enough` says so: the next start does the rest.
    """
    for run in store.runs():
        if enough():
            return
        try:
            _repair(store, run)
        except (OSError, ValueError) as error:
            log.error("run %d could not be repaired: %s; the next start tries again", run, error)


def _repair(store: RunStore, run: int) -> None:
    began = time.monotonic()
    repair = plan_run_repair(store.run_directory(run))
    if repair.needed:
        repair.carry_out()
        took_s = time.monotonic() - began
        log.warning("run %d, which was left open, is repaired: %s (%.1f s)", run, repair.describe(), took_s)
    for remark in repair.remarks:
        log.warning("run %d: %s", run, remark)
