"""Ledgers of runs that nobody decoded to their end, because the daemon that took them was killed."""

from collections.abc import Iterator
from contextlib import closing

from daqd.catching_up.archive import StoredRun
from daqd.catching_up.past_run import PastRun
from daqd.catching_up.record_index import RunIndex
from daqd.runs.run_store import RunStore
from protocol.ledger import LedgerCounts
from protocol.run_record import RunRecord
from protocol.wire.catch_up import MAX_HITS


def missing_ledgers(store: RunStore, settled_run: int) -> Iterator[tuple[int, LedgerCounts] | None]:
    """Number and ledger of each run up to `settled_run` that has ended and has none, one after the other.

    None comes after each bounded piece of work between. Runs that cannot be read are passed over.
    """
    for run in store.runs():
        if run > settled_run:
            return
        try:
            record = store.read_record(run)
            if record is not None and record.state != "running" and record.ledger is None:
                yield from _ledger(store, record, settled_run)
        except (OSError, ValueError):
            continue
        yield None


def _ledger(store: RunStore, record: RunRecord, settled_run: int) -> Iterator[tuple[int, LedgerCounts] | None]:
    run = StoredRun(store, record, settled_run)
    with closing(PastRun(run, RunIndex(run), 0)) as past:
        while not past.over:
            past.work()
            past.take(None, MAX_HITS)
            yield None
        yield record.run, past.decoder.ledger.to_dict()
