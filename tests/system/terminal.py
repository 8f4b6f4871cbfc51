"""A terminal for programs that behave differently on one, and keys typed on it."""

import contextlib
import fcntl
import os
import pty
import struct
import termios
import threading
from types import TracebackType
from typing import Self

from tests.system.processes import DEADLINE_S, wait_until

CTRL_C = b"\x03"

_COLUMNS, _ROWS = 120, 40


class Terminal:
    """A pseudo-terminal; a context manager. What is drawn on it is read all the time, in a thread.

    `command(argv)` is a command that runs `argv` on this terminal, as its controlling one: the shell leads a session
    without a terminal, and the first one it opens becomes that.
    """

    def __init__(self) -> None:
        self._keyboard, self._line = pty.openpty()
        fcntl.ioctl(self._line, termios.TIOCSWINSZ, struct.pack("4H", _ROWS, _COLUMNS, 0, 0))
        self._path = os.ttyname(self._line)
        self._drawn = bytearray()
        self._thread = threading.Thread(target=self._read, name="terminal")
        self._thread.start()

    def command(self, argv: list[str]) -> list[str]:
        return ["sh", "-c", 'tty=$1; shift; exec "$@" <"$tty" >"$tty" 2>&1', "sh", self._path, *argv]

    def _read(self) -> None:
        with contextlib.suppress(OSError):  # EIO: nobody has it open any more
            while drawn := os.read(self._keyboard, 1 << 16):
                self._drawn += drawn

    def press(self, keys: bytes) -> None:
        os.write(self._keyboard, keys)

    @property
    def drawn(self) -> str:
        """Everything that was ever drawn, control sequences and all."""
        return bytes(self._drawn).decode(errors="replace")

    def wait_for(self, text: str) -> None:
        """Until that was drawn."""
        wait_until(f"{text!r} is on the terminal", lambda: text in self.drawn)

    def wait_until_untouched(self) -> None:
        """Until the terminal is as it was given out: input is echoed, and Ctrl-C interrupts."""
        wanted = termios.ECHO | termios.ICANON | termios.ISIG
        wait_until("the terminal is put back", lambda: termios.tcgetattr(self._line)[3] & wanted == wanted)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._line)
        self._thread.join(DEADLINE_S)
        os.close(self._keyboard)
        print(f"----- on the terminal\n{self.drawn[-4000:]!r}")
