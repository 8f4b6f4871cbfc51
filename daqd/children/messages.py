"""The messages between the daemon and its children: one JSON object a line, through the child's pipes.

`MoreData`, which is sent after each batch of readouts, is an empty line. No message is needed for the data to be
complete: what is published comes from the files.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from protocol.ledger import LedgerCounts
from protocol.wire.messages import LogLine, PublisherStat, Stat


class _ChildMessage(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class MoreData(_ChildMessage):
    """To the publisher: there is more to read in the files."""

    kind: Literal["more_data"] = "more_data"


class PublishStat(_ChildMessage):
    """To the publisher: complete `stat` with what only the publisher knows, and publish it."""

    kind: Literal["stat"] = "stat"
    stat: Stat


class PublishLog(_ChildMessage):
    """To the publisher: publish a line for the operator."""

    kind: Literal["log"] = "log"
    line: LogLine


class Ready(_ChildMessage):
    """From a child, once: it serves at `endpoint`."""

    kind: Literal["ready"] = "ready"
    endpoint: str


class PublisherState(_ChildMessage):
    """From the publisher, once a second: `ledger` is that of `run`, as far as it is decoded; `run` None: no run."""

    kind: Literal["state"] = "state"
    run: int | None
    ledger: LedgerCounts
    hits_hz: float
    stat: PublisherStat


class RunDecoded(_ChildMessage):
    """From a child: it has decoded `run` to its end; `ledger` is that of the whole run."""

    kind: Literal["run_decoded"] = "run_decoded"
    run: int
    ledger: LedgerCounts


class HistoryRequested(_ChildMessage):
    """From the history server: a client is asking for history, or has just done so."""

    kind: Literal["history_requested"] = "history_requested"


ToChild = MoreData | PublishStat | PublishLog
FromChild = Ready | PublisherState | RunDecoded | HistoryRequested

MORE_DATA_LINE = b"\n"

_TO_CHILD: TypeAdapter[ToChild] = TypeAdapter(Annotated[ToChild, Field(discriminator="kind")])
_FROM_CHILD: TypeAdapter[FromChild] = TypeAdapter(Annotated[FromChild, Field(discriminator="kind")])


def encode_line(message: ToChild | FromChild) -> bytes:
    """Encode a message as one line, newline included."""
    if isinstance(message, MoreData):
        return MORE_DATA_LINE
    return message.model_dump_json(by_alias=True).encode() + b"\n"


def decode_to_child(line: bytes) -> ToChild | None:
    """Decode a line from the daemon; None if it is invalid."""
    if line in (b"", MORE_DATA_LINE):
        return MoreData()
    try:
        return _TO_CHILD.validate_json(line)
    except ValidationError:
        return None


def decode_from_child(line: bytes) -> FromChild | None:
    """Decode a line from a child; None if it is invalid."""
    try:
        return _FROM_CHILD.validate_json(line)
    except ValidationError:
        return None
