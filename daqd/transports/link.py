"""The seam between a board's driver and whatever carries its bytes."""

from abc import ABC, abstractmethod
from collections.abc import Callable


class Link(ABC):
    """A stream of bytes to a board and back. Made closed; `open` connects, also again after a loss.

    For one thread at a time. What fails raises a `BoardError`: `BoardLost` where the link is gone, `LinkTimeout` where
    it is there but silent.
    """

    name: str
    """What a person would call it: transport, and device where there is one."""

    why: str = ""
    """What the next `write` is for, in words. Nothing depends on it; traces show it."""

    register_name: Callable[[int], str] = hex
    """What a person would call the register at an address. Nothing depends on it; traces show it."""

    @abstractmethod
    def open(self) -> None:
        """Find the board and connect; nothing that an earlier connection left behind is read. `BoardLost` if absent."""

    @abstractmethod
    def write(self, data: bytes) -> None:
        """Send all of `data`."""

    @abstractmethod
    def read(self, length: int, timeout_s: float, under_way: int = 0) -> bytes:
        """Exactly `length` bytes.

        `under_way`: bytes of further answers that the board was already asked for; a link that fetches in large pieces
        may fetch them along, and gives them to the next calls.

        Raises `LinkTimeout` where fewer came within `timeout_s` seconds; what did come is in its `partial` and is not
        read again.
        """

    def pending(self) -> bytes:
        """What has arrived without having been read, as far as that can be known without waiting; it is read now."""
        return b""

    @abstractmethod
    def close(self) -> None:
        """Disconnect; never raises, and does nothing on a closed link."""

    @property
    def exhausted(self) -> bool:
        """True once it is certain that no data will come any more, as after a recording has been played."""
        return False

    @property
    def counters(self) -> dict[str, int]:
        """What the link itself counts, for the status."""
        return {}
