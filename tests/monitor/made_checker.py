"""The control socket of a sanity checker, in a thread of the test: what it was asked is in `asked`."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import zmq

from monitor.alarm_client import RefusedError
from monitor.sanity.alarms.alarm_control import AlarmControl

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
    commands = {name: lambda args, name=name: checker.answer(name, args) for name in ("ack", "silence", "unsilence")}
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    control = AlarmControl(context, checker.endpoint, commands)

    def serve() -> None:
        while not over.wait(_TURN_S):
            control.serve()

    thread = threading.Thread(target=serve, name="checker")
    thread.start()
    try:
        yield checker
    finally:
        over.set()
        thread.join()
        control.close()
        context.term()
