"""Where `apx-sanity` may listen: at addresses that only this computer can reach, unless somebody means it otherwise."""

import ipaddress
import re

MAX_IPC_PATH_BYTES = 107
"""A Unix domain socket's path may be that long (sockaddr_un has 108 bytes with the final zero)."""

_TCP = re.compile(r"tcp://(?P<host>\[[^\]]+\]|[^:\[\]/]+):(?P<port>\d{1,5}|\*)")


def check_publish_address(endpoint: str, *, insecure: bool) -> str:
    """`endpoint`; `ValueError` where it cannot be bound, or others can read the alarms there and nobody meant it."""
    if not _only_this_computer(endpoint) and not insecure:
        raise ValueError(
            f'"{endpoint}" lets every machine on the network read the alarms: use tcp://127.0.0.1:PORT, '
            "or write insecure = true in [publish] if that is meant"
        )
    return endpoint


def check_control_address(endpoint: str) -> str:
    """`endpoint`; `ValueError` where it cannot be bound, or others could command the checker."""
    if not _only_this_computer(endpoint):
        raise ValueError(f'"{endpoint}" lets other machines silence alarms: use ipc://PATH or tcp://127.0.0.1:PORT')
    return endpoint


def _only_this_computer(endpoint: str) -> bool:
    if endpoint.startswith("ipc://"):
        length = len(endpoint.removeprefix("ipc://").encode())
        if not 1 <= length <= MAX_IPC_PATH_BYTES:
            raise ValueError(
                f'"{endpoint}": the path of an ipc socket is 1 to {MAX_IPC_PATH_BYTES} bytes long, not {length}'
            )
        return True
    match = _TCP.fullmatch(endpoint)
    if match is None or (match["port"] != "*" and int(match["port"]) > 0xFFFF):
        raise ValueError(f'"{endpoint}" is no endpoint: tcp://ADDRESS:PORT (port 0 to 65535, or *) or ipc://PATH')
    if match["host"] == "localhost":
        return True
    try:
        return ipaddress.ip_address(match["host"].strip("[]")).is_loopback
    except ValueError:
        return False
