"""An emulated board on a pseudo terminal: a serial port for every program that opens one."""

import os
import tty
from pathlib import Path

from daqd.emulator.board_model import BoardModel
from daqd.emulator.cable import Cable
from daqd.emulator.stream_device import StreamDevice


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
