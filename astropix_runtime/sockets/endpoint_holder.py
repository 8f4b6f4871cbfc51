"""Which process listens at an endpoint, where the system tells: so that an error can name who is in the way."""

import os
import re
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

_LISTENING = "0A"
_CHILD = re.compile(r"daqd\.(publishing\.(?P<publisher>publish)|catching_up\.history)$")


def holder_of(endpoint: str, proc: Path = Path("/proc")) -> str:
    """Who listens at `endpoint` (`tcp://ADDRESS:PORT` or `ipc://PATH`), in words; empty where nobody does, or it is not
    known: on other systems than Linux, and of processes of other users.
    """
    if endpoint.startswith("ipc://"):
        pid = _unix_listener(endpoint.removeprefix("ipc://"))
    else:
        port = endpoint.rpartition(":")[2]
        pid = _tcp_listener(int(port), proc) if port.isascii() and port.isdigit() else None
    return "" if pid is None else _describe(pid, proc)


def in_the_way(endpoint: str) -> str:
    """` by …`, to be put behind "Address already in use"; empty where nobody is known."""
    holder = holder_of(endpoint)
    return f" by {holder}" if holder else ""


def _unix_listener(path: str) -> int | None:
    """Process that listens at a socket's path: whoever takes a connection there says who it is. 0: hidden from us."""
    if not hasattr(socket, "SO_PEERCRED"):
        return None
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except BlockingIOError:  # so many wait there already
            return 0
        except OSError:
            return None
        return int(struct.unpack("3i", probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0])


def _tcp_listener(port: int, proc: Path) -> int | None:
    sockets = {f"socket:[{inode}]" for inode in _listening_sockets(port, proc)}
    for entry in proc.iterdir() if sockets else ():
        if not entry.name.isdigit():
            continue
        try:
            if any(_link(descriptor) in sockets for descriptor in (entry / "fd").iterdir()):
                return int(entry.name)
        except OSError:  # of another user, or gone
            continue
    return None


def _link(descriptor: Path) -> str:
    try:
        return os.readlink(descriptor)  # noqa: PTH115 - what it points to is no path
    except OSError:
        return ""


def _listening_sockets(port: int, proc: Path) -> Iterator[str]:
    """Inodes of the sockets that listen at `port`, on whatever address."""
    for table in ("tcp", "tcp6"):
        try:
            lines = (proc / "net" / table).read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            if fields[3] == _LISTENING and int(fields[1].rpartition(":")[2], 16) == port:
                yield fields[9]


def _describe(pid: int, proc: Path) -> str:
    try:
        words = (proc / str(pid) / "cmdline").read_bytes().decode(errors="replace").rstrip("\0").split("\0")
    except OSError:
        words = []
    ours = next((match for word in words if (match := _CHILD.search(word))), None)
    if ours is not None:
        daq = next((word.removeprefix("--daq=") for word in words if word.startswith("--daq=")), "")
        whose = f"of the daemon {daq!r}" if daq else "of another daemon"
        whose = "of a replay" if any(word.startswith("--replay=") for word in words) else whose
        return f"{'the publisher' if ours['publisher'] else 'the catch-up service'} {whose} (process {pid})"
    programs = [Path(word).name for word in words[:3]]
    for name in ("daqd", "daqctl"):
        if name in programs:
            return f"{' '.join([name, *words[programs.index(name) + 1 :][:1]])} (process {pid})"
    return f"another program, {programs[0]} (process {pid})" if programs and pid else "another process"
