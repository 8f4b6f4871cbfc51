"""Where every byte of a run went."""

from dataclasses import dataclass, field, fields
from enum import IntEnum
from typing import Final, Literal, Self, cast

from pydantic import ConfigDict, with_config
from typing_extensions import TypedDict  # pydantic needs this one before Python 3.12

CHIP_SLOTS = 32
"""Numbers that the 5 bits of `chip_id` can give."""


class ByteClass(IntEnum):
    """What a byte of the stream was taken for (docs/formats.md, "Ledger")."""

    IDLE = 0
    PADDING = 1
    HIT = 2
    CARRIED = 3
    ORPHAN = 4
    DROPPED = 5


ByteCount = Literal["idle", "padding", "hit", "carried", "orphan", "dropped"]
BYTE_COUNTS: Final[tuple[ByteCount, ...]] = ("idle", "padding", "hit", "carried", "orphan", "dropped")
"""Names of the six classes of bytes among the counts of a ledger."""


@with_config(ConfigDict(extra="allow", strict=True))
class LedgerCounts(TypedDict, total=False):
    """A ledger as records and messages carry it: the counts of `Ledger` by name.

    Counts that an earlier version did not have are missing; those of a later version are kept.
    """

    bytes_read: int
    idle: int
    padding: int
    hit: int
    carried: int
    orphan: int
    dropped: int
    readouts: int
    hits: int
    rejoined_hits: int
    restored_hits: int
    restored_bytes: int
    dropped_hits: int
    chip_hits: list[int]
    chip_restored: list[int]
    chip_dropped: list[int]


def _per_chip() -> list[int]:
    return [0] * CHIP_SLOTS


@dataclass
class Ledger:
    """Counts of bytes by class, and of hits; `bytes_read` is the sum of the six classes.

    Bytes: `idle`, `padding` (0xFF between hits, and aligned groups of eight 0xFF also in hits; what was removed from
    the end of a readout is not in the files and not counted here), `hit`, `carried` (begun hit that waits for the next
    readout), `orphan` (outside any hit, neither idle nor padding), `dropped` (of hits begun and not completed).
    Hits: `hits` in all; of these `rejoined_hits` were cut by the end of a readout, and `restored_hits` got back
    `restored_bytes` bytes 0xFF that had been removed with the padding; `dropped_hits` were begun and not completed.
    Per chip (32 each): `chip_hits`, `chip_restored`, `chip_dropped`.
    """

    bytes_read: int = 0
    idle: int = 0
    padding: int = 0
    hit: int = 0
    carried: int = 0
    orphan: int = 0
    dropped: int = 0
    readouts: int = 0
    hits: int = 0
    rejoined_hits: int = 0
    restored_hits: int = 0
    restored_bytes: int = 0
    dropped_hits: int = 0
    chip_hits: list[int] = field(default_factory=_per_chip)
    chip_restored: list[int] = field(default_factory=_per_chip)
    chip_dropped: list[int] = field(default_factory=_per_chip)

    @property
    def classified(self) -> int:
        """Bytes in the six classes."""
        return self.idle + self.padding + self.hit + self.carried + self.orphan + self.dropped

    @property
    def balanced(self) -> bool:
        """Whether every byte read is in exactly one class."""
        return self.classified == self.bytes_read

    def to_dict(self) -> LedgerCounts:
        """Names and counts, as JSON and msgpack can carry them."""
        counts = {name: list(value) if isinstance(value, list) else value for name, value in vars(self).items()}
        return cast(LedgerCounts, counts)

    @classmethod
    def from_dict(cls, counts: LedgerCounts) -> Self:
        """Inverse of `to_dict`; `ValueError` for missing or unknown names and for what is not a count."""
        names = {each.name for each in fields(cls)}
        if set(counts) != names:
            raise ValueError(f"a ledger has the counts {', '.join(sorted(names))}; got {', '.join(map(str, counts))}")
        for name, value in counts.items():
            values = value if name.startswith("chip_") else [value]
            if not isinstance(values, list) or (name.startswith("chip_") and len(values) != CHIP_SLOTS):
                raise ValueError(f"ledger count {name} is not a list of {CHIP_SLOTS} numbers")
            if any(type(each) is not int or each < 0 for each in values):
                raise ValueError(f"ledger count {name} is not made of whole numbers ≥ 0")
        ledger = cls()
        for name, value in counts.items():
            setattr(ledger, name, list(value) if isinstance(value, list) else value)
        return ledger

    def copy(self) -> Self:
        """An independent copy."""
        return type(self).from_dict(self.to_dict())
