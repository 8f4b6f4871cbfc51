"""The catch-up socket: requests for the past in, stretches of runs out (docs/wire.md, "Catch-up")."""

import contextlib
import time
import traceback
from collections import OrderedDict, deque
from collections.abc import Hashable
from dataclasses import dataclass, replace
from typing import Any

import zmq

from astropix_runtime.errors import RefusedError
from astropix_runtime.sockets.key_files import ServerKeys
from astropix_runtime.sockets.listening_socket import ListeningSocket, Purpose
from daqd.catching_up.archive import Archive, ArchivedRun
from daqd.catching_up.past_run import HitRange, PastRun
from daqd.catching_up.record_index import RunIndex
from daqd.children.child_end import log_to_daemon
from daqd.errors import DaqError
from protocol.errors import MessageError
from protocol.text import reason_of
from protocol.wire.catch_up import (
    MAX_CATCH_UP_BYTES,
    HitsArgs,
    HitsHeader,
    RunsArgs,
    catch_up_args,
    encode_hits_reply,
    encode_refusal,
    encode_runs_reply,
)
from protocol.wire.messages import decode_request
from protocol.wire.packing import describe

_TURN_S = 0.05
"""So long one request is worked on before the next one has its turn …"""
_REPLY_S = 0.5
"""… and so long in all before its client gets what there is by then."""
_MAX_OF_A_CLIENT = 8
_MAX_WAITING = 256
_MAX_SESSIONS = 32
_MAX_INDICES = 8
_SESSION_S = 60.0
_MAX_FRAMES = 4
_MAX_AT_ONCE = 64
_HEARTBEAT_MS = 5000


class HistoryServerError(DaqError, OSError):
    """The catch-up socket cannot be opened."""


_PURPOSE = Purpose(
    name="the past",
    verb="answer",
    way_out='end that, or choose another stream.catch_up (--catch-up of a replay), or "" for none',
    failure=HistoryServerError,
)


@dataclass(eq=False)
class _Waiting:
    """A request that is being worked on. `envelope`: what its reply is to begin with."""

    envelope: tuple[bytes, ...]
    request_id: str
    args: HitsArgs
    past: PastRun
    run: ArchivedRun
    worked_s: float = 0.0


class HistoryServer:
    """Answers at `endpoint` for the runs of `archive`.

    One thread: `take_requests` and `work` in turn, both return soon. A client gets only what it asks for, so one that
    does not read holds nobody up; where it was is remembered for a while, and found again in the files if it is not.
    `requests`: how many have come.
    """

    def __init__(self, endpoint: str, archive: Archive, keys: ServerKeys | None = None) -> None:
        self._archive = archive
        self.requests = 0
        self._waiting: deque[_Waiting] = deque()
        self._sessions: OrderedDict[tuple[bytes, Hashable, int], tuple[float, PastRun]] = OrderedDict()
        self._indices: OrderedDict[Hashable, RunIndex] = OrderedDict()
        options: dict[int, int] = {
            zmq.LINGER: 0,
            zmq.SNDHWM: _MAX_OF_A_CLIENT,
            zmq.RCVHWM: _MAX_OF_A_CLIENT,
            zmq.ROUTER_MANDATORY: 1,  # a client that takes no replies is noticed
            zmq.MAXMSGSIZE: MAX_CATCH_UP_BYTES,
            zmq.HEARTBEAT_IVL: _HEARTBEAT_MS,
            zmq.HEARTBEAT_TIMEOUT: 3 * _HEARTBEAT_MS,
        }
        self._listening = ListeningSocket(zmq.ROUTER, endpoint, _PURPOSE, options, keys, log_to_daemon)
        self.endpoint = self._listening.endpoint
        self.socket = self._listening.socket

    @property
    def busy(self) -> bool:
        """Whether there is something to work on."""
        return bool(self._waiting)

    def take_requests(self) -> None:
        """Read what has come; refuse at once what cannot be answered."""
        for _ in range(_MAX_AT_ONCE):
            try:
                frames = self.socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            self.requests += 1
            self._take(tuple(frames[:-1]), frames[-1])

    def _take(self, envelope: tuple[bytes, ...], frame: bytes) -> None:
        if not 1 <= len(envelope) < _MAX_FRAMES:
            return  # not even an envelope that could be sent back
        request_id = ""
        try:
            request = decode_request(frame)
            request_id = request.id
            args = catch_up_args(request)
        except MessageError as error:
            code = "bad_arguments" if request_id else "bad_request"
            self._send(envelope, encode_refusal(request_id, code, str(error)))
            return
        try:
            if args is None:
                raise RefusedError("unknown_command", f"{request.cmd!r} is neither hits nor runs")
            if isinstance(args, RunsArgs):
                self._send(envelope, encode_runs_reply(request_id, self._archive.list_runs(args)))
            else:
                self._waiting.append(
                    self._repeated(envelope, request_id, args) or self._accept(envelope, request_id, args)
                )
        except RefusedError as refusal:
            self._send(envelope, encode_refusal(request_id, refusal.code, str(refusal)))

    def _repeated(self, envelope: tuple[bytes, ...], request_id: str, args: HitsArgs) -> _Waiting | None:
        """A request of the same client for the same that is waiting: it was impatient, and gets one reply."""
        for each in self._waiting:
            if each.envelope[0] == envelope[0] and each.args == args:
                self._waiting.remove(each)
                return replace(each, envelope=envelope, request_id=request_id)
        return None

    def _accept(self, envelope: tuple[bytes, ...], request_id: str, args: HitsArgs) -> _Waiting:
        client = envelope[0]
        of_client = sum(each.envelope[0] == client for each in self._waiting)
        if of_client >= _MAX_OF_A_CLIENT or len(self._waiting) >= _MAX_WAITING:
            raise RefusedError("busy", "too many requests are waiting: ask again when the next reply has come")
        try:
            run = self._archive.find(args)
        except (OSError, ValueError) as error:
            raise RefusedError("unreadable", f"the record of run {args.run} cannot be read: {error}") from None
        if run is None:
            which = f"pass {args.pass_} of run" if args.pass_ else "run"
            raise RefusedError("unknown_run", f"there is no {which} {args.run} on disk")
        _, past = self._sessions.pop((client, run.identity, args.first), (0.0, None))
        if past is None:
            try:
                past = PastRun(run, self._index(run), args.first)
            except ValueError as error:
                raise RefusedError("unreadable", f"run {args.run} cannot be decoded: {error}") from None
        past.look_again()
        return _Waiting(envelope, request_id, args, past, run)

    def _index(self, run: ArchivedRun) -> RunIndex:
        index = self._indices.pop(run.recording, None) or RunIndex(run)
        self._indices[run.recording] = index
        if len(self._indices) > _MAX_INDICES:
            self._indices.popitem(last=False)
        return index

    def work(self) -> None:
        """Give the next request its turn; it is answered when it is ready, or its time is over."""
        waiting = self._waiting.popleft()
        args, past = waiting.args, waiting.past
        begin = now = time.monotonic()
        try:
            while not past.ready(args.last, args.max_hits):
                past.work()
                now = time.monotonic()
                if now - begin >= _TURN_S:
                    break
            waiting.worked_s += now - begin
            if waiting.worked_s < _REPLY_S and not past.ready(args.last, args.max_hits):
                self._waiting.append(waiting)
                return
            reply = self._reply(waiting, past.take(args.last, args.max_hits))
        except OSError as error:
            self._give_up(waiting, "unreadable", f"run {args.run} cannot be read: {reason_of(error)}")
        except Exception as error:  # a fault of ours must not take the past from the others
            log_to_daemon(traceback.format_exc())
            self._give_up(waiting, "internal", f"{type(error).__name__}: {error}")
        else:
            self._keep(waiting.envelope[0], past)
            self._send(waiting.envelope, reply)

    def _give_up(self, waiting: _Waiting, code: str, message: str) -> None:
        waiting.past.close()
        self._send(waiting.envelope, encode_refusal(waiting.request_id, code, message))

    @staticmethod
    def _reply(waiting: _Waiting, part: HitRange) -> list[bytes]:
        record = waiting.run.record
        header = HitsHeader(
            daq=record.daq,
            run=record.run,
            pass_=waiting.run.pass_,
            begin_ns=record.begin_ns,
            readouts=(part.first, part.last) if part.last >= part.first else None,
            more=part.more,
            over=part.over,
            n=len(part.hits),
            dtype=describe(part.hits.dtype),
            record=record if waiting.args.record else None,
        )
        return encode_hits_reply(waiting.request_id, header, part.hits)

    def _keep(self, client: bytes, past: PastRun) -> None:
        """Remember where the client is, for its next request."""
        now = time.monotonic()
        key = (client, past.run.identity, past.next_readout)
        for _, before in [self._sessions.pop(key, (0.0, None))]:
            if before is not None:
                before.close()
        self._sessions[key] = (now, past)
        self.forget(now)

    def forget(self, now: float) -> None:
        """Close what nobody has asked for in a while, and the oldest where there are too many."""
        while self._sessions:
            key, (used, past) = next(iter(self._sessions.items()))
            if len(self._sessions) <= _MAX_SESSIONS and now - used < _SESSION_S:
                return
            del self._sessions[key]
            past.close()

    def _send(self, envelope: tuple[bytes, ...], frames: list[bytes]) -> None:
        parts: list[Any] = [*envelope, *frames]
        with contextlib.suppress(zmq.ZMQError):  # the client is gone, or has taken none of the replies before
            self.socket.send_multipart(parts, zmq.NOBLOCK, copy=False)

    def close(self) -> None:
        """Close everything; nobody is answered any more."""
        for waiting in self._waiting:
            waiting.past.close()
        for _, past in self._sessions.values():
            past.close()
        self._waiting.clear()
        self._sessions.clear()
        self._listening.close()
