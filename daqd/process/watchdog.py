"""Whether everything still moves: what the watchdog of the service manager is fed for."""

import time
from collections.abc import Callable, Mapping


class Watchdog:
    """Looks at numbers that grow as long as their threads go round.

    A thread is stuck where its number is the same for `patience_s` seconds, as seen by the calls of `look`.
    """

    def __init__(self, patience_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._patience_s = patience_s
        self._clock = clock
        self._seen: dict[str, tuple[int, float]] = {}

    def look(self, progress: Mapping[str, int]) -> dict[str, float]:
        """Of each thread that is stuck, by name, for how many seconds. `progress`: the numbers now."""
        now = self._clock()
        seen = {name: (number, now) for name, number in progress.items()}
        seen |= {
            name: before for name, before in self._seen.items() if name in progress and before[0] == progress[name]
        }
        self._seen = seen
        return {name: now - since for name, (_, since) in seen.items() if now - since >= self._patience_s}
