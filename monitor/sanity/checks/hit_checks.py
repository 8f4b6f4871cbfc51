"""Checks on hits and on the ledger: pure functions, in tables."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from monitor.continuity import HitArray
from monitor.detector import HitKind
from monitor.sanity.checks import catalogue
from monitor.sanity.checks.findings import CheckInfo, Level, Notice
from monitor.sanity.checks.limits import Limits
from protocol.ledger import Ledger

Mask = npt.NDArray[np.bool_]


def _tot_out_of_range(hits: HitArray, limits: Limits) -> Mask:
    tot_us = hits["tot_us"]
    zero = tot_us == 0
    fine: Mask = (tot_us >= limits.min_tot_us) & (tot_us <= limits.max_tot_us) | zero
    return ~fine  # what is no number is not fine


@dataclass(frozen=True, slots=True)
class HitCheck:
    """`bad(hits, limits)`: which hits (n,) are; of all hits of a run, a fraction `allowed(limits)` of them may be.

    `show`: the columns that say what is wrong with one; those that it has are shown.
    """

    check: CheckInfo
    bad: Callable[[HitArray, Limits], Mask]
    show: tuple[str, ...]
    allowed: Callable[[Limits], float] = lambda limits: 0.0


_PLACE = ("layer", "chip_id", "row", "column", "is_column", "location")

HIT_CHECKS = (
    HitCheck(
        catalogue.IMPOSSIBLE_ADDRESS,
        lambda hits, limits: limits.geometry.outside(hits),
        _PLACE,
    ),
    HitCheck(
        catalogue.PAYLOAD,
        lambda hits, limits: hits["payload"] != HitKind.of(hits).hit_class.PAYLOAD,
        ("payload",),
    ),
    HitCheck(
        catalogue.TOT_ZERO,
        lambda hits, limits: hits["tot_us"] == 0,
        _PLACE,
        lambda limits: limits.tot_zero_fraction,
    ),
    HitCheck(catalogue.TOT_RANGE, _tot_out_of_range, ("tot_us",)),
)


@dataclass(slots=True)
class HitTally:
    """Counts the bad hits of one run, check by check."""

    limits: Limits
    hits: int = 0
    _bad: dict[str, int] = field(default_factory=dict)
    _first: dict[str, tuple[int, str]] = field(default_factory=dict)

    def add(self, hits: HitArray) -> Iterator[Notice]:
        """Look at more hits; what is to be said about those that are bad."""
        self.hits += len(hits)
        for each in HIT_CHECKS:
            bad = each.bad(hits, self.limits)
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
        allowed = each.allowed(self.limits)
        return Notice(
            each.check,
            f"{bad} of {self.hits} hits, the first: {shown}",
            count=bad,
            total=True,
            readout=readout,
            level=Level.INFO if allowed and bad <= allowed * self.hits else None,
            value=bad / max(self.hits, 1),
            limit=allowed,
        )


@dataclass(frozen=True, slots=True)
class LedgerCheck:
    """`part` of `whole` may be at most the fraction `allowed(limits)`, or `usual`; less, above 0, is worth knowing."""

    check: CheckInfo
    part: Callable[[Ledger], int]
    whole: Callable[[Ledger], int]
    unit: str
    allowed: Callable[[Limits], float]
    usual: int = 0


LEDGER_CHECKS = (
    LedgerCheck(
        catalogue.ORPHAN_BYTES,
        lambda ledger: ledger.orphan,
        lambda ledger: ledger.bytes_read,
        "bytes",
        lambda limits: limits.orphan_fraction,
    ),
    LedgerCheck(
        catalogue.DROPPED_HITS,
        lambda ledger: ledger.dropped_hits,
        lambda ledger: ledger.hits + ledger.dropped_hits,
        "hits",
        lambda limits: limits.dropped_fraction,
        usual=1,  # the end of a run cuts a hit
    ),
    LedgerCheck(
        catalogue.RESTORED_HITS,
        lambda ledger: ledger.restored_hits,
        lambda ledger: ledger.hits,
        "hits",
        lambda limits: limits.restored_fraction,
    ),
)


def check_ledger(ledger: Ledger, limits: Limits) -> Iterator[Notice]:
    """What is to be said about the ledger of a run, or of the part of it so far."""
    if not ledger.balanced:
        text = f"{ledger.bytes_read} bytes read, {ledger.classified} accounted for"
        yield Notice(catalogue.LEDGER_BALANCE, text, total=True)
    for each in LEDGER_CHECKS:
        part, whole = each.part(ledger), each.whole(ledger)
        if part:
            yield Notice(
                each.check,
                f"{part} of {whole} {each.unit} ({part / max(whole, 1):.2%})",
                count=part,
                total=True,
                level=Level.INFO if part <= max(each.allowed(limits) * whole, each.usual) else None,
                value=part / max(whole, 1),
                limit=each.allowed(limits),
            )
