"""What the daemon tells the service manager that has started it: the datagrams of sd_notify(3), written by hand.

Each is one `KEY=value` a line, sent to the Unix socket that `NOTIFY_SOCKET` names. Without that variable nothing is
sent, and nothing that happens to the socket is ever an error of the daemon.
"""

import logging
import os
import socket
import time
from collections.abc import Callable, MutableMapping
from typing import Self

from protocol.text import printable, reason_of

log = logging.getLogger(__name__)

_MAX_STATUS_BYTES = 1000
_US = 1_000_000


class ServiceManager:
    """The manager at `address`: a path, or `@` and a name in the abstract namespace; empty: there is none.

    `watchdog_s`: it wants to hear `feed` at least so often, None where it does not care.
    """

    def __init__(
        self, address: str = "", watchdog_s: float | None = None, clock_ns: Callable[[], int] = time.monotonic_ns
    ) -> None:
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._clock_ns = clock_ns
        self._said = ""
        self.watchdog_s = watchdog_s
        self._socket: socket.socket | None = None
        if not address:
            return
        if not address.startswith(("/", "@")) or not hasattr(socket, "AF_UNIX"):
            log.warning("NOTIFY_SOCKET=%s is no Unix socket: the service manager is told nothing", address)
            return
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)

    @classmethod
    def from_environment(cls, environment: MutableMapping[str, str] = os.environ) -> Self:
        """The manager that the variables name; they are taken out, so that no child speaks in our name."""
        address = environment.pop("NOTIFY_SOCKET", "")
        interval_us = environment.pop("WATCHDOG_USEC", "")
        for_pid = environment.pop("WATCHDOG_PID", "")
        watched = interval_us.isascii() and interval_us.isdigit() and int(interval_us) > 0
        mine = for_pid in ("", str(os.getpid()))
        return cls(address, int(interval_us) / _US if address and watched and mine else None)

    def ready(self, status: str) -> None:
        """The daemon serves."""
        self._send("READY=1", f"MAINPID={os.getpid()}", _status_line(status))

    def status(self, text: str) -> None:
        """One line for `systemctl status`."""
        self._send(_status_line(text))

    def feed(self) -> None:
        """All is well."""
        self._send("WATCHDOG=1")

    def reloading(self) -> None:
        """What a signal asked for is being done; `ready` says that it is done."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={self._clock_ns() // 1000}")

    def stopping(self, status: str) -> None:
        """The daemon ends."""
        self._send("STOPPING=1", _status_line(status))

    def extend(self, seconds: float) -> None:
        """Start or end take longer than the manager expects: it shall wait for a word so many seconds from now on."""
        self._send(f"EXTEND_TIMEOUT_USEC={round(seconds * _US)}")

    def close(self) -> None:
        """Nothing more is said."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _send(self, *lines: str) -> None:
        if self._socket is None:
            return
        try:
            self._socket.sendto("\n".join(lines).encode(), self._address)
        except OSError as error:
            said = f"the service manager cannot be told anything: {reason_of(error)}"
        else:
            said = ""
        if said != self._said:
            self._said = said
            if said:
                log.warning("%s", said)


def _status_line(text: str) -> str:
    """In one line whatever `text` is: what comes after a line break would be another key."""
    cut = printable(text, " ").encode(errors="replace")[:_MAX_STATUS_BYTES].decode(errors="ignore")
    return f"STATUS={cut}"
