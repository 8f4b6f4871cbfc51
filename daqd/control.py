"""The control socket of the daemon: who answers there, and who asks (docs/wire.md, "Control")."""

from astropix_runtime.sockets.endpoints import is_tcp
from astropix_runtime.sockets.key_files import ClientKeys, ServerKeys
from astropix_runtime.sockets.request_client import RequestClient, RequestedService
from astropix_runtime.sockets.request_server import RequestPurpose, RequestServer
from daqd.errors import DaqError


class ControlError(DaqError, OSError):
    """The control socket cannot be opened."""


_PURPOSE = RequestPurpose(
    name="the control socket",
    verb="listen",
    way_out="end that, or choose another control.endpoint",
    failure=ControlError,
    harm="command the board",
    end_other="end that daemon (daqctl shutdown), or give this one another daq.name",
)
_DAEMON = RequestedService(
    name="daemon", what="a daqd", if_absent="is daqd running, with that daq.name?", if_silent="; is daqd running?"
)


def control_server(endpoint: str, keys: ServerKeys | None) -> RequestServer:
    """The server at `endpoint`, which nobody else can have from now on; a TCP socket is not opened without `keys`."""
    if is_tcp(endpoint) and keys is None:
        raise ControlError(f"{endpoint} takes commands only with keys: name them in [security]")
    return RequestServer(endpoint, _PURPOSE, keys)


class ControlClient(RequestClient):
    """Asks the daemon at `endpoint`; `keys`: for TCP only."""

    def __init__(self, endpoint: str, timeout_s: float = 10.0, keys: ClientKeys | None = None) -> None:
        super().__init__(endpoint, _DAEMON, timeout_s, keys)
