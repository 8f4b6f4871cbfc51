"""Alarms of the sanity checker, as they cross the wire (docs/wire.md, "Alarms")."""

import re
import zlib
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field

from protocol.text import printable
from protocol.wire.packing import WireModel

MAX_ID_LETTERS = 100


class AlarmLevel(StrEnum):
    """How bad it is."""

    OK = "ok"
    WARNING = "warning"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        """0, 1, 2: the higher the worse."""
        return list(AlarmLevel).index(self)


class Alarm(WireModel):
    """One thing that is wrong, or was and nobody has acknowledged it. Times in ns since the epoch.

    `id`: what to acknowledge and to silence: `alarm_id` of `check` and `subject`. `level`: now, ok where it is over;
    `worst`: since it was raised. `text`: as of when it was last wrong, with its `value` against the `limit`, where
    there are such numbers. `since_ns`: when it was raised; `last_ns`: when it was last wrong; `count`: at how many
    looks it was; `returns`: how often it came back after it was over. `latched`: it is over, and stays until it is
    acknowledged. `silenced`: it is shown, but nobody is called for it. `run`: the one it was last seen in.
    """

    id: str
    check: str
    subject: str = ""
    level: AlarmLevel
    worst: AlarmLevel
    text: str
    value: float | None = None
    limit: float | None = None
    since_ns: int = Field(ge=0)
    last_ns: int = Field(ge=0)
    count: int = Field(default=1, ge=1)
    returns: int = Field(default=0, ge=0)
    latched: bool = False
    acknowledged: bool = False
    silenced: bool = False
    advice: str = ""
    run: int | None = None

    @property
    def figures(self) -> str:
        """`29.5, limit 4.25`; empty where there are none, or there should be none at all, which `text` says."""
        return "" if self.value is None or not self.limit else f"{self.value:.4g}, limit {self.limit:.4g}"


class Alarms(WireModel):
    """All alarms there are, the worst first."""

    alarms: tuple[Alarm, ...] = ()


def alarm_id(check: str, subject: str) -> str:
    """`check`, or `check:subject` without spaces; what is too long, or was not printable, ends in a checksum."""
    if not subject:
        return check
    plain = re.sub(r"\s+", "_", subject.strip())
    plain = printable(plain, "?")
    most = MAX_ID_LETTERS - len(check) - 1
    if len(plain) > most or "?" in plain:
        checksum = f"~{zlib.crc32(subject.encode(errors='replace')):08x}"
        plain = plain[: most - len(checksum)] + checksum
    return f"{check}:{plain}"


class _Args(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class AcknowledgeArgs(_Args):
    """Arguments of `ack`. `ids`: of alarms, or patterns with `*`, `?` and `[…]`, or names of checks."""

    ids: tuple[str, ...] = Field(min_length=1, max_length=1000, strict=False)


class SilenceArgs(_Args):
    """Arguments of `silence`. `pattern`: as `AcknowledgeArgs.ids`; also of alarms that there are not yet."""

    pattern: str = Field(min_length=1, max_length=200)
    for_s: float = Field(gt=0, le=366 * 86400.0)
    reason: str = Field("", max_length=200)


class UnsilenceArgs(_Args):
    """Arguments of `unsilence`. `pattern`: as it was silenced."""

    pattern: str = Field(min_length=1, max_length=200)
