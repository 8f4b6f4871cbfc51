"""Runs that a daemon has on disk, asked for without its stream."""

import time
from collections.abc import Iterator
from itertools import count

import zmq

from astropix_runtime.sockets.key_files import ClientKeys
from monitor.continuity import HitArray, RunPass, RunTracker
from monitor.errors import HistoryError
from monitor.receiving.history_link import HistoryLink
from protocol.wire.catch_up import CatchUpReply, HitsArgs, HitsReply, Refusal, RunOnDisk, RunsArgs, RunsReply

_ASK_AGAIN_S = 1.5
_CONNECT_S = 0.05


def run_hits(
    endpoint: str,
    run: int,
    first: int = 0,
    last: int | None = None,
    *,
    timeout_s: float = 10.0,
    keys: ClientKeys | None = None,
) -> Iterator[HitArray]:
    """The hits of `run` in readouts `first` to `last` (included; None: to the last on disk), in order, in pieces.

    `endpoint`: where the daemon answers for the past (`catch_up` of its states). Each hit comes once, also where the
    server dies meanwhile and another takes its place. Of a replay: the last pass in which that run was on the stream,
    as far as it was by then. `HistoryError` where there is no such run, or nobody answers for `timeout_s`.
    """
    tracker, begun, following = RunTracker(), RunPass("", run, 0), first
    which: tuple[int, int | None] | None = None
    with _Asking(endpoint, timeout_s, keys) as asking:
        more = True
        while more:
            args = HitsArgs(run=run, first=following, last=last, pass_=None if which is None else which[1])
            # Who has to ask again begins with what was covered last: the end of the run may have added a hit to it.
            reply = asking.ask(args, args.model_copy(update={"first": max(following - 1, first)}))
            if not isinstance(reply, HitsReply):
                raise HistoryError(f"{endpoint} answers another question; is that a daqd?")
            which = which or (reply.header.begin_ns, reply.header.pass_)
            if which != (reply.header.begin_ns, reply.header.pass_):
                raise HistoryError(f"{endpoint}: run {run} is another one now; ask again from its begin")
            more = reply.header.more
            covered = reply.header.readouts
            if covered is not None:
                step = tracker.hits(begun, *covered, reply.hits)
                following = covered[1] + 1
                if len(step.hits):
                    yield step.hits


def runs_on_disk(endpoint: str, *, timeout_s: float = 10.0, keys: ClientKeys | None = None) -> list[RunOnDisk]:
    """The runs that the daemon has, in the order of their numbers; `HistoryError` as for `run_hits`."""
    found: list[RunOnDisk] = []
    with _Asking(endpoint, timeout_s, keys) as asking:
        while True:
            reply = asking.ask(RunsArgs(after=found[-1].run if found else -1))
            if not isinstance(reply, RunsReply):
                raise HistoryError(f"{endpoint} answers another question; is that a daqd?")
            found += reply.runs.runs
            if not reply.runs.more or not reply.runs.runs:
                return found


class _Asking:
    """One request after the other; a context manager."""

    def __init__(self, endpoint: str, timeout_s: float, keys: ClientKeys | None) -> None:
        self._endpoint = endpoint
        self._timeout_s = timeout_s
        self._numbers = count(1)
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._link = HistoryLink(self._context, keys)

    def ask(self, args: HitsArgs | RunsArgs, again: HitsArgs | None = None) -> CatchUpReply:
        """The reply to a request with these arguments; `again`: with these, where it has to be repeated."""
        deadline = time.monotonic() + self._timeout_s
        while True:
            request_id = str(next(self._numbers))
            sent = self._link.ask(request_id, args)
            args = again if sent and again is not None else args
            reply = self._reply(request_id, min(deadline, time.monotonic() + (_ASK_AGAIN_S if sent else _CONNECT_S)))
            if isinstance(reply, Refusal) and reply.code != "busy":
                raise HistoryError(f"{self._endpoint}: {reply.message} ({reply.code})")
            if reply is not None and not isinstance(reply, Refusal):
                return reply
            if time.monotonic() >= deadline:
                within = f"within {self._timeout_s:g} s"
                raise HistoryError(f"nobody answers for the past at {self._endpoint} {within}; is the daemon running?")
            if reply is not None:
                time.sleep(_CONNECT_S)  # it is busy with what others have asked

    def _reply(self, request_id: str, until: float) -> CatchUpReply | None:
        while (left_s := until - time.monotonic()) > 0:
            reply = self._link.receive()
            if reply is None:
                self._link.socket.poll(int(left_s * 1000) + 1)
            elif reply.id == request_id:
                return reply
        return None

    def __enter__(self) -> "_Asking":
        self._link.connect(self._endpoint)
        return self

    def __exit__(self, *_: object) -> None:
        self._link.close()
        self._context.term()
