"""Alarms of the sanity checker, as they cross the wire (docs/wire.md, "Alarms")."""

from enum import StrEnum


class AlarmLevel(StrEnum):
    """How bad it is."""

    OK = "ok"
    WARNING = "warning"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        """0, 1, 2: the higher the worse."""
        return list(AlarmLevel).index(self)
