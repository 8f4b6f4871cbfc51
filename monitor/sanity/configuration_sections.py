"""The tables of the configuration file of `apx-sanity`, each a model with its limits.

`config/sanity.toml` has every key with its meaning.
"""

from datetime import datetime
from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from astropix_runtime.configuration import Name, Section
from monitor.client import DEFAULT_ALARM_ENDPOINT, DEFAULT_ENDPOINT
from monitor.detector import CHIPS
from monitor.sanity.alarms.silence_list import Silenced
from protocol.units import NS_PER_S

_Level = Literal["warning", "critical"]


class SanitySection(Section):
    """`[sanity]`: who this checker is, what it checks with, where it keeps things."""

    name: Name = "bench"
    modules: tuple[str, ...] = Field((), strict=False)
    reference: str = ""
    directory: str = ""


class StreamSection(Section):
    """`[stream]`: what is checked; with `server_key` and `key` where the daemon takes only keys."""

    connect: str = DEFAULT_ENDPOINT
    server_key: str = ""
    key: str = ""


class DetectorSection(Section):
    """`[detector]`: pixels that exist; None: as the daemon and its hits say."""

    chips: int | None = Field(None, ge=1, le=CHIPS - 1)
    rows: int | None = Field(None, ge=1, le=64)
    columns: int | None = Field(None, ge=1, le=64)


class PublishSection(Section):
    """`[publish]`: where the alarms are published; empty: nowhere."""

    bind: str = DEFAULT_ALARM_ENDPOINT
    insecure: bool = False


class ControlSection(Section):
    """`[control]`: where the running checker is talked to; empty: `<name>.sanity.ipc` in the runtime directory."""

    endpoint: str = ""


class LogSection(Section):
    """`[log]`: the file of what became of the alarms."""

    max_size_mb: float = Field(10.0, ge=0.01, le=1e6)
    keep: int = Field(5, ge=0, le=1000)


_Calling = Literal["raised", "worse", "again", "over", "unsilenced"]


class CallSection(Section):
    """What webhook and command have in common. `events`: which transitions are sent; `least`: of alarms how bad."""

    events: tuple[_Calling, ...] = Field(("raised", "worse", "again", "over", "unsilenced"), strict=False)
    least: _Level = "warning"
    timeout_s: float = Field(10.0, ge=0.1, le=300)
    attempts: int = Field(8, ge=1, le=100)
    queue: int = Field(1000, ge=1, le=100_000)


class WebhookSection(CallSection):
    """`[webhook]`: where alarms are posted; empty: nowhere."""

    url: str = ""
    headers: dict[str, str] = Field(default_factory=dict)

    @field_validator("url")
    @classmethod
    def _is_http(cls, url: str) -> str:
        parts = urlsplit(url)
        try:
            sound = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
        except ValueError:
            sound = False
        if url and not (sound and url.isascii() and url.isprintable() and " " not in url):
            raise ValueError(f'"{url}" is no address: http://HOST:PORT/PATH or https://HOST/PATH')
        return url

    @field_validator("headers")
    @classmethod
    def _can_be_sent(cls, headers: dict[str, str]) -> dict[str, str]:
        for name, value in headers.items():
            if (
                not name.isascii()
                or not name.replace("-", "").isalnum()
                or not (value.isascii() and value.isprintable())
            ):
                raise ValueError(f'"{name}" and its value are no header: letters, digits and -, then printable ASCII')
        return headers


class CommandSection(CallSection):
    """`[command]`: what is started for each; empty: nothing."""

    argv: tuple[str, ...] = Field((), strict=False)

    @field_validator("argv")
    @classmethod
    def _can_be_started(cls, argv: tuple[str, ...]) -> tuple[str, ...]:
        if argv and (not argv[0] or any("\0" in word for word in argv)):
            raise ValueError('give the program and its arguments, like ["/usr/bin/mail", "-s", "alarm", "me"]')
        return argv


class SilenceEntry(Section):
    """One of `[[silences]]`: alarms that nobody is called for, until then, or as long as it stands here."""

    pattern: str = Field(min_length=1, max_length=200)
    until: datetime | None = None
    reason: str = Field("", max_length=200)

    def silenced(self) -> Silenced:
        """As the engine wants it; a time without a zone is this computer's."""
        until_ns = None if self.until is None else round(self.until.timestamp() * NS_PER_S)
        return Silenced(pattern=self.pattern, until_ns=until_ns, reason=self.reason)


class CheckSettings(Section):
    """What can be set of every check, beside its own limits. `level` replaces whatever level the check gives."""

    enabled: bool = True
    level: _Level | None = None
    in_a_row: int = Field(3, ge=1, le=100_000)
    good_in_a_row: int = Field(3, ge=1, le=100_000)
