"""Checks on hits and on the ledger: pure functions, in tables."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from monitor.continuity import HitArray
from monitor.detector import Geometry, HitKind
from monitor.sanity.check import Check, CheckResult, Limits
from monitor.sanity.checks import event_checks
from monitor.sanity.findings import Notice
from protocol.ledger import Ledger
from protocol.wire.alarms import AlarmLevel

Mask = npt.NDArray[np.bool_]


def _tot_out_of_range(hits: HitArray, limits: Mapping[str, float]) -> Mask:
    tot_us = hits["tot_us"]
    zero = tot_us == 0
    fine: Mask = (tot_us >= limits["min_us"]) & (tot_us <= limits["max_us"]) | zero
    return ~fine  # what is no number is not fine


@dataclass(frozen=True, slots=True)
class HitCheck:
    """`bad(hits, geometry, limits)`: which hits (n,) are; of all hits of a run, a fraction `max_fraction` may be.

    `limits`: those of `check`. `show`: the columns that say what is wrong with one; those that it has are shown.
    """

    check: Check
    bad: Callable[[HitArray, Geometry, Mapping[str, float]], Mask]
    show: tuple[str, ...]


_PLACE = ("layer", "chip_id", "row", "column", "is_column", "location")

HIT_CHECKS = (
    HitCheck(event_checks.IMPOSSIBLE_ADDRESS, lambda hits, geometry, limits: geometry.outside(hits), _PLACE),
    HitCheck(
        event_checks.PAYLOAD,
        lambda hits, geometry, limits: hits["payload"] != HitKind.of(hits).hit_class.PAYLOAD,
        ("payload",),
    ),
    HitCheck(event_checks.TOT_ZERO, lambda hits, geometry, limits: hits["tot_us"] == 0, _PLACE),
    HitCheck(event_checks.TOT_RANGE, lambda hits, geometry, limits: _tot_out_of_range(hits, limits), ("tot_us",)),
)


@dataclass(slots=True)
class HitTally:
    """Counts the bad hits of one run, check by check."""

    limits: Limits
    hits: int = 0
    _bad: dict[str, int] = field(default_factory=dict)
    _first: dict[str, tuple[int, str]] = field(default_factory=dict)

    def add(self, hits: HitArray) -> Iterator[Notice]:
        """Look at more hits; notices of those that are bad."""
        self.hits += len(hits)
        for each in HIT_CHECKS:
            bad = each.bad(hits, self.limits.geometry, self.limits.of(each.check))
            number = int(np.count_nonzero(bad))
            if number:
                name = each.check.name
                self._bad[name] = self._bad.get(name, 0) + number
                if name not in self._first:
                    hit, columns = hits[int(np.argmax(bad))], hits.dtype.names or ()
                    shown = ", ".join(f"{column} {hit[column]}" for column in each.show if column in columns)
                    self._first[name] = int(hit["readout_id"]), shown
                yield self._notice(each)

    def settle(self) -> Iterator[Notice]:
        """The same for the run as a whole, now that it is over: fractions are of all hits."""
        return (self._notice(each) for each in HIT_CHECKS if each.check.name in self._bad)

    def _notice(self, each: HitCheck) -> Notice:
        bad = self._bad[each.check.name]
        readout, shown = self._first[each.check.name]
        allowed = self.limits.of(each.check).get("max_fraction", 0.0)
        result = CheckResult(
            "",
            f"{bad} of {self.hits} hits, the first: {shown}",
            bad / max(self.hits, 1),
            allowed,
            AlarmLevel.OK if allowed and bad <= allowed * self.hits else None,
            count=bad,
            cumulative=True,
            readout=readout,
        )
        return Notice(each.check, result)


@dataclass(frozen=True, slots=True)
class LedgerCheck:
    """`part` of `whole` may be at most `max_fraction`, or `usual`; less, above 0, is worth knowing."""

    check: Check
    part: Callable[[Ledger], int]
    whole: Callable[[Ledger], int]
    unit: str
    usual: int = 0


LEDGER_CHECKS = (
    LedgerCheck(event_checks.ORPHAN_BYTES, lambda ledger: ledger.orphan, lambda ledger: ledger.bytes_read, "bytes"),
    LedgerCheck(
        event_checks.DROPPED_HITS,
        lambda ledger: ledger.dropped_hits,
        lambda ledger: ledger.hits + ledger.dropped_hits,
        "hits",
        usual=1,  # the end of a run cuts a hit
    ),
    LedgerCheck(event_checks.RESTORED_HITS, lambda ledger: ledger.restored_hits, lambda ledger: ledger.hits, "hits"),
)


def check_ledger(ledger: Ledger, limits: Limits) -> Iterator[Notice]:
    """Notices of what is wrong with the ledger of a run, or of the part of it so far."""
    if not ledger.balanced:
        text = f"{ledger.bytes_read} bytes read, {ledger.classified} accounted for"
        yield Notice(event_checks.LEDGER_BALANCE, CheckResult("", text, cumulative=True))
    for each in LEDGER_CHECKS:
        part, whole = each.part(ledger), each.whole(ledger)
        if part:
            allowed = limits.of(each.check)["max_fraction"]
            result = CheckResult(
                "",
                f"{part} of {whole} {each.unit} ({part / max(whole, 1):.2%})",
                part / max(whole, 1),
                allowed,
                AlarmLevel.OK if part <= max(allowed * whole, each.usual) else None,
                count=part,
                cumulative=True,
            )
            yield Notice(each.check, result)
