"""What the daemon and its children tell each other: one JSON object a line, through the child's pipes.

A line that says nothing, which is sent after each batch of readouts, is an empty one.

Nothing here is needed for the data to be complete: what is published comes from the files.
"""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from protocol.wire.messages import LogLine, PublisherStat, Stat


class Notice(BaseModel):
    """From the daemon to the publisher. Nothing set: there is more to read in the files.

    The end of the pipe says that nothing more will come: publish what is there, and end.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    stat: Stat | None = None
    log: LogLine | None = None


WAKE = Notice()
WAKE_LINE = b"\n"


class Report(BaseModel):
    """From a child to the daemon: `ready` once; `state`, from the publisher, once a second.

    `run_ended`: `run` was decoded to its end, and `ledger` is that of the whole run. `asked`: somebody asks for the
    past, or has just now.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["ready", "state", "run_ended", "asked"] = "state"
    endpoint: str = ""
    run: int | None = None
    ledger: dict[str, Any] | None = None
    hits_hz: float = 0.0
    stat: PublisherStat = PublisherStat()


def encode_line(line: Notice | Report) -> bytes:
    """One line, newline included."""
    if line == WAKE:
        return WAKE_LINE
    return line.model_dump_json(exclude_defaults=True, by_alias=True).encode() + b"\n"


def decode_notice(line: bytes) -> Notice | None:
    """A line from the daemon; None for what is not one."""
    if line in (b"", WAKE_LINE):
        return WAKE
    try:
        return Notice.model_validate_json(line)
    except ValidationError:
        return None


def decode_report(line: bytes) -> Report | None:
    """A line from a child; None for what is not one."""
    try:
        return Report.model_validate_json(line)
    except ValidationError:
        return None
