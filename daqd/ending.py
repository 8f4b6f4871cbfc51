"""The end of the daemon's work: waited for as long as something moves, and not for ever."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from daqd.process.watchdog import Watchdog

STOP_S = 60.0
"""The longest that the end of a run is waited for."""

_STUCK_S = 20.0
_LOOK_S = 0.1


async def wait_for_end(ending: Coroutine[Any, Any, None], progress: Callable[[], Mapping[str, int]]) -> str:
    """Do `ending`; empty where it was done, else why it was given up.

    `progress()`: of each step that is waited for, by its name, a number that grows as long as it moves.
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
    """Work that the disk takes its time for, while the event loop goes on."""

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
