"""An emulated board that another program finds as a file or a port: a thread that serves it."""

import contextlib
import os
import select
import threading
import time
from abc import ABC, abstractmethod

from daqd.emulator.board_model import BoardModel
from daqd.emulator.byte_pump import BytePump
from daqd.emulator.cable import Cable

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
