"""Everything that a board needs to know to bring its chips and cards into the state that somebody wants."""

from dataclasses import dataclass, replace
from typing import Any, Literal, Self

from protocol.chips.chip_config import ChipConfig, ChipConfigError, dac_mv
from protocol.chips.gecco_cards import MAX_DAC_V, USUAL_CARDS, GeccoCards

Method = Literal["shift-register", "spi"]
InjectionOutput = Literal["chip", "card"]
ThresholdOutput = Literal["auto", "card", "chip"]
"""Where thresholds are made; "auto": on the voltage card where there is one, otherwise in the chips."""


@dataclass(frozen=True)
class Injection:
    """Which pixel is injected, and the pattern generator that does it.

    `chip` counts through all layers from 0 (`ChipSetup.describe` names layer and chip). `period` and `pulses` (per set)
    0…255; `divider`, `delay` (initial) and `cycle` 0…65 535, `cycle` 0 without end. `amplitude_mv` 0…1800: what comes
    from the injection card where `output` is "card"; the amplitude on the chip is the chip's own `vinj`. Raises
    `ChipConfigError` for what is out of its range.
    """

    chip: int
    row: int
    column: int
    amplitude_mv: float
    output: InjectionOutput = "chip"
    period: int = 100
    divider: int = 300
    delay: int = 100
    cycle: int = 0
    pulses: int = 1

    def __post_init__(self) -> None:
        mistakes = [
            f"injection {name}: {value} is not within 0 to {most}"
            for name, value, most in (
                ("amplitude", self.amplitude_mv, round(MAX_DAC_V * 1000)),
                ("period", self.period, 0xFF),
                ("divider", self.divider, 0xFFFF),
                ("delay", self.delay, 0xFFFF),
                ("cycle", self.cycle, 0xFFFF),
                ("pulses", self.pulses, 0xFF),
            )
            if not 0 <= value <= most
        ]
        if mistakes:
            raise ChipConfigError(mistakes)


@dataclass(frozen=True)
class ChipSetup:
    """The chips of all layers in order (layer after layer, each along its chain), the cards, and the injection.

    `defaulted`: lines that say what nobody gave, with what was taken; `notes`: lines about what was given and is not
    used. All chips are of one kind; each of `layers` has as many. Raises `ChipConfigError` otherwise.

    `cards` None: the board has no cards. `threshold_mv`: a threshold whose place depends on that, in mV; `for_board`
    sets it. `threshold_output`: where thresholds are wanted.
    """

    chips: tuple[ChipConfig, ...]
    cards: GeccoCards | None = USUAL_CARDS
    injection: Injection | None = None
    layers: int = 1
    method: Method = "shift-register"
    defaulted: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    threshold_mv: float | None = None
    threshold_output: ThresholdOutput = "auto"

    def __post_init__(self) -> None:
        if not self.chips or self.layers < 1 or len(self.chips) % self.layers:
            raise ChipConfigError([f"{len(self.chips)} chips cannot be {self.layers} layers"])
        if any(chip.kind != self.chips[0].kind for chip in self.chips):
            raise ChipConfigError(["all chips must be of the same version"])
        if self.injection is not None and not 0 <= self.injection.chip < len(self.chips):
            raise ChipConfigError([f"there is no chip {self.injection.chip}: 0 to {len(self.chips) - 1}"])

    def for_board(self, has_cards: bool) -> Self:
        """What a board with or without cards is set to: the threshold on the card, or in every chip.

        Raises `ChipConfigError` that names every setting that needs a card, or a threshold out of range.
        """
        if has_cards:
            if self.cards is None or self.threshold_mv is None:
                return self
            return replace(self, cards=self.cards.with_threshold_mv(self.threshold_mv), threshold_mv=None)
        mistakes = []
        if self.threshold_output == "card":
            mistakes.append('chip.threshold_output = "card": the board has no voltage card; use "chip" or "auto"')
        if self.injection is not None and self.injection.output == "card":
            mistakes.append('chip.inject_output = "card": the board has no injection card; use "chip"')
        if mistakes:
            raise ChipConfigError(mistakes)
        if self.cards is None:
            return self
        chips = self.chips
        if self.threshold_mv is not None:
            chips = tuple(chip.with_threshold_mv(self.threshold_mv) for chip in chips)
        return replace(self, chips=chips, cards=None, threshold_mv=None)

    @property
    def version(self) -> int:
        """Version of the chips."""
        return self.chips[0].kind.number

    @property
    def chain_length(self) -> int:
        """Chips in each layer."""
        return len(self.chips) // self.layers

    def layer(self, layer: int) -> tuple[ChipConfig, ...]:
        """The chips of one layer, from 0, along its chain."""
        return self.chips[layer * self.chain_length : (layer + 1) * self.chain_length]

    def name(self, number: int) -> str:
        """The chip with that `number` among all, for people: "chip 3", with several layers "layer 2 chip 0"."""
        return chip_name(number, self.chain_length, self.layers)

    def _describe_injection(self, injection: Injection) -> dict[str, Any]:
        layer, chip = divmod(injection.chip, self.chain_length)
        return {"layer": layer + 1, **vars(injection), "chip": chip}

    def describe(self) -> dict[str, Any]:
        """All of it, in full, ready for JSON and msgpack: for run records and file headers."""
        return {
            "version": self.version,
            "layers": self.layers,
            "method": self.method,
            "chips": [_describe_chip(chip) for chip in self.chips],
            "configcards": None if self.cards is None else self.cards.describe(),
            "threshold_mv": {
                "card": None if self.cards is None else round(self.cards.threshold_mv, 6),
                "chips": [round(chip_threshold_mv(chip), 6) for chip in self.chips],
            },
            "injection": None if self.injection is None else self._describe_injection(self.injection),
            "defaulted": list(self.defaulted),
            "notes": list(self.notes),
        }


def chip_name(number: int, chain_length: int, layers: int) -> str:
    """As `ChipSetup.name`: layers from 1, chips along the chain of their layer from 0."""
    layer, chip = divmod(number, chain_length)
    return f"layer {layer + 1} chip {chip}" if layers > 1 else f"chip {chip}"


def chip_threshold_mv(chip: ChipConfig) -> float:
    """What the threshold DAC of a chip (`thpix`) is above its baseline DAC (`blpix`), in mV."""
    return dac_mv(chip.value("vdacs", "thpix") - chip.value("vdacs", "blpix"))


def _describe_chip(chip: ChipConfig) -> dict[str, Any]:
    return {
        **chip.describe(),
        "pixels_on": len(chip.pixels_on()),
        "injected_pixels": [list(pixel) for pixel in chip.injected_pixels()],
        "analog_columns": list(chip.analog_columns()),
    }
