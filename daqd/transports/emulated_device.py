"""A link through a real library to an emulated board in this process."""

from daqd.emulator.board_model import BoardModel
from daqd.transports.link import Link


class EmulatedDeviceLink(Link):
    """`link`, which leads to an emulated device that carries `board`: what the board counts is known here, too."""

    def __init__(self, name: str, link: Link, board: BoardModel) -> None:
        self.name = name
        self._link = link
        self._board = board

    def open(self) -> None:
        """Find the device and connect."""
        self._link.open()

    def write(self, data: bytes) -> None:
        """Send all of `data`."""
        self._link.write(data)

    def read(self, length: int, timeout_s: float, under_way: int = 0) -> bytes:
        """Exactly `length` bytes."""
        return self._link.read(length, timeout_s, under_way)

    def close(self) -> None:
        """Disconnect."""
        self._link.close()

    @property
    def exhausted(self) -> bool:
        """Whether the board has nothing more to send."""
        return self._board.exhausted

    @property
    def counters(self) -> dict[str, int]:
        """What link and emulated board count."""
        return {**self._link.counters, **self._board.counters}
