"""Where somebody who looks at alarms acknowledges and silences them, one at a time."""

from pathlib import Path
from typing import Any, Final, Literal

from astropix_runtime.sockets.key_files import ClientKeys
from monitor.alarm_client import AlarmControlClient
from monitor.receiving.curve import client_keys

AlarmCommand = Literal["ack", "silence", "unsilence"]
SILENCE_S: Final = 3600.0
"""Long enough to mend something, and too short to be forgotten over."""


class AlarmDesk:
    """Asks the sanity checker that is commanded at `endpoint`, with a connection for each command.

    `where`: what the list of silences says about whose wish it was. `keys`: for TCP, where it takes only keys.
    """

    def __init__(self, endpoint: str, where: str, keys: ClientKeys | None = None) -> None:
        self.endpoint = endpoint
        self._where = where
        self._keys = keys

    def act(self, command: AlarmCommand, alarm: str) -> None:
        """Acknowledge the alarm of that id, call nobody for it for `SILENCE_S`, or call again; waits for the answer.

        `AlarmServiceError` where that is refused, or nobody answers.
        """
        args: dict[str, Any] = {"ids": [alarm]} if command == "ack" else {"pattern": alarm}
        if command == "silence":
            args |= {"for_s": SILENCE_S, "reason": f"from {self._where}"}
        with AlarmControlClient(self.endpoint, keys=self._keys) as client:
            client.call(command, **args)


def alarm_desk(endpoint: str, where: str, server_key: Path | None, key: Path | None) -> AlarmDesk:
    """The desk at `endpoint`; the files of the checker's public key and one's own are looked at where it is TCP."""
    keyed = endpoint.startswith("tcp://") and server_key is not None
    return AlarmDesk(endpoint, where, client_keys(server_key, key) if keyed else None)
