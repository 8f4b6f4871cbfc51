"""The control socket of a sanity checker, in a thread of the test: what it was asked is in `asked`."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from astropix_runtime.errors import RefusedError
from astropix_runtime.sockets.request_server import RequestServer
from monitor.sanity.alarms.alarm_service import CONTROL

_TURN_S = 0.01


class MadeChecker:
    """Knows the alarm hot:a, and obeys."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        self.asked: list[tuple[str, dict[str, Any]]] = []

    def answer(self, command: str, args: dict[str, Any]) -> dict[str, Any]:
        self.asked.append((command, args))
        if "hot:a" not in (args.get("pattern"), *args.get("ids", [])):
            raise RefusedError("unknown_alarm", "no alarm is that: nothing was acknowledged")
        return {}


@contextmanager
def made_checker(folder: Path) -> Iterator[MadeChecker]:
    checker = MadeChecker(f"ipc://{folder}/checker/x.ipc")
    over = threading.Event()
    control = RequestServer(checker.endpoint, CONTROL)

    def serve() -> None:
        while not over.wait(_TURN_S):
            control.answer(checker.answer)

    thread = threading.Thread(target=serve, name="checker")
    thread.start()
    try:
        yield checker
    finally:
        over.set()
        thread.join()
        control.close()
