"""Wire messages (docs/wire.md): what is published, and requests and replies of the control socket.

Bytes in, typed objects out, and back. Whatever the bytes are, the only error is `MessageError`.
"""

from enum import StrEnum
from typing import Any, Literal, Self

import msgpack
from pydantic import BaseModel, Field

from protocol.errors import MessageError
from protocol.hit import HitTable
from protocol.ledger import LedgerCounts
from protocol.run_record import RunRecord
from protocol.wire.alarms import Alarms
from protocol.wire.packing import DTypeDescription, WireModel, packed_hits, parse, unpack

WIRE_VERSION = 1
MAX_CONTROL_BYTES = 1 << 20


class Topic(StrEnum):
    """First frame of a published message."""

    HITS = "hits"
    RAW = "raw"
    STAT = "stat"
    RUN = "run"
    LOG = "log"
    ALARM = "alarm"


class Header(WireModel):
    """Second frame. `t`: when it was sent, ns since the epoch.

    `daq`: name of the daemon; `pub`: start of the publisher in ns, a new one after each restart; `seq`: number of the
    message in its topic, from 0 for each `pub`; `run`: number of the run, None outside runs; `pass_`: 0 live, in a
    replay the pass through the files, from 1.
    For `hits` and `raw`: `readouts`, first and last id of the readouts consumed since the message before; for `hits`:
    `n` and `dtype`.
    """

    v: Literal[1] = 1
    daq: str
    pub: int = Field(ge=0)
    seq: int = Field(ge=0)
    t: int = Field(ge=0)
    run: int | None = Field(default=None, ge=0)
    pass_: int = Field(default=0, ge=0, alias="pass")
    n: int | None = Field(default=None, ge=0)
    readouts: tuple[int, int] | None = None
    dtype: DTypeDescription | None = None


_SENDERS_WORDS = tuple(name for name in Header.model_fields if name != "v")


class DaemonState(StrEnum):
    """State of the daemon; `REPLAY`: a replay that has not come to its end."""

    IDLE = "idle"
    CONFIGURED = "configured"
    RUNNING = "running"
    RECOVERING = "recovering"
    ERROR = "error"
    REPLAY = "replay"
    STOPPING = "stopping"

    @property
    def in_a_run(self) -> bool:
        """Whether a run is being taken, with its board or waiting for it."""
        return self in (DaemonState.RUNNING, DaemonState.RECOVERING)


class Rates(WireModel):
    """Per second, over the last second or so."""

    readouts_hz: float = 0.0
    bytes_hz: float = 0.0
    hits_hz: float = 0.0


class Queue(WireModel):
    """Memory of the queue between reader and writer; `high_water_bytes` is its largest size in this run."""

    bytes: int = 0
    limit_bytes: int = 0
    high_water_bytes: int = 0


class Disk(WireModel):
    """Where the files go. `level`: what is to be thought of it, and `reason` why, empty where all is well.

    `time_to_full_s`: until no run can go on, at the rate of the last minute; None where nothing is written.
    """

    path: str = ""
    free_bytes: int = 0
    total_bytes: int = 0
    level: Literal["ok", "warning", "critical"] = "ok"
    time_to_full_s: float | None = None
    reason: str = ""


class BoardStat(WireModel):
    """What is known of the board; `counters` are its own words for what it counts.

    `warnings`: what is not as it should be, a line each, for as long as that lasts.
    """

    kind: str = ""
    transport: str = ""
    connected: bool = False
    counters: dict[str, int | float | str] = Field(default_factory=dict)
    warnings: list[str] = Field(default_factory=list)


class PublisherStat(WireModel):
    """The publisher's own state.

    `dropped`: messages at which subscribers that had no room began to miss. `refused`: connections without a key that
    is allowed.
    """

    messages: int = 0
    hits: int = 0
    dropped: int = 0
    subscribers: int = 0
    restarts: int = 0
    lag_bytes: int = 0
    refused: int = 0


class Stat(WireModel):
    """State of the daemon (or of a replay), once a second and at every change of state.

    `counts`: of the current or last run, as `protocol.run_record.Counts`; `ledger`: as `Ledger.to_dict`, what the
    publisher has decoded of it so far. `catch_up`: where the past can be asked for; empty: nowhere.
    """

    state: DaemonState
    reason: str = ""
    since_ns: int = 0
    run: int | None = None
    pass_: int = Field(default=0, alias="pass")
    elapsed_s: float = 0.0
    file: str = ""
    chips: int | None = None
    rates: Rates = Rates()
    counts: dict[str, int] = Field(default_factory=dict)
    ledger: LedgerCounts | None = None
    queue: Queue = Queue()
    disk: Disk = Disk()
    board: BoardStat = BoardStat()
    publisher: PublisherStat = PublisherStat()
    catch_up: str = ""
    version: str = ""


class RunEvent(WireModel):
    """Begin or end of a run, or a gap in it (the board was lost for a while), with its record as it is then."""

    event: Literal["begin", "gap", "end"]
    record: RunRecord


class LogLine(WireModel):
    """What the operator should read."""

    level: Literal["debug", "info", "warning", "error", "critical"]
    text: str


class Message(WireModel):
    """One published message: three frames on the wire."""

    topic: Topic
    header: Header
    payload: bytes

    def hits(self) -> HitTable:
        """The hits, structured array (n,) of the columns that the header describes; read-only, no copy.

        `MessageError` where header and payload do not agree or the topic is another.
        """
        header = self.header
        if self.topic is not Topic.HITS or header.dtype is None or header.n is None or header.readouts is None:
            raise MessageError("not a hits message: n, readouts and dtype are needed")
        return packed_hits(self.payload, header.dtype, header.n)

    def stat(self) -> Stat:
        """The state that a `stat` message carries; `MessageError` where it carries none."""
        return parse(Stat, self._unpack(Topic.STAT))

    def run(self) -> RunEvent:
        """The event that a `run` message carries; `MessageError` where it carries none."""
        return parse(RunEvent, self._unpack(Topic.RUN))

    def log(self) -> LogLine:
        """The line that a `log` message carries; `MessageError` where it carries none."""
        return parse(LogLine, self._unpack(Topic.LOG))

    def alarms(self) -> Alarms:
        """The alarms that an `alarm` message carries; `MessageError` where it carries none."""
        return parse(Alarms, self._unpack(Topic.ALARM))

    def _unpack(self, topic: Topic) -> Any:
        if self.topic is not topic:
            raise MessageError(f"a {self.topic} message, not {topic}")
        return unpack(self.payload)


def encode_body(body: BaseModel) -> bytes:
    """Payload of `stat`, `run`, `log` and `alarm` messages."""
    return bytes(msgpack.packb(body.model_dump(mode="json", by_alias=True)))


def encode_message(message: Message) -> list[bytes]:
    """The three frames."""
    header = message.header
    return encode_frames(message.topic, message.payload, **{name: getattr(header, name) for name in _SENDERS_WORDS})


def encode_frames(
    topic: Topic,
    payload: bytes,
    *,
    daq: str,
    pub: int,
    seq: int,
    t: int,
    run: int | None = None,
    pass_: int = 0,
    n: int | None = None,
    readouts: tuple[int, int] | None = None,
    dtype: DTypeDescription | None = None,
) -> list[bytes]:
    """The three frames of a message whose header has these values, which are taken as they are: nothing is checked.

    A publisher sends a hundred small messages a second, and a model for each costs more than all the rest of them.
    """
    header: dict[str, Any] = {"v": WIRE_VERSION, "daq": daq, "pub": pub, "seq": seq, "t": t}
    if run is not None:
        header["run"] = run
    header["pass"] = pass_
    if n is not None:
        header["n"] = n
    if readouts is not None:
        header["readouts"] = readouts
    if dtype is not None:
        header["dtype"] = dtype
    if run is None:
        header["run"] = None  # always there; last, as in the golden bytes
    return [topic.value.encode(), msgpack.packb(header), payload]


def decode_message(frames: list[bytes]) -> Message:
    """Inverse of `encode_message`; `MessageError` for anything else."""
    if len(frames) != 3:
        raise MessageError(f"a message has three frames, this has {len(frames)}")
    try:
        topic = Topic(frames[0].decode())
    except ValueError:
        raise MessageError(f"unknown topic {frames[0][:40]!r}") from None
    return Message(topic=topic, header=parse(Header, unpack(frames[1])), payload=frames[2])


class Request(WireModel):
    """A request to the control socket; `id` is the client's own and comes back in the reply."""

    v: Literal[1] = 1
    id: str
    cmd: str
    args: dict[str, Any] = Field(default_factory=dict)


class ReplyError(WireModel):
    """Why a request was refused; codes are listed in docs/wire.md."""

    code: str
    message: str


class Reply(WireModel):
    """The answer to a request: `result` where `ok`, else `error`."""

    v: Literal[1] = 1
    id: str
    ok: bool
    result: dict[str, Any] | None = None
    error: ReplyError | None = None

    @classmethod
    def refuse(cls, request_id: str, code: str, message: str) -> Self:
        """A reply that says no."""
        return cls(id=request_id, ok=False, error=ReplyError(code=code, message=message))

    def answers(self, request: Request) -> bool:
        """Whether it is to `request`, not to one given up before; without an id: to one that could not be read."""
        return self.id in (request.id, "")


def encode_request(request: Request) -> bytes:
    """One frame."""
    return bytes(msgpack.packb(request.model_dump(mode="json")))


def decode_request(frame: bytes) -> Request:
    """Inverse of `encode_request`; `MessageError` for anything else."""
    return parse(Request, unpack(frame, MAX_CONTROL_BYTES))


def encode_reply(reply: Reply) -> bytes:
    """One frame."""
    return bytes(msgpack.packb(reply.model_dump(mode="json", exclude_none=True)))


def decode_reply(frame: bytes) -> Reply:
    """Inverse of `encode_reply`; `MessageError` for anything else."""
    return parse(Reply, unpack(frame))
