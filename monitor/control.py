"""Commands to a daemon and to a sanity checker, for whoever may give them (docs/wire.md, "Control")."""

from pathlib import Path
from typing import Any, Final, Literal

from astropix_runtime.sockets.endpoints import default_runtime_dir, is_tcp
from astropix_runtime.sockets.key_files import ClientKeys
from astropix_runtime.sockets.request_client import RequestClient, RequestedService
from monitor.keys import client_keys

_DAEMON = RequestedService(name="daemon", what="a daqd", if_absent="is daqd running?")
_CHECKER = RequestedService(
    name="apx-sanity", what="an apx-sanity", if_absent="is it running, with that configuration?"
)

_STOP_TIMEOUT_S = 65.0
"""`stop` takes as long as what was read needs to reach the disk."""

AlarmCommand = Literal["ack", "silence", "unsilence"]
SILENCE_S: Final = 3600.0
"""Long enough to repair something, and too short to be forgotten."""


class Controller:
    """Asks the daemon at `endpoint`, `ipc://PATH` or `tcp://HOST:PORT` with `keys`. A connection for each command."""

    def __init__(self, endpoint: str, keys: ClientKeys | None = None, timeout_s: float = _STOP_TIMEOUT_S) -> None:
        self.endpoint = endpoint
        self._keys = keys
        self._timeout_s = timeout_s

    async def call(self, command: str, **args: Any) -> dict[str, Any]:
        """Result of a command; `RequestError` where it is refused, or nobody answers."""
        with RequestClient(self.endpoint, _DAEMON, self._timeout_s, self._keys) as client:
            return await client.call_async(command, **args)


def default_control_endpoint(name: str) -> str:
    """`ipc://<runtime directory>/<name>.sanity.ipc`; the directory is that of the daemon of this user."""
    return f"ipc://{default_runtime_dir() / name}.sanity.ipc"


class CheckerClient(RequestClient):
    """Asks the `apx-sanity` at `endpoint`; `keys`: for TCP, where it takes only keys."""

    def __init__(self, endpoint: str, timeout_s: float = 10.0, keys: ClientKeys | None = None) -> None:
        super().__init__(endpoint, _CHECKER, timeout_s, keys)


class AlarmActions:
    """Acknowledges and silences alarms at the sanity checker that is commanded at `endpoint`, one at a time.

    It makes a connection for each command. `where`: what the list of silences says about where they come from.
    `server_key`, `key`: the files of the checker's public key and one's own, which are read where it is TCP.
    """

    def __init__(self, endpoint: str, where: str, server_key: Path | None = None, key: Path | None = None) -> None:
        self.endpoint = endpoint
        self._where = where
        self._keys = client_keys(server_key, key) if is_tcp(endpoint) and server_key is not None else None

    async def act(self, command: AlarmCommand, alarm: str) -> None:
        """Acknowledge the alarm of that id, call nobody for it for `SILENCE_S`, or call again.

        `RequestError` where that is refused, or nobody answers.
        """
        args: dict[str, Any] = {"ids": [alarm]} if command == "ack" else {"pattern": alarm}
        if command == "silence":
            args |= {"for_s": SILENCE_S, "reason": f"from {self._where}"}
        with CheckerClient(self.endpoint, keys=self._keys) as client:
            await client.call_async(command, **args)
