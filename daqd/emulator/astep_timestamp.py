"""The time stamp of the emulated A-STEP firmware, and the counter that divides the core clock for it."""

from typing import Final

from protocol.registers.astep_registers import CORE_CLOCK_HZ

TIMESTAMP_START: Final = 1 << 63
"""What the 64-bit time stamp starts from when it is switched on."""

_ALL: Final = 1 << 32
_COUNTER_MASK: Final = (1 << 64) - 1


class DividedTimestamp:
    """A counter that goes on by one each time its divider has counted `match` core clocks.

    The divider counts up to `match` and down again. A write to `match` sets it to 0, whichever way it was counting:
    on the way down it then runs through all 32 bits, and the time stamp stands still for 54 s. So it does where the
    divider is set to a value beyond the match. `started` is when the time stamp begins to count; all times in seconds.
    """

    def __init__(self, match: int, start: int) -> None:
        self.match = match
        self.counter = start
        self.counting = False
        self.dividing = False
        self._position = 0.0
        self._frozen_clocks = 0.0
        self._at = 0.0

    @property
    def frozen(self) -> bool:
        """Whether the divider is on its way through all of its 32 bits."""
        return self._frozen_clocks > 0

    @property
    def divider(self) -> int:
        """The divider's value."""
        position = int(self._position)
        return position if position < self.match else 2 * self.match - position

    @property
    def _down(self) -> bool:
        return self._position >= self.match

    def advance(self, now: float) -> None:
        """Let the time go by until `now`."""
        clocks, self._at = (now - self._at) * CORE_CLOCK_HZ, now
        if not self.dividing:
            if self.counting:
                self.counter = (self.counter + int(clocks)) & _COUNTER_MASK
            return
        waited = min(clocks, self._frozen_clocks)
        self._frozen_clocks -= waited
        position = self._position + clocks - waited
        if self.counting:
            self.counter = (self.counter + int(position // self.match - self._position // self.match)) & _COUNTER_MASK
        self._position = position % (2 * self.match)

    def set_match(self, match: int) -> None:
        """A write to the match, which sets the divider to 0."""
        down = self._down
        self.match = max(1, match)
        self._place(0, down)

    def set_divider(self, value: int) -> None:
        """A write to the divider itself."""
        self._place(value, self._down)

    def _place(self, value: int, down: bool) -> None:
        missed = value == 0 or value > self.match if down else value >= self.match
        self._frozen_clocks = float(value or _ALL) if down and missed else float(_ALL - value) if missed else 0.0
        self._position = float(2 * self.match - min(max(value, 1), self.match) if down else min(value, self.match - 1))
