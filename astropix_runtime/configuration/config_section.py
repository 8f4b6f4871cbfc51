"""Tables that the configuration files of `daqd` and `apx-sanity` have alike."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Name = Annotated[
    str,
    Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$",
        description='1 to 64 letters, digits, "_", "." or "-", the first a letter or a digit',
    ),
]
"""What a daemon or a checker is called; it becomes part of the names of files and sockets."""


class Section(BaseModel):
    """A table of the file: unknown keys refused, values never converted from another type, frozen."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, validate_default=True)


class KeysSection(Section):
    """`[security]`: the keys of the program's own TCP sockets, both or none.

    `server_key`: file of its secret key. `client_keys`: directory of the public keys of its clients.
    """

    server_key: str = ""
    client_keys: str = ""

    @model_validator(mode="after")
    def _both_or_none(self) -> Self:
        if bool(self.server_key) != bool(self.client_keys):
            raise ValueError("server_key and client_keys go together: daqctl keygen says how they are made")
        return self

    @property
    def keys(self) -> bool:
        """Whether every TCP socket wants a key."""
        return bool(self.server_key)

    def refuse_insecure(self, insecure: bool) -> None:
        """`ValueError` where there are keys, and `insecure` says that nobody needs one."""
        if self.keys and insecure:
            raise ValueError("insecure = true and the keys of [security] contradict each other: take one of them out")


class LogSection(Section):
    """`[log]`: how much a daemon logs, and how (`astropix_runtime.process.logs`)."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "text", "journal", "json"] = "auto"
