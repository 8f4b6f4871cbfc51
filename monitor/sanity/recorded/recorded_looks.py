"""Looks at recorded readouts as at a stream: every ten seconds of the run, by the time stamps of the readouts."""

from collections.abc import Iterator, Sequence

import numpy as np

from monitor.continuity import HitArray, HitsStep, SequenceStep
from monitor.events import HitBatch, RunMessage, StatMessage
from monitor.receiving.reader import StreamCounters
from monitor.sanity.check import Check, CheckInput, Limits
from monitor.sanity.check_runner import CheckOutcome, CheckRunner
from monitor.sanity.snapshots import Snapshots
from protocol.block import ReadoutBlock
from protocol.readout_description import ReadoutDescription
from protocol.run_record import RunRecord
from protocol.units import NS_PER_S
from protocol.wire.messages import Header, RunEvent, Stat

LOOK_S = 10.0

_EPOCH = 1
_NO_STEP = SequenceStep()


class RecordedLooks:
    """Follows the readouts of one run, and asks `checks` every `look_s` seconds of it; those that are `live_only` not.

    `run`, `record`: number and record of the run, where there are any: the record tells
    of gaps, and which pixels are on. `description`: how the readouts are decoded; None: as the record says. `chips`:
    in each chain, None where it is not known. `from_its_begin`: the first readouts are the run's first. `last`: the
    last look, with the series still to be filled.
    """

    def __init__(
        self,
        checks: Sequence[Check],
        limits: Limits | None = None,
        *,
        run: int | None = None,
        record: RunRecord | None = None,
        description: ReadoutDescription | None = None,
        chips: int | None = None,
        from_its_begin: bool = True,
        look_s: float = LOOK_S,
    ) -> None:
        self._snapshots = Snapshots(None if limits is None else limits.geometry, description=description)
        self._runner = CheckRunner([check for check in checks if not check.live_only], limits)
        self._counters = StreamCounters()
        self._look_ns = round(look_s * NS_PER_S)
        self._next_ns: int | None = None
        self._now_ns = 0
        self._run = run
        self._record = record
        self._chips = chips
        self._from_its_begin = from_its_begin
        self._began = False
        self.last: CheckInput | None = None

    def add(self, block: ReadoutBlock, hits: HitArray) -> Iterator[CheckOutcome]:
        """The next readouts, and the hits decoded from them; what the checks say meanwhile."""
        if not len(block):
            return
        self._begin(int(block.timestamp[0]))
        times_ns = np.maximum.accumulate(block.timestamp.astype(np.int64))
        first = 0
        while first < len(block):
            if self._next_ns is None and times_ns[-1] > 0:
                self._next_ns = int(times_ns[times_ns > 0][0]) + self._look_ns
            end = len(block)
            if self._next_ns is not None and times_ns[-1] >= self._next_ns:
                end = int(np.searchsorted(times_ns, self._next_ns))
            if end > first:
                self._now_ns = max(self._now_ns, int(times_ns[end - 1]))
                part = block[first:end]
                # Hits that began in an earlier block come with the first part of this one.
                of_part = int(np.searchsorted(hits["readout_id"], int(part.readout_id[-1]), side="right"))
                self._feed(part, hits if end == len(block) else hits[:of_part])
                hits = hits[of_part:]
            if end < len(block):
                assert self._next_ns is not None  # noqa: S101 - or the end would not be before that of the block
                yield from self._look(self._next_ns)
                self._next_ns = max(self._next_ns, int(times_ns[end])) + self._look_ns
            first = end

    def late(self, hits: HitArray) -> None:
        """`hits` that an end of files gave, of the last readout."""
        if len(hits):
            last = int(hits["readout_id"][-1])
            self._feed_hits(hits, last, last, 0)

    def settle(self, hits: HitArray) -> Iterator[CheckOutcome]:
        """The end of the run; `hits`: that it gave."""
        if self._began:
            self.late(hits)
            yield from self._look(self._now_ns)

    def _begin(self, first_ns: int) -> None:
        if self._began:
            return
        self._began = True
        if self._record is None or not first_ns:
            return
        # What the record says of the end is not yet so; and what came before the first file is not looked at.
        begin_ns = min(self._record.begin_ns, first_ns) if self._from_its_begin else first_ns
        record = self._record.model_copy(update={"begin_ns": begin_ns, "end_ns": None, "state": "running"})
        event = RunEvent(event="begin", record=record)
        self._snapshots.feed(RunMessage(self._header(begin_ns), _NO_STEP, event, None, _EPOCH))

    def _header(self, t_ns: int, **values: object) -> Header:
        return Header.model_validate({"daq": "files", "pub": 0, "seq": 0, "t": t_ns, "run": self._run, **values})

    def _feed(self, block: ReadoutBlock, hits: HitArray) -> None:
        self._feed_hits(hits, int(block.readout_id[0]), int(block.readout_id[-1]), len(block))

    def _feed_hits(self, hits: HitArray, first: int, last: int, readouts: int) -> None:
        new = ((first, last + 1),) if readouts and last >= first else ()
        step = HitsStep(hits, _EPOCH, 0, readouts, new)
        header = self._header(self._now_ns, readouts=(first, last), n=len(hits))
        self._snapshots.feed(HitBatch(header, _NO_STEP, step))

    def _look(self, at_ns: int) -> Iterator[CheckOutcome]:
        if at_ns:
            stat = Stat(state="running", run=self._run, chips=self._chips)
            self._snapshots.feed(StatMessage(self._header(at_ns), _NO_STEP, stat, None))
        self.last = self._snapshots.take(at_ns, self._counters)
        yield from self._runner.look(self.last)
