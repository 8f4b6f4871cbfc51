"""Whether everything still moves, and waiting that ends where nothing does."""

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

STOP_S = 60.0
"""The longest that the end of a run is waited for."""

_STUCK_S = 20.0
_LOOK_S = 0.1


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


async def wait_for_end(ending: Coroutine[Any, Any, None], progress: Callable[[], Mapping[str, int]]) -> str:
    """Wait for `ending`, as long as something moves; returns why that was given up, empty where it was done.

    `progress()`: a number for each step under way, by its name, which grows as long as the step moves.
    """
    task = asyncio.create_task(ending)
    gave_up_at = asyncio.get_running_loop().time() + STOP_S
    watchdog = Watchdog(_STUCK_S)
    while not (await asyncio.wait({task}, timeout=_LOOK_S))[0]:
        stuck = watchdog.look(progress())
        if stuck:
            task.cancel()
            return f"{', '.join(stuck)}: no answer from the disk or the board for {_STUCK_S:g} s"
        if asyncio.get_running_loop().time() >= gave_up_at:
            task.cancel()
            return f"the disk is too slow: not done after {STOP_S:g} s"
    await task
    return ""


class Background:
    """Tasks that wait for the disk while the event loop goes on."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def begin(self, work: Coroutine[Any, Any, None]) -> None:
        """Do `work` soon, and wait for it no longer."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def wait_for_end(self) -> str:
        """Wait for what is left; empty where it was done, else why it was given up."""
        left = (await asyncio.wait(self._tasks, timeout=_STUCK_S))[1] if self._tasks else set()
        return f"no answer from the disk for {_STUCK_S:g} s" if left else ""
