"""How long the publisher may wait for subscribers that are behind."""

import math
import time
from collections.abc import Callable


class SendBudget:
    """A message may wait `longest_s` for room, as long as `reserve_s` of waiting is not used up.

    What was waited comes back as time goes by, `share` of it: so no more than that part of the time is spent waiting,
    but for the reserve. `clock`: seconds, monotonic.
    """

    def __init__(
        self,
        longest_s: float,
        reserve_s: float = math.inf,
        share: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._longest_s = longest_s
        self._reserve_s = reserve_s
        self._share = share
        self._clock = clock
        self._left_s = reserve_s
        self._counted_at = clock()

    def left_s(self) -> float:
        """How long the next message may wait."""
        now = self._clock()
        self._left_s = min(self._reserve_s, self._left_s + self._share * (now - self._counted_at))
        self._counted_at = now
        return min(self._longest_s, self._left_s)

    def use(self, waited_s: float) -> None:
        """Note that a message has waited."""
        self._left_s = max(0.0, self._left_s - waited_s)
