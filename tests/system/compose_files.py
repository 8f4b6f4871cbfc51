"""The compose files, and what their containers run, brought to this computer: paths, addresses, ports."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.conftest import REPOSITORY
from tests.system.free_ports import free_ports

COMPOSE = REPOSITORY / "docker-compose.yml"
USB = REPOSITORY / "docker-compose.usb.yml"
OPERATOR = REPOSITORY / "docker-compose.operator.yml"

OWN_PROGRAMS = ("daqd", "daqctl", "apx", "apx-monitor", "apx-sanity")


def load(path: Path) -> dict[str, Any]:
    """A compose file as it stands there."""
    content: dict[str, Any] = yaml.safe_load(path.read_text())
    return content


def services() -> dict[str, dict[str, Any]]:
    """The services of the compose file."""
    found: dict[str, dict[str, Any]] = load(COMPOSE)["services"]
    return found


def mounts(service: dict[str, Any]) -> dict[str, str]:
    """Where in the container is what: container path → path here or name of a volume."""
    return {where: what for what, where, *_ in (each.split(":") for each in service.get("volumes", []))}


@dataclass(frozen=True)
class Here:
    """Translates what a container is told for a process of this computer. `folder`: where its directories are."""

    folder: Path
    ports: dict[str, int]

    @classmethod
    def at(cls, folder: Path) -> "Here":
        """With free ports for those that the containers have."""
        return cls(folder, free_ports("5556", "5557", "5558", "8050"))

    def text(self, text: str) -> str:
        """Paths, addresses and ports of containers replaced."""
        directories = r"(?<![\w.])/(keys|data|alarms|run/astropix-daq|run/apx-sanity)\b"
        text = re.sub(directories, lambda match: f"{self.folder}/{match[1]}", text)
        text = re.sub(r"(?<![\w.])/config\b", str(self.folder / "config"), text)
        text = re.sub(r"tcp://(0\.0\.0\.0|daqd):", "tcp://127.0.0.1:", text)
        for port, free in self.ports.items():
            text = re.sub(rf"(?<=[:=]){port}\b", str(free), text)
        return text

    def command(self, words: list[str]) -> list[str]:
        """A command line, translated."""
        return [self.text(word) for word in words]
