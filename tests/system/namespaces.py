"""Two machines on one: network namespaces with a cable between them. The network of this machine is not touched."""

import os
import shutil
import subprocess
import uuid
from types import TracebackType
from typing import Self

import pytest

DAQ_ADDRESS = "192.0.2.1"
"""An address for documentation (RFC 5737), of the first machine; the second one has the next."""


class TwoMachines:
    """`daq` and `remote`, each with a loopback device and one end of the cable; a context manager.

    Skips the test where this system does not permit that.
    """

    def __init__(self) -> None:
        mark = uuid.uuid4().hex[:8]
        self._names = [f"apx-{mark}-daq", f"apx-{mark}-remote"]

    def __enter__(self) -> Self:
        if os.geteuid() != 0 or shutil.which("ip") is None:
            pytest.skip("network namespaces need root and iproute2")
        try:
            for name in self._names:
                _ip("netns", "add", name)
            daq, remote = self._names
            _ip("link", "add", "cable", "netns", daq, "type", "veth", "peer", "name", "cable", "netns", remote)
            for name, address in zip(self._names, (DAQ_ADDRESS, "192.0.2.2"), strict=True):
                _ip("-n", name, "address", "add", f"{address}/30", "dev", "cable")
                for device in ("lo", "cable"):
                    _ip("-n", name, "link", "set", device, "up")
        except subprocess.CalledProcessError as error:
            self._remove()
            pytest.skip(f"no network namespaces here: {error.stderr.strip()}")
        return self

    def at_daq(self, *command: str) -> list[str]:
        """The command line that runs a command on the machine with the board."""
        return ["ip", "netns", "exec", self._names[0], *command]

    def at_remote(self, *command: str) -> list[str]:
        """The same for the other machine."""
        return ["ip", "netns", "exec", self._names[1], *command]

    def _remove(self) -> None:
        for name in self._names:
            subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._remove()


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], capture_output=True, text=True, check=True)
