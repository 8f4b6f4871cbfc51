"""What a file with chip configurations says, whatever it is written in: chips, cards, what was taken for granted."""

from dataclasses import dataclass

from protocol.chips.chip_config import ChipConfig, ChipConfigError
from protocol.chips.chip_type import ChipType, chip_type, chip_types
from protocol.chips.gecco_cards import GeccoCards


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
    def kind(self) -> ChipType:
        """Which chips these are."""
        return self.chips[0].kind


def usual_chip_file(version: int) -> ChipFile:
    """One chip with the usual values, all pixels off. Raises `ChipConfigError` for an unknown version."""
    kind = chip_of_version(version)
    if kind is None:
        raise ChipConfigError([f"AstroPix {version} is not known: {known_versions()}"])
    return ChipFile((ChipConfig.usual(kind),), usual_cards(kind))


def chip_of_version(version: int) -> ChipType | None:
    """The chip of that number; None where there is none."""
    try:
        return chip_type(version)
    except ValueError:
        return None


def usual_cards(kind: ChipType) -> GeccoCards:
    """The cards of a GECCO carrier with chips of `kind`."""
    return GeccoCards(dacs_v=kind.card_dacs_v)


def known_versions() -> str:
    """Of the chips that can be configured, for errors."""
    return "known: " + ", ".join(f"astropix{version}" for version in (chip.number for chip in chip_types()))
