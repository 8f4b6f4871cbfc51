"""The seam between kinds of readouts and whoever wants their hits."""

from collections.abc import Iterable
from typing import Any, Protocol, Self

from protocol.block import ReadoutBlock, ReadoutLike
from protocol.decode import Decoded
from protocol.hit import AbstractAstroPixHit, HitTable
from protocol.ledger import Ledger


class ReadoutDecoder(Protocol):
    """Decodes the readouts of one run in order; never raises for what the bytes are.

    Which one a run needs, its readout class knows (`AbstractAstroPixReadout.make_decoder`). `ledger` counts every byte
    and hit so far; how the calls are cut makes no difference to anything.
    """

    chips: int | None
    hit_class: type[AbstractAstroPixHit]
    ledger: Ledger

    @property
    def hit_bytes(self) -> int:
        """Bytes of the stream that a hit takes."""

    @property
    def carried(self) -> bytes:
        """What waits for the next readout to be decided; empty if nothing."""

    def decode(self, readouts: Iterable[ReadoutLike] | ReadoutBlock) -> HitTable:
        """Hits that `readouts` bring, in order: structured array (n,) of `hit_class.DTYPE`; empty for none."""

    def examine(self, readouts: Iterable[ReadoutLike] | ReadoutBlock, *, classify: bool = False) -> Decoded:
        """Like `decode`, with the hits' words; with `classify`, also the class of each byte of `readouts`."""

    def flush(self) -> HitTable:
        """End of the run: settle what is carried. Zero or one row, as from `decode`."""

    def carry_over(self, begun: bytes) -> None:
        """Take `begun` for what an earlier readout left; `ValueError` if it cannot be that."""

    def state(self) -> dict[str, Any]:
        """All that the decoder remembers, as JSON can carry it."""

    def possible_after(self, readouts: ReadoutBlock) -> list[Self]:
        """Fresh decoders, one for each state that this one could be in after `readouts`, whatever came before them.

        Their ledgers count from here. `ValueError` where `readouts` have fewer bytes than can wait for the next one.
        """
