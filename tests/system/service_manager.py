"""The part of the service manager: a datagram socket that programs tell how they are."""

import os
import socket
from collections.abc import Callable
from pathlib import Path

from tests.system.processes import DEADLINE_S, wait_until


class PlayedManager:
    """Listens at `address`: a path, or `@` and a name in the abstract namespace. `messages`: what came, in order."""

    def __init__(self, address: str | Path) -> None:
        self.address = str(address)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("\0" + self.address[1:] if self.address.startswith("@") else self.address)
        self._socket.setblocking(False)
        self.messages: list[dict[str, str]] = []

    def environment(self, watchdog_s: float | None = None) -> dict[str, str]:
        """What a program is given that this manager starts."""
        environment = {"NOTIFY_SOCKET": self.address}
        if watchdog_s is not None:
            environment["WATCHDOG_USEC"] = str(round(watchdog_s * 1e6))
        return environment

    def listen(self) -> list[dict[str, str]]:
        """All messages so far."""
        while True:
            try:
                text = self._socket.recv(1 << 16).decode()
            except BlockingIOError:
                return self.messages
            pairs = [line.partition("=") for line in text.split("\n")]
            assert all(equals and key.isupper() for key, equals, _ in pairs), text
            self.messages.append({key: value for key, _, value in pairs})

    def said(self, key: str) -> list[str]:
        """All values of `key` so far."""
        return [message[key] for message in self.listen() if key in message]

    def wait_for(self, what: str, wanted: Callable[[dict[str, str]], bool], after: int = 0) -> int:
        """Index of the first message like that, from `after` on."""

        def look() -> int | None:
            found = (index + 1 for index, message in enumerate(self.listen()) if index >= after and wanted(message))
            return next(found, None)

        return wait_until(f"the service manager hears {what}", look, DEADLINE_S) - 1

    def wait_for_key(self, key: str, value: str = "", after: int = 0) -> int:
        """Index of the first message with `key` (whose value has `value` in it), from `after` on."""
        return self.wait_for(f"{key}=…{value}…", lambda message: key in message and value in message[key], after)

    def close(self) -> None:
        self._socket.close()
        if not self.address.startswith("@"):
            os.unlink(self.address)  # noqa: PTH108 - the name of a socket
