"""The beginning of what a board does with the bytes that it is sent."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Generic, TypeVar

Request = TypeVar("Request")


class RequestBuffer(ABC, Generic[Request]):
    """Bytes in any pieces to requests; `skipped_bytes`: those that belong to none."""

    def __init__(self) -> None:
        self._pending = bytearray()
        self.skipped_bytes = 0

    @property
    def pending_bytes(self) -> int:
        """Bytes of a request that has begun and is not complete."""
        return len(self._pending)

    def feed(self, data: bytes) -> list[Request]:
        """Requests completed by `data`, in order."""
        self._pending += data
        return list(self._requests())

    @abstractmethod
    def _requests(self) -> Iterator[Request]:
        """Take complete requests from the beginning of `_pending`."""
