"""The link to a board on a serial port, of this machine or of another one."""

import contextlib
import errno
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import serial

from daqd.configuration.config import SerialSection
from daqd.errors import BoardError, BoardLost
from daqd.process.device_lock import DeviceLock
from daqd.transports.link import BufferedLink
from protocol.text import reason_of

QUIET_S = 0.05
"""Silence of that length on a port that was just opened: nobody's answer is under way."""

DIALOUT_ADVICE = "this user may not open it: `sudo usermod -aG dialout $USER`, then log in again"

_READ_TIMEOUT_S = 0.05
"""How long pyserial waits at a time; it is never changed, as that sets up some kinds of ports anew."""

_WRITE_TIMEOUT_S = 5.0
_SOCKET_BYTES = 65536

_SERIAL_ERRORS: tuple[type[Exception], ...] = (OSError, ValueError, TypeError)
"""What pyserial raises when a port is gone; `SerialException` is an `OSError`, `termios.error` is not."""
with contextlib.suppress(ImportError):
    import termios

    _SERIAL_ERRORS += (termios.error,)


class SerialLink(BufferedLink):
    """The port at `settings.url`, 8N1, for this process alone as far as it is on this machine.

    A file of `lock_dir` named after the port knows who has it. `clock`: seconds, monotonic.
    """

    def __init__(self, settings: SerialSection, lock_dir: Path, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(clock)
        self.name = f"serial {settings.url}"
        self._settings = settings
        self._lock_dir = lock_dir
        self._port: Any = None
        self._lock: DeviceLock | None = None
        self._is_socket = settings.url.startswith("socket://")

    def open(self) -> None:
        """Lock and open the port, forget what it holds and what still comes.

        Raises `BoardLost` where it is absent, `BoardError` where it is in use or may not be opened.
        """
        self.close()
        label = port_label(self._settings.url)
        lock = DeviceLock(self._lock_dir, label)
        lock.acquire()
        self._lock = lock
        try:
            self._port = self._connect(label)
            self._begin_anew(QUIET_S)
        except BaseException:
            self.close()
            raise

    def _connect(self, label: str) -> Any:
        url = self._settings.url
        options: dict[str, Any] = {} if "://" in url else {"exclusive": True}
        if not url.startswith("rfc2217://"):  # which knows no time-out for writing
            options["write_timeout"] = _WRITE_TIMEOUT_S
        try:
            return serial.serial_for_url(url, self._settings.baud, timeout=_READ_TIMEOUT_S, **options)
        except _SERIAL_ERRORS as error:
            number = getattr(error, "errno", None)
            if number in (errno.EAGAIN, errno.EBUSY):
                raise BoardError(f"{label} is in use by another program: end that one first") from error
            if number in (errno.EACCES, errno.EPERM):
                raise BoardError(f"{label}: {DIALOUT_ADVICE}") from error
            what = "is not there" if number == errno.ENOENT else f"cannot be opened: {reason_of(error)}"
            raise BoardLost(f"{label} {what}: is the board plugged in? `daqd probe` lists the ports") from error

    def write(self, data: bytes) -> None:
        """Send all of `data`; returns when the operating system has it."""
        port = self._require()
        with self._lost_on_error():
            port.write(data)

    def pending(self) -> bytes:
        """What has been received without having been read, also by the operating system."""
        self._receive(_SOCKET_BYTES, 0, 0.0)
        return super().pending()

    def _receive(self, missing: int, under_way: int, wait_s: float) -> bool:
        port = self._require()
        before = len(self._received)
        with self._lost_on_error():
            waiting = port.in_waiting
            if waiting or wait_s:
                self._received += port.read(max(1, min(waiting, missing + under_way)))
            # Of a socket, pyserial only says whether there is something: not how much.
            if self._is_socket and len(self._received) > before and os.name == "posix" and port.in_waiting:
                self._received += os.read(port.fileno(), _SOCKET_BYTES)
        return len(self._received) > before

    def close(self) -> None:
        """Close the port, also while it is read; unlock it."""
        port, self._port = self._port, None
        if port is not None:
            # Where its other end is gone, pyserial forgets a socket without closing it.
            socket = getattr(port, "_socket", None)
            with contextlib.suppress(AttributeError, *_SERIAL_ERRORS):
                port.cancel_read()
            with contextlib.suppress(*_SERIAL_ERRORS):
                port.close()
            if socket is not None:
                socket.close()
        if self._lock is not None:
            self._lock.release()
            self._lock = None
        self._received.clear()
        self._lost = None

    def _require(self) -> Any:
        if self._port is None:
            raise BoardLost(f"{self.name} is not open")
        return self._port

    @contextlib.contextmanager
    def _lost_on_error(self) -> Iterator[None]:
        try:
            yield
        except _SERIAL_ERRORS as error:
            raise BoardLost(f"{self.name} is gone: {reason_of(error)}: check cable and power of the board") from error


def port_label(url: str) -> str:
    """What a person would call the port; the same for all paths that lead to it."""
    return f"serial port {url if '://' in url else Path(url).resolve()}"
