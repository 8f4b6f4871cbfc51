"""An emulated board that other programs find as a serial port or a TCP port: a thread that serves it."""

import contextlib
import os
import select
import socket
import threading
import time
import tty
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path

from daqd.emulator.board_model import BoardModel, Cable

BITS_PER_BYTE = 10
"""Start bit, eight bits, stop bit."""

_PIECE_S = 0.002
"""Pieces are so long that the pace is kept without a call for each byte."""

_MAX_PIECE_BYTES = 65536


class BytePump:
    """One connection to `board`: takes what the host sends and passes on the answers, each way at `baud` bits/s.

    `baud` = 0: as fast as it goes. Nothing here waits: `read_at` and `write_at` say when to come again. A piece of an
    answer is passed on when its last byte has crossed the wire, never earlier. `clock`: seconds, monotonic.
    """

    def __init__(self, board: BoardModel, baud: int = 0, clock: Callable[[], float] = time.monotonic) -> None:
        self._board = board
        self._clock = clock
        self._byte_s = BITS_PER_BYTE / baud if baud else 0.0
        self._piece = max(1, int(_PIECE_S / self._byte_s)) if baud else _MAX_PIECE_BYTES
        self._answers = bytearray()
        self.read_at = self.write_at = 0.0

    @property
    def has_answers(self) -> bool:
        """Whether there is something to write."""
        return bool(self._answers)

    def read(self, file: int) -> bool:
        """Take a piece of what the host sent; False at its end. For a descriptor that does not block."""
        data = os.read(file, self._piece)
        self.read_at = max(self.read_at, self._clock()) + len(data) * self._byte_s
        if not data:
            return False
        was_silent = not self._answers
        self._answers += self._board.exchange(data)
        if was_silent and self._answers:
            self.write_at = max(self.write_at, self.read_at) + self._next_piece_s
        return True

    def write(self, file: int) -> None:
        """Pass on a piece of the answers. For a descriptor that does not block."""
        count = os.write(file, bytes(self._answers[: self._piece]))
        del self._answers[:count]
        self._board.fetched(count)
        # A late call is no credit for more than one piece.
        earliest = self._clock() - self._piece * self._byte_s
        self.write_at = max(self.write_at, earliest) + self._next_piece_s

    @property
    def _next_piece_s(self) -> float:
        return min(len(self._answers), self._piece) * self._byte_s


_CABLE_LOOK_S = 0.02
_JOIN_S = 5.0


class StreamDevice(ABC):
    """Serves `board` to one host at a time, at `baud` bits/s each way (0: as fast as it goes), from `start` to `close`.

    `cable` pulled out, the device is not there. Others implement how a host gets connected.
    """

    def __init__(self, board: BoardModel, baud: int = 0, cable: Cable | None = None) -> None:
        self.board = board
        board.connect_at(baud)
        self.cable = cable or Cable(board)
        self._baud = baud
        self._thread: threading.Thread | None = None
        self._wake_read = self._wake_write = -1
        self._closing = False
        self._pump = BytePump(board, baud)
        self._plug = 0

    @property
    @abstractmethod
    def url(self) -> str:
        """Where pyserial finds it."""

    @abstractmethod
    def _appear(self) -> None:
        """Be there for hosts. `OSError` where that is impossible."""

    @abstractmethod
    def _vanish(self) -> None:
        """Be there no more, for the connected host either."""

    @abstractmethod
    def _connection(self) -> int | None:
        """Descriptor of the connected host, or None."""

    @abstractmethod
    def _hang_up(self) -> None:
        """The connected host has gone."""

    @abstractmethod
    def _door(self) -> int | None:
        """Descriptor that becomes readable when a host wants to connect, or None."""

    @abstractmethod
    def _admit(self) -> None:
        """A host wants to connect."""

    def start(self) -> None:
        """Begin to serve; does nothing where it does. `OSError` where the system refuses."""
        if self._thread is not None:
            return
        if self.cable.plugged:
            self._appear()
        self._plug = self.cable.plug
        self._closing = False
        self._pump = BytePump(self.board, self._baud)
        self._wake_read, self._wake_write = os.pipe()
        self.cable.on_change.append(self._wake)
        self._thread = threading.Thread(target=self._serve, name=type(self).__name__)
        self._thread.start()

    def close(self) -> None:
        """End; does nothing where it has."""
        if self._thread is None:
            return
        self._closing = True
        self._wake()
        self._thread.join(_JOIN_S)
        self._thread = None
        self.cable.on_change.remove(self._wake)
        os.close(self._wake_read)
        os.close(self._wake_write)

    def _wake(self) -> None:
        os.write(self._wake_write, b"!")

    def _serve(self) -> None:
        there = self.cable.plugged
        try:
            while not self._closing:
                plugged, plug = self.cable.plugged, self.cable.plug
                if there and (not plugged or plug != self._plug):
                    self._vanish()
                    there = False
                if plugged and not there:
                    self._pump, self._plug = BytePump(self.board, self._baud), plug
                    self._appear()
                    there = True
                self._serve_once(there)
        finally:
            if there:
                self._vanish()

    def _serve_once(self, there: bool) -> None:
        now = time.monotonic()
        pump = self._pump
        host = self._connection() if there else None
        door = self._door() if there else None
        to_read, to_write, times = [self._wake_read], [], [_CABLE_LOOK_S] if self.cable.moves_by_itself else []
        if door is not None:
            to_read.append(door)
        if host is not None:
            if now >= pump.read_at:
                to_read.append(host)
            else:
                times.append(pump.read_at - now)
            if pump.has_answers and now >= pump.write_at:
                to_write.append(host)
            elif pump.has_answers:
                times.append(pump.write_at - now)
        readable, writable, _ = select.select(to_read, to_write, [], min(times, default=None))
        if self._wake_read in readable:
            os.read(self._wake_read, 4096)
        if door is not None and door in readable:
            self._admit()
        try:
            if host is not None and host in readable and not pump.read(host):
                raise ConnectionResetError
            if host is not None and host in writable:
                pump.write(host)
        except BlockingIOError:
            pass
        except OSError:
            with contextlib.suppress(OSError):
                self._hang_up()
            self._pump = BytePump(self.board, self._baud)


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


class PtyDevice(StreamDevice):
    """Serves `board` on a pseudo terminal, which `path` is a link to: the terminal's own name changes with each plug.

    The link is replaced if it is there; `FileExistsError` where something else has its name. The terminal has no pace
    of its own: `baud` gives it one.
    """

    def __init__(self, board: BoardModel, path: Path, baud: int = 0, cable: Cable | None = None) -> None:
        super().__init__(board, baud, cable)
        self._path = path
        self._master = self._slave = -1

    @property
    def url(self) -> str:
        """Path of the port."""
        return str(self._path)

    def _appear(self) -> None:
        if self._path.exists() and not self._path.is_symlink():
            raise FileExistsError(f"{self._path} is there and is kept: choose another path")
        self._master, self._slave = os.openpty()
        # Raw, and held open: what is on its way stays as it is, and a host may come and go.
        tty.setraw(self._slave)
        os.set_blocking(self._master, False)
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._path.unlink(missing_ok=True)
        self._path.symlink_to(os.ttyname(self._slave))

    def _vanish(self) -> None:
        self._path.unlink(missing_ok=True)
        os.close(self._slave)
        os.close(self._master)

    def _connection(self) -> int | None:
        return self._master

    def _hang_up(self) -> None:
        """Hosts are not seen to come and go."""

    def _door(self) -> int | None:
        return None

    def _admit(self) -> None:
        """Nobody knocks."""
