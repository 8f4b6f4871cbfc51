"""The alarms of a sanity checker, received beside the stream."""

import time
from pathlib import Path
from typing import Any

from monitor.client import StreamClient
from monitor.errors import KeysError
from monitor.events import AlarmMessage, Event
from monitor.receiver import ClientThread
from protocol.wire.alarms import Alarm
from protocol.wire.messages import Topic

STALE_S = 5.0
"""A checker tells all its alarms once a second."""


def alarm_client(endpoint: str, server_key: Path | None = None, key: Path | None = None) -> StreamClient:
    """A client of the checker's stream; `server_key`: the file of its public key, where it takes only keys.

    `key`: the file of one's own, which may be that for the daemon: without a `server_key`, none is shown here.
    """
    if server_key is None:
        return StreamClient(endpoint, [Topic.ALARM])
    if key is None:
        raise KeysError("the sanity checker's key and your own go together: give --alarms-server-key and --key")
    return StreamClient(endpoint, [Topic.ALARM], server_key=server_key, key=key)


class AlarmReceiver(ClientThread):
    """Owns a client of the checker's stream, in a thread of its own; a context manager."""

    def __init__(self, client: StreamClient) -> None:
        super().__init__(client, "alarms")
        self._alarms: tuple[Alarm, ...] = ()
        self._came_at: float | None = None

    def _take(self, event: Event) -> None:
        if isinstance(event, AlarmMessage):
            self._alarms, self._came_at = event.alarms, time.monotonic()

    @property
    def alarms(self) -> tuple[Alarm, ...]:
        """All there are, the worst first, as they were told last."""
        return self._alarms

    @property
    def present(self) -> tuple[Alarm, ...] | None:
        """All there are, the worst first; None where no checker is there."""
        return self._alarms if self._is_there else None

    @property
    def _is_there(self) -> bool:
        return self._came_at is not None and time.monotonic() - self._came_at <= STALE_S

    @property
    def trouble(self) -> str:
        """Why the alarms are not those of now; empty where they are."""
        if self._came_at is None:
            return self._client.obstacle or f"no sanity checker is connected ({self.endpoint})"
        return "" if self._is_there else f"the sanity checker at {self.endpoint} is silent: these are its last alarms"

    def words(self) -> dict[str, Any]:
        """For the page: the alarms, and whether a checker is there at all."""
        alarms = [{**alarm.model_dump(mode="json"), "figures": alarm.figures} for alarm in self._alarms]
        return {"trouble": self.trouble, "alarms": alarms}
