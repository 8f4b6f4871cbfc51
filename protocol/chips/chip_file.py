"""What a file with chip configurations says, whatever it is written in: chips, cards, what was taken for granted."""

from dataclasses import dataclass

from protocol.chips.chip_config import ChipConfig, ChipConfigError
from protocol.chips.chip_kind import CHIP_KINDS, ChipKind
from protocol.registers.gecco_cards import GeccoCards


@dataclass(frozen=True)
class ChipFile:
    """What a file says: the chips in the order of the chain, and the cards.

    `defaulted`: a line for each thing that the file does not give, with what was taken; `unused`: a line for each thing
    that it gives and nobody needs.
    """

    chips: tuple[ChipConfig, ...]
    cards: GeccoCards
    defaulted: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()

    @property
    def kind(self) -> ChipKind:
        """Which chips these are."""
        return self.chips[0].kind


def usual_chip_file(version: int) -> ChipFile:
    """One chip with the usual values, all pixels off. Raises `ChipConfigError` for an unknown version."""
    if version not in CHIP_KINDS:
        raise ChipConfigError([f"AstroPix {version} is not known: {known_versions()}"])
    kind = CHIP_KINDS[version]
    return ChipFile((ChipConfig.usual(kind),), usual_cards(kind))


def usual_cards(kind: ChipKind) -> GeccoCards:
    """The cards of a GECCO carrier with chips of `kind`."""
    return GeccoCards(dacs_v=kind.card_dacs_v)


def known_versions() -> str:
    """Of the chips that can be configured, for errors."""
    return "known: " + ", ".join(f"astropix{version}" for version in CHIP_KINDS)
