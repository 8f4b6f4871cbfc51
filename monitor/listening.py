"""A thread that receives while its owner does something else."""

import threading
from abc import ABC, abstractmethod
from typing import Self

from monitor.client import StreamClient
from monitor.events import Event

_TURN_S = 1.0
_JOIN_S = 5.0


class Listening(ABC):
    """Owns `client`, in a thread of its own, which closes it at the end; a context manager."""

    def __init__(self, client: StreamClient, name: str) -> None:
        self.endpoint = client.endpoint
        self._client = client
        self._thread = threading.Thread(target=self._run, name=name)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._client.interrupt()
        self._thread.join(_JOIN_S)

    def _run(self) -> None:
        with self._client as client:
            while not client.interrupted:
                event = client.receive(_TURN_S)
                if event is not None:
                    self._take(event)

    @abstractmethod
    def _take(self, event: Event) -> None:
        """What has come; in the thread."""
