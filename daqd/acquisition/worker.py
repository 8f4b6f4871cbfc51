"""What reader and writer have in common: a thread with a name, an owner, and a join with a deadline."""

import threading
from abc import ABC, abstractmethod


class Worker(ABC):
    """Does its work once, in a thread of its own, from `start` on."""

    def __init__(self, name: str) -> None:
        self._thread = threading.Thread(target=self._run, name=name)

    @abstractmethod
    def _run(self) -> None:
        """The work, in the thread."""

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def join(self, timeout_s: float) -> bool:
        """Wait for the end; False where it has not come in time."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    @property
    def is_alive(self) -> bool:
        """Whether it has begun and not ended."""
        return self._thread.is_alive()
