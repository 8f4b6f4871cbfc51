"""A link through a real library to an emulated board in this process."""

from daqd.emulator.board_model import BoardModel
from daqd.emulator.stream_device import StreamDevice
from daqd.errors import BoardError
from daqd.transports.link import Link


class EmulatedDeviceLink(Link):
    """`link`, which leads to an emulated device that carries `board`: what the board counts is known here, too.

    `device`, where one has to be served, is from `open` to `close`.
    """

    def __init__(self, name: str, link: Link, board: BoardModel, device: StreamDevice | None = None) -> None:
        self.name = name
        self._link = link
        self._board = board
        self._device = device

    def open(self) -> None:
        """Find the device and connect."""
        try:
            if self._device is not None:
                self._device.start()
            self._link.open()
        except BaseException as error:
            self.close()
            if isinstance(error, OSError) and not isinstance(error, BoardError):
                raise BoardError(f"{self.name}: the emulated device cannot be served: {error}") from error
            raise

    def write(self, data: bytes) -> None:
        """Send all of `data`."""
        self._link.write(data)

    def read(self, length: int, timeout_s: float, under_way: int = 0) -> bytes:
        """Exactly `length` bytes."""
        return self._link.read(length, timeout_s, under_way)

    def pending(self) -> bytes:
        """What has arrived without having been read."""
        return self._link.pending()

    def close(self) -> None:
        """Disconnect."""
        self._link.close()
        if self._device is not None:
            self._device.close()

    @property
    def exhausted(self) -> bool:
        """Whether the board has nothing more to send."""
        return self._board.exhausted

    @property
    def counters(self) -> dict[str, int]:
        """What link and emulated board count."""
        return {**self._link.counters, **self._board.counters}
