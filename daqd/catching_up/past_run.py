"""Hits of a run from its files, from any readout on, exactly as the publisher has decoded them."""

from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass

import numpy as np

from daqd.catching_up.archive import ArchivedRun, StoredRun
from daqd.catching_up.record_index import RunIndex
from daqd.following.feed import Feed, ReadoutsRead, RunEnded
from daqd.following.follower import Position
from daqd.runs.run_store import RunStore
from protocol.block import ReadoutBlock
from protocol.hit import HitTable, join_tables
from protocol.ledger import LedgerCounts
from protocol.mid_run import decoder_within_run
from protocol.readout_decoder import ReadoutDecoder
from protocol.run_record import RunRecord
from protocol.wire.catch_up import MAX_HITS

_BACK_BYTES = 1 << 15
_FURTHER_BACK = 8
_SETTLING_READOUTS = 64
"""What is not settled by then may never be: rather try from further back."""
_WAITING_BYTES = 1 << 23
"""Decoded hits that may wait to be taken; what one chunk of a file brings comes on top."""


@dataclass(frozen=True)
class HitRange:
    """The hits of readouts `first` to `last`, whole; `last` < `first` where none is covered.

    `more`: others follow in the files now. `over`: nothing of the run follows, ever.
    """

    hits: HitTable
    first: int
    last: int
    more: bool
    over: bool


class PastRun:
    """Reads `run` from readout `first` on. `work` does a bounded piece; `take` gives what is there.

    The ledger of `decoder` is that of what was decoded, complete where that began with readout 0 and the run is over.
    `ValueError` where nobody knows the kind of its readouts; `OSError` from `work` as the disk gives it, and where ids
    go back.
    """

    def __init__(self, run: ArchivedRun, index: RunIndex, first: int) -> None:
        self.run = run
        self._index = index
        self._record = run.record
        self._decoder: ReadoutDecoder = run.record.decoder()
        self._dtype = self._decoder.hit_class.DTYPE
        self._follower: Feed | None = None
        self._first = first
        self._waiting: list[HitTable] = []
        self._waiting_hits = 0
        self._read_to = first - 1
        self._beyond = -1
        self._last_id = -1
        self._ended = False
        self._exhausted = False
        self._found = False
        self._from_begin = False
        self._finding = self._find()
        self.next_readout = first

    @property
    def decoder(self) -> ReadoutDecoder:
        """What decodes it."""
        return self._decoder

    @property
    def over(self) -> bool:
        """Whether all of the run has been read, and nothing will be added to it."""
        return self._ended

    def work(self) -> None:
        """Look for the place, or read and decode some more."""
        if self._found:
            self._read()
            return
        try:
            next(self._finding)
        except StopIteration:
            self._found = True

    def look_again(self) -> None:
        """The files may have grown since they were read to their end."""
        self._exhausted = False

    def ready(self, last: int | None, max_hits: int) -> bool:
        """Whether `take` with the same arguments would give no more after more work."""
        if not self._found:
            return False
        if self._ended or self._exhausted:
            return True
        if last is not None and self._read_to >= last:
            return self._beyond > last  # else `last` may be the one to which the end of the run adds a hit
        return self._waiting_hits >= max_hits or self._waiting_hits * self._dtype.itemsize >= _WAITING_BYTES

    def take(self, last: int | None, max_hits: int) -> HitRange:
        """What was decoded up to readout `last`: at most `max_hits` hits, but whole readouts, at least one."""
        hits = join_tables(self._waiting, self._dtype)
        ids = hits["readout_id"]
        covered = self._read_to if last is None else min(last, self._read_to)
        stop = int(np.searchsorted(ids, covered, side="right"))
        if stop > max_hits:
            stop = int(np.searchsorted(ids, ids[max_hits])) or int(np.searchsorted(ids, ids[0], side="right"))
            covered = min(covered, int(ids[stop]) - 1) if stop < len(hits) else covered
        given, kept = hits[:stop], hits[stop:]
        self._waiting, self._waiting_hits = ([kept] if len(kept) else []), len(kept)
        first, self.next_readout = self.next_readout, max(self.next_readout, covered + 1)
        rest = bool(len(kept)) or covered < self._read_to or not (self._ended or self._exhausted)
        wanted = last is None or covered < last
        if len(given) and ids[0] < first:
            # The end of the run has settled one more hit, of a readout that was covered before.
            first = int(ids[0])
            covered = max(covered, first)
        return HitRange(given, first, covered, rest and wanted, self._ended and not rest)

    def close(self) -> None:
        """Close the file that is open."""
        if self._follower is not None:
            self._follower.close()

    def _find(self) -> Generator[None, None, None]:
        """Open the files at or before the first readout, with the decoder of one who began with the run."""
        back_bytes = _BACK_BYTES
        while self._first > 0:
            place = yield from self._index.place(self._first, back_bytes)
            if (place.file, place.offset) == (0, 0):
                break
            if (yield from self._settle(self._open(place))):
                return
            back_bytes *= _FURTHER_BACK
        self._decoder = self._record.decoder()
        self._open(Position(self._record.run, 0, 0))
        self._from_begin = True

    def _open(self, place: Position) -> Feed:
        self.close()
        follower = self._follower = self.run.follow(place)
        self._ended = self._exhausted = False
        self._last_id = -1
        return follower

    def _settle(self, follower: Feed) -> Generator[None, None, bool]:
        """Read on until the state of the decoder is certain; false where that would be beyond the first readout."""
        fresh = self._record.decoder()
        while True:
            events = follower.poll()
            for event in events:
                if isinstance(event, RunEnded):
                    self._ended = True
                    return True  # before the readout that was asked for
                if isinstance(event, ReadoutsRead):
                    before = int(np.searchsorted(event.block.readout_id, self._first))
                    settled = decoder_within_run(fresh, event.block[: min(before, _SETTLING_READOUTS)])
                    if settled is not None:
                        self._decoder, used = settled
                        self._decode(event.block[used:])
                        return True
                    if before < len(event.block):
                        return False
            if not events and follower.wait_s() is None:
                return False
            yield

    def _read(self) -> None:
        follower = self._follower
        if self._ended or follower is None:
            return
        events = follower.poll()
        for event in events:
            if isinstance(event, ReadoutsRead):
                self._decode(event.block)
            elif isinstance(event, RunEnded):
                self._keep(self._decoder.flush())
                self._ended = True
        self._exhausted = not events and follower.wait_s() is None

    def _decode(self, block: ReadoutBlock) -> None:
        self._check_order(block)
        self._keep(self._decoder.decode(block))
        if len(block) and self._from_begin:
            # Recordings can begin with any readout: what is before it is not covered, on the stream neither.
            self.next_readout = max(self.next_readout, int(block.readout_id[0]))
            self._from_begin = False
        if len(block):
            self._read_to = max(self._read_to, int(block.readout_id[-1]))
        if block.data:  # without bytes, a readout does not tell that the one before it was not the last
            self._beyond = int(block.readout_id[np.searchsorted(block.offsets, len(block.data)) - 1])

    def _check_order(self, block: ReadoutBlock) -> None:
        """That the ids do not go back, as other programs may have written them: they are what one asks by."""
        ids = block.readout_id
        if not len(ids):
            return
        if int(ids[0]) < self._last_id or bool(np.any(ids[1:] < ids[:-1])):
            raise OSError(f"its readout ids go back, somewhere between {ids[0]} and {ids[-1]}")
        self._last_id = int(ids[-1])

    def _keep(self, hits: HitTable) -> None:
        if len(hits) and int(hits["readout_id"][0]) < self._first:
            hits = hits[int(np.searchsorted(hits["readout_id"], self._first)) :]
        if len(hits):
            self._waiting.append(hits)
            self._waiting_hits += len(hits)


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
