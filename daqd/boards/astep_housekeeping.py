"""Counters and readings of an A-STEP board."""

from collections.abc import Generator
from contextlib import suppress

from daqd.boards.astep_dialogue import AstepDialogue, register_byte
from daqd.boards.astep_reading import FIRST_BYTE_S
from protocol.registers.astep import RegisterRead, read_byte
from protocol.registers.astep_registers import Register
from protocol.registers.astep_sequence import COUNTER_KINDS, xadc_temperature_c, xadc_voltage_v

_COUNTERS = {
    "frames": (Register.LAYER_0_FRAMES, Register.LAYER_1_FRAMES, Register.LAYER_2_FRAMES),
    "idle_bytes": (Register.LAYER_0_IDLES, Register.LAYER_1_IDLES, Register.LAYER_2_IDLES),
    "wrong_length": (Register.LAYER_0_WRONG_LENGTH, Register.LAYER_1_WRONG_LENGTH, Register.LAYER_2_WRONG_LENGTH),
}
_COUNTER_BYTES = 4
_XADC_BYTES = 2

Round = Generator[RegisterRead, int, None]


class Housekeeping:
    """Counters of the layers and what the FPGA measures, as they were when last asked.

    The registers are read byte by byte, in requests that survive a damaged link: `step` makes one of them, the last one
    of a round updates `counters` and `readings`. The firmware counts in 32 bits from its power-up on; `counters` go on
    from there, and start at 0. A counter that advanced between its bytes may be read too low; the next round is right.
    """

    def __init__(self, dialogue: AstepDialogue, layers: int) -> None:
        self._dialogue = dialogue
        self._registers = {
            f"layer_{layer + 1}_{kind}": _COUNTERS[kind][layer] for layer in range(layers) for kind in COUNTER_KINDS
        }
        self._last: dict[str, int] | None = None
        self._round: tuple[Round, RegisterRead] | None = None
        self.counters = dict.fromkeys(self._registers, 0)
        self.readings: dict[str, float] = {}

    def forget(self) -> None:
        """The board may have been off: what it counts next is new."""
        self._last = None
        self._round = None

    @property
    def has_begun(self) -> bool:
        """Whether a round is complete, from which `counters` go on."""
        return self._last is not None

    @property
    def is_under_way(self) -> bool:
        """Whether a round has begun."""
        return self._round is not None

    def begin(self) -> None:
        """Begin a new round."""
        steps = self._ask_all()
        self._round = steps, next(steps)

    def step(self) -> None:
        """Ask for one byte. After a failure, `in_step` of the dialogue is False, and the round begins anew."""
        if self._round is None:
            self.begin()
        current, self._round = self._round, None
        if current is None:
            return
        steps, request = current
        value = register_byte(self._dialogue.exchange(request, FIRST_BYTE_S))
        if value is None:
            return
        self._dialogue.in_step = True
        with suppress(StopIteration):
            self._round = steps, steps.send(value)

    def _ask_all(self) -> Round:
        now = {}
        for name, register in self._registers.items():
            now[name] = yield from _value(register, _COUNTER_BYTES, "counters of the layers")
        temperature = yield from _value(Register.XADC_TEMPERATURE, _XADC_BYTES, "temperature of the FPGA")
        voltage = yield from _value(Register.XADC_VCCINT, _XADC_BYTES, "core voltage of the FPGA")
        last = self._last if self._last is not None else now
        # A new dictionary: another thread may be reading the old one.
        self.counters = {name: count + _advance(last[name], now[name]) for name, count in self.counters.items()}
        self._last = {name: last[name] + _advance(last[name], now[name]) & 0xFFFF_FFFF for name in now}
        self.readings = {
            "fpga_temperature_c": round(xadc_temperature_c(temperature), 2),
            "fpga_vccint_v": round(xadc_voltage_v(voltage), 4),
        }


def _value(register: Register, size: int, why: str) -> Generator[RegisterRead, int, int]:
    """The highest byte first, so that a counter that advances meanwhile is never read too high."""
    value = 0
    for offset in reversed(range(size)):
        byte = yield read_byte(register, offset, why)
        value = value << 8 | byte
    return value


def _advance(last: int, now: int) -> int:
    """By how much a 32-bit counter went on; 0 where it seems to have gone back."""
    step = (now - last) % (1 << 32)
    return step if step < 1 << 31 else 0
