"""Which ZeroMQ endpoints the daemon may listen on without telling other machines."""

import ipaddress
import re

MAX_IPC_PATH_BYTES = 107
"""A Unix domain socket's path may be that long (sockaddr_un has 108 bytes with the final zero)."""

_TCP = re.compile(r"tcp://(?P<host>\[[^\]]+\]|[^:\[\]/]+):(?P<port>\d{1,5}|\*)")


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach `host` (a name or an address, IPv6 with or without brackets)."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def check_stream_endpoint(
    endpoint: str, insecure: bool, consent: str = "write insecure = true in [stream] if that is meant"
) -> None:
    """Raise `ValueError` for an endpoint that cannot be bound, or that others can reach while not `insecure`.

    `consent`: how to say that others may reach it.
    """
    if endpoint.startswith("ipc://"):
        _check_ipc(endpoint)
    elif not insecure and not is_loopback(_tcp_host(endpoint)):
        raise ValueError(
            f'"{endpoint}" lets every machine on the network read the stream: use tcp://127.0.0.1:PORT, or {consent}'
        )
    else:
        _tcp_host(endpoint)


def check_control_endpoint(endpoint: str) -> None:
    """Raise `ValueError` for an endpoint that cannot be bound or that another machine can reach."""
    if endpoint.startswith("ipc://"):
        _check_ipc(endpoint)
    elif not is_loopback(_tcp_host(endpoint)):
        raise ValueError(f'"{endpoint}" lets other machines command the board: use ipc://PATH or tcp://127.0.0.1:PORT')


def _check_ipc(endpoint: str) -> None:
    length = len(endpoint.removeprefix("ipc://").encode())
    if not 1 <= length <= MAX_IPC_PATH_BYTES:
        raise ValueError(
            f'"{endpoint}": the path of an ipc socket is 1 to {MAX_IPC_PATH_BYTES} bytes long, this one has {length}: '
            "a shorter runtime_dir in [daq] helps"
        )


def _tcp_host(endpoint: str) -> str:
    match = _TCP.fullmatch(endpoint)
    if match is None or (match["port"] != "*" and int(match["port"]) > 0xFFFF):
        raise ValueError(f'"{endpoint}" is no endpoint: tcp://ADDRESS:PORT (port 0 to 65535, or *) or ipc://PATH')
    return match["host"]
