"""The cards on a GECCO carrier that have DACs: voltage card and injection card (docs/chips.md, "Cards")."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Self

from protocol.chips.chip_config import ChipConfigError, check_threshold

DAC_NAMES: Final = ("thpmos", "cardConf2", "vcasc2", "BL", "cardConf5", "cardConf6", "vminuspix", "thpix")
"""What the eight DACs of the voltage card are wired to, by index."""

MAX_DAC_V: Final = 1.8
MAX_THRESHOLD_V: Final = 1.5
MAX_SLOT: Final = 8
"""The address of a slot is one of eight bits."""

_BASELINE, _THRESHOLD = DAC_NAMES.index("BL"), DAC_NAMES.index("thpix")
_DAC_MAX = (1 << 14) - 1


@dataclass(frozen=True)
class GeccoCards:
    """Voltage card and injection card: slots from 1 on, and the DACs of the voltage card in V, each 0…1.8 V.

    `vcal`: measured over wanted voltage, 0.9…1.1; `vsupply`: full scale in V, 2.7…3.3. Raises `ChipConfigError` with
    every value that is out of its range.
    """

    voltage_slot: int = 4
    dacs_v: tuple[float, ...] = (0.0, 0.0, 1.1, 1.0, 0.0, 0.0, 0.8, 1.2)
    injection_slot: int = 3
    vcal: float = 0.989
    vsupply_v: float = 2.7

    def __post_init__(self) -> None:
        mistakes = []
        for name, slot in (("voltagecard.pos", self.voltage_slot), ("injectioncard.pos", self.injection_slot)):
            if not 1 <= slot <= MAX_SLOT:
                mistakes.append(f"{name}: {slot} is no slot: 1 to {MAX_SLOT}")
        if len(self.dacs_v) != len(DAC_NAMES):
            mistakes.append(f"voltagecard.dacs: {len(self.dacs_v)} values, not {len(DAC_NAMES)}")
        for index, voltage in enumerate(self.dacs_v[: len(DAC_NAMES)]):
            if not 0 <= voltage <= MAX_DAC_V:
                name = f"voltagecard.dacs[{index}] ({DAC_NAMES[index]})"
                mistakes.append(f"{name}: {voltage:g} V is not within 0 to {MAX_DAC_V} V")
        for name, value, low, high in (("vcal", self.vcal, 0.9, 1.1), ("vsupply", self.vsupply_v, 2.7, 3.3)):
            if not low <= value <= high:
                mistakes.append(f"{name}: {value:g} is not within {low} to {high}")
        if mistakes:
            raise ChipConfigError(mistakes)

    @property
    def threshold_mv(self) -> float:
        """What the threshold is above the baseline, in mV."""
        return (self.dacs_v[_THRESHOLD] - self.dacs_v[_BASELINE]) * 1000

    def with_threshold_mv(self, threshold_mv: float) -> Self:
        """With the threshold (`thpix`) that far above the baseline (`BL`).

        Raises `ChipConfigError` for a threshold, or a voltage that comes out, outside 0…1.5 V.
        """
        check_threshold(threshold_mv)
        baseline_v = self.dacs_v[_BASELINE]
        threshold_v = baseline_v + threshold_mv / 1000
        if threshold_v > MAX_THRESHOLD_V:
            raise ChipConfigError(
                [
                    f"a threshold of {threshold_mv:g} mV above BL = {baseline_v:g} V makes thpix {threshold_v:g} V: "
                    f"0 to {MAX_THRESHOLD_V} V"
                ]
            )
        return replace(self, dacs_v=(*self.dacs_v[:_THRESHOLD], threshold_v, *self.dacs_v[_THRESHOLD + 1 :]))

    def dac_code(self, voltage_v: float) -> int:
        """Code of a card's DAC for a voltage: 14 bits over `vsupply_v`, rounded down."""
        return int(voltage_v * _DAC_MAX / self.vsupply_v / self.vcal)

    def describe(self) -> dict[str, Any]:
        """All of it, ready for JSON, the slots and DACs as the collaboration's files have them."""
        return {
            "voltagecard": {
                "pos": self.voltage_slot,
                "dacs": list(self.dacs_v),
                "names": list(DAC_NAMES),
                "codes": [self.dac_code(voltage_v) for voltage_v in self.dacs_v],
            },
            "injectioncard": {"pos": self.injection_slot},
            "vcal": self.vcal,
            "vsupply": self.vsupply_v,
        }


USUAL_CARDS: Final = GeccoCards()


def shown_voltages(dacs_v: Sequence[float]) -> str:
    """`thpmos 0, …` of the eight DACs, for people."""
    return ", ".join(f"{name} {voltage_v:g}" for name, voltage_v in zip(DAC_NAMES, dacs_v, strict=True)) + " V"
