"""What other distributions add to the project: objects that they name as entry points.

An entry point that fails is logged in one line and left out: it stops no program.
"""

import logging
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final

CHIPS: Final = "astropix_daq.chips"
"""`ChipType` objects."""

BOARDS: Final = "astropix_daq.boards"
"""Functions that make a board from a link and the configuration; the entry point's name is the `board.kind`."""

LINKS: Final = "astropix_daq.links"
"""Functions that make a link from the configuration; the entry point's name is the `board.transport`."""

_logger = logging.getLogger(__name__)


@cache
def entries(group: str) -> dict[str, EntryPoint]:
    """The entry points of a group by name; installed distributions are searched once."""
    return {entry.name: entry for entry in entry_points(group=group)}


@cache
def loaded(group: str) -> dict[str, Any]:
    """The objects of a group by name, loaded once a process."""
    objects = {}
    for name, entry in entries(group).items():
        try:
            objects[name] = entry.load()
        except Exception as error:  # whatever the code of others raises
            refuse(group, name, error)
    return objects


def refuse(group: str, name: str, error: Exception) -> None:
    """Log that an entry point cannot be used."""
    value = entries(group)[name].value
    _logger.warning("%s: %s = %s cannot be used: %s: %s", group, name, value, type(error).__name__, error)
