'''What a check is, what it is given, and what it returns.

One decorated function is a check, of streams and of files alike::

    @check(
        AlarmLevel.WARNING,
        "check its bias voltage",
        limits=(Limit("least_hits", 0.0, "a chip that has no more is silent"),),
        minimum_hits=1000,
    )
    def few_chips(seen: CheckInput, limits: Mapping[str, float]) -> list[CheckResult]:
        """A chip without hits."""
        silent = [chip for chip in range(4) if seen.counts.chip_hits[chip] <= limits["least_hits"]]
        return [CheckResult(f"chip {chip}", f"chip {chip} has no hits", 0, limits["least_hits"]) for chip in silent]

`[sanity] modules` of the configuration names modules of custom checks. A module may also list its checks in a table
`CHECKS`, each made by `Check(…)`.
'''

import math
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, fields, replace
from typing import Self

import numpy as np
import numpy.typing as npt

from monitor.continuity import HitArray
from monitor.detector import ChipPlace, Geometry, HitKind
from monitor.receiving.reader import StreamCounters
from monitor.sanity.frame_counts import FrameCounts
from monitor.state.histograms import HitHistograms
from monitor.state.sorted_hits import TotBinning
from monitor.state.time_series import RunSeries
from protocol.ledger import Ledger
from protocol.readout_description import ReadoutDescription
from protocol.run_record import RunRecord
from protocol.wire.alarms import AlarmLevel
from protocol.wire.messages import Stat

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class HitCounts:
    """A copy of `HitHistograms`, with the same names: it stays as it is.

    `hit_map` (slots, rows, columns), `tot` (slots, bins + 1; the last one for what is too long), `chip_hits` (slots,),
    `hits_per_readout` (n,); `place` says which chip a slot is.
    """

    geometry: Geometry
    kind: HitKind
    binning: TotBinning
    hit_map: Counts
    tot: Counts
    chip_hits: Counts
    hits_per_readout: Counts
    hits: int
    readouts: int
    outside: int
    tot_invalid: int
    unpaired: int

    @classmethod
    def of(cls, histograms: HitHistograms) -> Self:
        """As they are now."""
        counts = {name: copy(getattr(histograms, name)) for name in _COUNTED}
        return cls(histograms.geometry, histograms.kind, histograms.binning, **counts)

    def since(self, before: "HitCounts | None") -> Self:
        """What has been added since `before`; all of it where that is None, or of hits of another kind."""
        if before is None or before.kind != self.kind or before.hits > self.hits:
            return self
        counts = {name: getattr(self, name) - getattr(before, name) for name in _COUNTED}
        return replace(self, **counts)

    def place(self, slot: int) -> ChipPlace:
        """The chip whose counts have that first index; as text: `chip 3`, `layer 1 chip 3`."""
        return self.geometry.place(self.kind, slot)


_COUNTED = tuple(each.name for each in fields(HitCounts) if each.name not in ("geometry", "kind", "binning"))


@dataclass(frozen=True, slots=True, eq=False)
class CheckInput:
    """All that can be known at one look at the stream; nothing in it is to be changed.

    `before` is the input of the same check at its last look in this pass over the run, None at the first: what is new
    is `seen.counts.since(seen.before and seen.before.counts)`, or `seen.new`. Its own `before` is None.

    Times:

    - `now_ns`: of this look, ns since the epoch, of the computer that checks;
    - `live_s`: seconds of the run that are in `counts`, by the time stamps of the readouts: from the begin of the run
      (or since we joined) to the last readout known of, gaps left out. In a replay, these are the run's seconds too;
    - `stat_age_s`, `hits_age_s`: since the last state, or the last hits, reached us; None before the first.

    Which run: `daq`, `run` and `pass_` as in `Header` (`pass_` 0: live); `ended`: its end was announced; `record`: as
    of its begin, its last gap or its end. `epoch`: another one for each pass over a run, as in `HitBatch`.

    What came:

    - `chips`: the chips there should be, and all that had hits;
    - `counts`: since the begin of the run (or since we joined, or since a reset); `recent`: of the last minute;
    - `series`: rates against time. For the checks of this package the one thing that is no copy: that of `before` has
      gone on;
    - `hits`: those that came since the last look of all (about a second ago), at most the newest 100 000. In
      `before`, the last 100 of them;
    - `frames`: what `hits` of this look and those before show about layer frames; `description`: how the readouts were
      decoded, as far as the record or the file's header says;
    - `ledger`: what the publisher has decoded so far, None before the first state of the run;
    - `stat`: the last state (queue, disk, board counters, publisher), None before the first;
    - `counters`: what this client received and missed since it began.
    """

    now_ns: int
    live_s: float
    stat_age_s: float | None
    hits_age_s: float | None
    daq: str
    run: int | None
    pass_: int
    ended: bool
    epoch: int
    record: RunRecord | None
    chips: tuple[ChipPlace, ...]
    counts: HitCounts
    recent: HitCounts
    series: RunSeries
    hits: HitArray
    ledger: Ledger | None
    stat: Stat | None
    counters: StreamCounters
    frames: FrameCounts = field(default_factory=FrameCounts)
    description: ReadoutDescription = field(default_factory=ReadoutDescription)
    before: "CheckInput | None" = None

    @property
    def new(self) -> HitCounts:
        """Hits since the last look of this check; at the first look, all of them."""
        return self.counts.since(None if self.before is None else self.before.counts)

    @property
    def new_live_s(self) -> float:
        """Seconds of the run since the last look of this check; at the first look, all of them."""
        return self.live_s - (0.0 if self.before is None else self.before.live_s)


@dataclass(frozen=True, slots=True)
class CheckResult:
    """Something that is not as it should be.

    `subject`: what it is about, in few words that stay the same as long as it is wrong (`chip 3`, `chip 0 pixel 5/7`;
    empty where there is only one thing it can be about): check and subject are the alarm's identity.
    `value` against `limit`: how bad it is, in the unit that `text` says. `level` None: the check's own; a level of ok
    is no alarm. `count`: how many such things this is about, all so far if `cumulative`, else further ones; `readout`:
    the first one concerned.
    """

    subject: str
    text: str
    value: float | None = None
    limit: float | None = None
    level: AlarmLevel | None = None
    count: int = 1
    cumulative: bool = False
    readout: int | None = None


@dataclass(frozen=True, slots=True)
class Limit:
    """A number that a check holds something against: `[checks.NAME]` of the configuration can set it.

    `what`: the unit and the reason for `default`; the number is from `least` to `most`, both included.
    """

    name: str
    default: float
    what: str
    least: float = 0.0
    most: float = math.inf


CheckFunction = Callable[[CheckInput, Mapping[str, float]], Sequence[CheckResult] | None]
"""Gets what was seen and the limits by name; returns all that is wrong now, so what it does not name is well.

None: it cannot be known now (no state yet, no run), which is neither good nor bad. An exception becomes an alarm of
its own, and stops no other check. Custom checks run in threads of their own, and are not asked again before they have
answered; one that takes longer than 2 s is an alarm, too. Results of level ok are dropped.
"""


@dataclass(frozen=True, slots=True)
class Check:
    """A check, with all that people read about it.

    `name`: lower case, words joined by `_`, unlike all others. `what` it looks for, the worst `level` it usually raises
    (ok: worth knowing, and no alarm) and what to do (`advice`), as in docs/sanity.md.

    Two things trigger checks. Those with a `function` look, once a second at a stream and every ten seconds of a run in
    files, when at least `minimum_hits` hits have come and `minimum_live_s` seconds of the run have passed since their
    last look in this pass over the run: until then, their last results stand. Those without one (None; only in this
    package) are triggered by events.

    An alarm is raised when a subject was wrong at `in_a_row` looks in a row, and is over after `good_in_a_row` good
    ones. `live_only`: not for replays and files; `files_only`: not for streams.
    """

    name: str
    what: str
    level: AlarmLevel
    advice: str
    function: CheckFunction | None
    limits: tuple[Limit, ...] = ()
    minimum_hits: int = 0
    minimum_live_s: float = 0.0
    in_a_row: int = 3
    good_in_a_row: int = 3
    live_only: bool = False
    files_only: bool = False

    def defaults(self) -> dict[str, float]:
        """The limits by name, as they are without a configuration."""
        return {limit.name: limit.default for limit in self.limits}


def check(
    level: AlarmLevel,
    advice: str,
    *,
    limits: tuple[Limit, ...] = (),
    minimum_hits: int = 0,
    minimum_live_s: float = 0.0,
    in_a_row: int = 3,
    good_in_a_row: int = 3,
    live_only: bool = False,
) -> Callable[[CheckFunction], Check]:
    """Make the decorated function a `Check`; the arguments are attributes of that.

    The check has the function's name. `what` it looks for is the function's docstring, as one line that begins with a
    small letter (abbreviations apart) and has no full stop.
    """

    def decorate(function: CheckFunction) -> Check:
        what = " ".join((function.__doc__ or "").split()).removesuffix(".")
        if not what:
            raise TypeError(f"{function.__name__} needs a docstring: what the check looks for")
        if not what[1:2].isupper():  # an abbreviation keeps its capitals
            what = what[0].lower() + what[1:]
        return Check(
            function.__name__,
            what,
            level,
            advice,
            function,
            limits,
            minimum_hits,
            minimum_live_s,
            in_a_row,
            good_in_a_row,
            live_only,
        )

    return decorate


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of all checks: `geometry` is the pixels that exist; `configured` has what is not as in the checks."""

    geometry: Geometry = field(default_factory=Geometry)
    configured: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    def of(self, each: Check) -> Mapping[str, float]:
        """Those of one check by name. At a limit, all is still well."""
        return each.defaults() | dict(self.configured.get(each.name, {}))
