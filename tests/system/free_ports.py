"""Ports for configurations that name them: those of a test that cannot take any."""

import contextlib
import socket


def free_ports(*names: str) -> dict[str, int]:
    """A free port for each of `names`, no two the same."""
    with contextlib.ExitStack() as open_together:
        probes = [open_together.enter_context(socket.socket()) for _ in names]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return {name: int(probe.getsockname()[1]) for name, probe in zip(names, probes, strict=True)}
