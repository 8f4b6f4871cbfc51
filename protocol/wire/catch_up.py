"""Catch-up (docs/wire.md, "Catch-up"): asking for what was published before, and what is answered from the files.

Requests and replies are those of the control socket (`messages`), but for the hits, which are a second frame
of the reply. Bytes in, typed objects out, and back; whatever the bytes are, the only error is `MessageError`.
"""

from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from protocol.errors import MessageError
from protocol.hit import HitTable
from protocol.run_record import RunRecord, RunState
from protocol.wire.messages import Reply, Request, decode_reply, encode_reply
from protocol.wire.packing import DTypeDescription, WireModel, packed_hits, parse

MAX_CATCH_UP_BYTES = 1 << 16
"""A request is no longer."""

MAX_READOUT_ID = (1 << 32) - 1
MAX_HITS = 1 << 16
MAX_RUNS = 100


class _Args(BaseModel):
    # What is not known is refused: who asks must not take an answer to another question for one to his own.
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, populate_by_name=True)


class HitsArgs(_Args):
    """Arguments of `hits`: those of `run`, from readout `first` to `last` (included; None: to the last on disk).

    `max_hits`: in one reply, but whole readouts, one at least. `record`: whether the run's record is wanted, too.
    `pub`, `pass_`: of a replay, publisher and pass as in its messages; without, the last time that the run was on its
    stream.
    """

    run: int = Field(ge=0, lt=1 << 63)
    first: int = Field(default=0, ge=0, le=MAX_READOUT_ID)
    last: int | None = Field(default=None, ge=0, le=MAX_READOUT_ID)
    max_hits: int = Field(default=MAX_HITS, ge=1, le=MAX_HITS)
    record: bool = False
    pub: int | None = Field(default=None, ge=0)
    pass_: int | None = Field(default=None, ge=1, alias="pass")

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.last is not None and self.last < self.first:
            raise ValueError(f"readouts {self.first} to {self.last}: the last comes before the first")
        return self


class RunsArgs(_Args):
    """Arguments of `runs`: at most `number` of the runs after `after`."""

    after: int = Field(default=-1, ge=-1, lt=1 << 63)
    number: int = Field(default=MAX_RUNS, ge=1, le=MAX_RUNS)


class HitsHeader(WireModel):
    """What a reply to `hits` says beside the hits.

    `daq`, `begin_ns`: as in the run's record, for who wants to be certain that it is the same run; `pass_`: in a
    replay, the pass through the files. `readouts`: first
    and last id that the reply covers, None where it covers none. `more`: there is more to be asked for, from the
    readout after the last one covered on (or the same `first` again, where none is). `over`: nothing of the run will
    come after this. `n`, `dtype`: of the payload.
    """

    daq: str
    run: int = Field(ge=0)
    pass_: int | None = Field(default=None, ge=1, alias="pass")
    begin_ns: int
    readouts: tuple[int, int] | None = None
    more: bool
    over: bool
    n: int = Field(ge=0)
    dtype: DTypeDescription
    record: RunRecord | None = None


class RunOnDisk(WireModel):
    """A run that can be asked for. `pass_`: of a replay, the last pass in which it was on the stream.

    `readouts`: first and last in its files, None where there are none, or where it is not known because the run goes on
    or was not closed in order.
    """

    run: int = Field(ge=0)
    pass_: int | None = Field(default=None, ge=1, alias="pass")
    daq: str
    state: RunState
    begin_ns: int
    end_ns: int | None = None
    readouts: tuple[int, int] | None = None
    comment: str = ""

    @classmethod
    def of(cls, record: RunRecord) -> Self:
        """What its record says of a run."""
        first = [file.first_readout for file in record.files if file.first_readout is not None]
        last = [file.last_readout for file in record.files if file.last_readout is not None]
        known = record.state in ("finished", "failed") and first and last
        return cls(
            run=record.run,
            daq=record.daq,
            state=record.state,
            begin_ns=record.begin_ns,
            end_ns=record.end_ns,
            readouts=(min(first), max(last)) if known else None,
            comment=record.comment,
        )


class RunsOnDisk(WireModel):
    """What a reply to `runs` says: runs in the order of their numbers; `more`: others come after the last of them."""

    runs: tuple[RunOnDisk, ...]
    more: bool


class Refusal(WireModel):
    """Why there is no answer; codes are listed in docs/wire.md."""

    id: str
    code: str
    message: str


class HitsReply(WireModel):
    """An answer to `hits`: two frames on the wire."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    id: str
    header: HitsHeader
    hits: HitTable


class RunsReply(WireModel):
    """An answer to `runs`: one frame."""

    id: str
    runs: RunsOnDisk


CatchUpReply = HitsReply | RunsReply | Refusal


def hits_request(request_id: str, args: HitsArgs) -> Request:
    """A request for hits."""
    # What is as it would be without being said is left out: servers of before do not know all of it.
    return Request(id=request_id, cmd="hits", args=args.model_dump(by_alias=True, exclude_defaults=True))


def runs_request(request_id: str, args: RunsArgs) -> Request:
    """A request for the list of runs."""
    return Request(id=request_id, cmd="runs", args=args.model_dump())


def catch_up_args(request: Request) -> HitsArgs | RunsArgs | None:
    """The arguments of a request, None for an unknown one; `MessageError` where they are none of its command."""
    models: dict[str, type[HitsArgs | RunsArgs]] = {"hits": HitsArgs, "runs": RunsArgs}
    model = models.get(request.cmd)
    return None if model is None else parse(model, request.args)


def encode_hits_reply(request_id: str, header: HitsHeader, hits: HitTable) -> list[bytes]:
    """Two frames."""
    result = header.model_dump(mode="json", by_alias=True, exclude_none=True)
    return [encode_reply(Reply(id=request_id, ok=True, result=result)), hits.tobytes()]


def encode_runs_reply(request_id: str, runs: RunsOnDisk) -> list[bytes]:
    """One frame."""
    result = runs.model_dump(mode="json", by_alias=True, exclude_none=True)
    return [encode_reply(Reply(id=request_id, ok=True, result=result))]


def encode_refusal(request_id: str, code: str, message: str) -> list[bytes]:
    """One frame."""
    return [encode_reply(Reply.refuse(request_id, code, message))]


def decode_catch_up_reply(frames: list[bytes]) -> CatchUpReply:
    """Inverse of the three; `MessageError` for anything else."""
    if not 1 <= len(frames) <= 2:
        raise MessageError(f"a reply has one frame or two, this has {len(frames)}")
    reply = decode_reply(frames[0])
    if reply.error is not None:
        return Refusal(id=reply.id, code=reply.error.code, message=reply.error.message)
    if len(frames) == 1:
        return RunsReply(id=reply.id, runs=parse(RunsOnDisk, reply.result))
    header = parse(HitsHeader, reply.result)
    if header.readouts is not None and not 0 <= header.readouts[0] <= header.readouts[1] <= MAX_READOUT_ID:
        raise MessageError(f"readouts {header.readouts[0]} to {header.readouts[1]} cannot be")
    return HitsReply.model_construct(id=reply.id, header=header, hits=packed_hits(frames[1], header.dtype, header.n))
