"""Addresses of sockets: where programs of one user find each other, which ones other machines can reach."""

import getpass
import ipaddress
import os
import re
import tempfile
from pathlib import Path

MAX_IPC_PATH_BYTES = 107
"""A Unix domain socket's path may be that long (sockaddr_un has 108 bytes with the final zero)."""

_FOLDER = "astropix-daq"

_BELOW_BYTES = 48
"""Of `MAX_IPC_PATH_BYTES`, what our own directories and names need below a directory for temporary files."""

_TCP = re.compile(r"tcp://(?P<host>\[[^\]]+\]|[^:\[\]/]+):(?P<port>\d{1,5}|\*)")


def directory_for_sockets() -> Path:
    """The directory for temporary files; where its path is too long for sockets below it, `/tmp`, if there is one."""
    usual, short = Path(tempfile.gettempdir()), Path("/tmp")  # noqa: S108 - what is made there is its user's alone
    fits = len(os.fsencode(usual)) + _BELOW_BYTES <= MAX_IPC_PATH_BYTES
    return usual if fits or not short.is_dir() else short


def default_runtime_dir() -> Path:
    """The runtime directory of this user, which need not exist yet.

    `$RUNTIME_DIRECTORY` (set by the service manager), else `astropix-daq` in `$XDG_RUNTIME_DIR`, else
    `astropix-daq-<user>` in `directory_for_sockets()`.
    """
    if given := os.environ.get("RUNTIME_DIRECTORY", "").split(":")[0]:
        return Path(given)
    if user_runtime := os.environ.get("XDG_RUNTIME_DIR"):
        return Path(user_runtime) / _FOLDER
    user = str(os.getuid()) if hasattr(os, "getuid") else getpass.getuser()
    return directory_for_sockets() / f"{_FOLDER}-{user}"


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach `host` (a name or an address, IPv6 with or without brackets)."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def is_tcp(endpoint: str) -> bool:
    """Whether it is TCP, where keys may be asked for; who may use an ipc socket, file permissions say."""
    return endpoint.startswith("tcp://")


def tcp_address(endpoint: str) -> tuple[str, int] | None:
    """Host, IPv6 without brackets, and port; None for what is no TCP endpoint that can be connected to."""
    match = _TCP.fullmatch(endpoint)
    return None if match is None or match["port"] == "*" else (match["host"].strip("[]"), int(match["port"]))


def is_occupied(endpoint: str) -> bool:
    """Whether a file that is no socket is at an ipc `endpoint`: ZeroMQ would delete it without a word."""
    path = endpoint.removeprefix("ipc://")
    return endpoint != path and os.path.exists(path) and not Path(path).is_socket()  # noqa: PTH110 - see `is_absent`


def is_absent(endpoint: str) -> bool:
    """Whether nothing is at an ipc `endpoint`, as far as this user can see: ZeroMQ would wait for it."""
    path = endpoint.removeprefix("ipc://")
    return endpoint != path and not os.path.exists(path)  # noqa: PTH110 - `Path.exists` raises where it may not look


def forbidden(endpoint: str) -> str:
    """What to do where an ipc `endpoint` is for another user alone, which ZeroMQ would not say; "" where it is not."""
    path = Path(endpoint.removeprefix("ipc://"))
    try:
        mine = not endpoint.startswith("ipc://") or not path.exists() or os.access(path, os.W_OK)
    except PermissionError:
        mine = False
    return "" if mine else f"{endpoint} is for the user who started it: be that user (sudo -u USER …), or use keys"


def check_endpoint(endpoint: str) -> str:
    """`endpoint`; raises `ValueError` where it cannot be bound."""
    if endpoint.startswith("ipc://"):
        _check_ipc(endpoint)
    else:
        _tcp_host(endpoint)
    return endpoint


def only_this_machine(endpoint: str) -> bool:
    """Whether nobody else can reach `endpoint`; `ValueError` where it cannot be bound."""
    check_endpoint(endpoint)
    return not is_tcp(endpoint) or is_loopback(_tcp_host(endpoint))


def check_stream_endpoint(
    endpoint: str, insecure: bool, consent: str = "write insecure = true in [stream] if that is meant", *, keys: bool
) -> None:
    """Raise `ValueError` for an endpoint that cannot be bound, or that others can reach without `keys`, not `insecure`.

    `consent`: how to say that others may reach it.
    """
    if not only_this_machine(endpoint) and not keys and not insecure:
        raise ValueError(
            f'"{endpoint}" lets every machine on the network read the stream: make keys (daqctl keygen), '
            f"use tcp://127.0.0.1:PORT, or {consent}"
        )


def check_control_endpoint(endpoint: str, *, keys: bool) -> None:
    """Raise `ValueError` for an endpoint that cannot be bound, or where others could command without `keys`."""
    check_endpoint(endpoint)
    if is_tcp(endpoint) and not keys:
        raise ValueError(
            f'"{endpoint}" lets everybody who can reach it command the board: use ipc://PATH, or make keys '
            "(daqctl keygen) and name them in [security]"
        )


def connectable(endpoint: str) -> str:
    """Where to connect to on this machine to reach what listens at `endpoint`."""
    match = _TCP.fullmatch(endpoint)
    if match is None or match["host"] not in ("*", "0.0.0.0", "[::]"):  # noqa: S104 - compared, not bound
        return endpoint
    return f"tcp://127.0.0.1:{match['port']}"


def _check_ipc(endpoint: str) -> None:
    length = len(endpoint.removeprefix("ipc://").encode())
    if not 1 <= length <= MAX_IPC_PATH_BYTES:
        raise ValueError(
            f'"{endpoint}": the path of an ipc socket is 1 to {MAX_IPC_PATH_BYTES} bytes long, this one has {length}: '
            "a shorter directory helps (runtime_dir in [daq])"
        )


def _tcp_host(endpoint: str) -> str:
    match = _TCP.fullmatch(endpoint)
    if match is None or (match["port"] != "*" and int(match["port"]) > 0xFFFF):
        raise ValueError(f'"{endpoint}" is no endpoint: tcp://ADDRESS:PORT (port 0 to 65535, or *) or ipc://PATH')
    return match["host"]
