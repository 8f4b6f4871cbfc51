"""An emulated board on a TCP port, as behind a serial device server."""

import contextlib
import socket

from daqd.emulator.board_model import BoardModel
from daqd.emulator.cable import Cable
from daqd.emulator.stream_device import StreamDevice


class TcpDevice(StreamDevice):
    """Serves `board` at `host`:`port` (0: any free port, known after `start`), to one client at a time; others wait."""

    def __init__(
        self,
        board: BoardModel,
        port: int = 0,
        host: str = "127.0.0.1",
        baud: int = 0,
        cable: Cable | None = None,
    ) -> None:
        super().__init__(board, baud, cable)
        self._host = host
        self._port = port
        self._listener: socket.socket | None = None
        self._client: socket.socket | None = None

    @property
    def url(self) -> str:
        """What pyserial calls it."""
        return f"socket://{self._host}:{self._port}"

    def _appear(self) -> None:
        self._listener = socket.create_server((self._host, self._port))
        self._listener.setblocking(False)
        self._port = self._listener.getsockname()[1]

    def _vanish(self) -> None:
        self._hang_up()
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    def _connection(self) -> int | None:
        return None if self._client is None else self._client.fileno()

    def _hang_up(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None

    def _door(self) -> int | None:
        return self._listener.fileno() if self._listener is not None and self._client is None else None

    def _admit(self) -> None:
        if self._listener is None:
            return
        with contextlib.suppress(BlockingIOError, ConnectionError):
            self._client, _ = self._listener.accept()
            self._client.setblocking(False)
            self._client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
