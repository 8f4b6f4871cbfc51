"""The past and the present of a stream as one: what is missing is asked for, what comes meanwhile waits. Socket-free.

Hits and events of runs come out in the order of readouts. Before something is given out, it is held against what came
before: where readouts are missing between the two, they are asked for first, and what comes from the stream waits. What
waits is bounded: beyond, its hits are let go, and asked for as well. States and log lines do not wait.
"""

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from monitor.continuity import Publisher, RunPass
from monitor.events import Event, RunMessage
from monitor.receiving.reader import Received, StreamReader
from protocol.errors import MessageError
from protocol.ledger import Ledger
from protocol.wire.catch_up import CatchUpReply, HitsArgs, HitsReply, Refusal
from protocol.wire.messages import DaemonState, Header

WAITING_BYTES = 64 << 20
"""Hits of the stream that wait while the past is fetched."""

_MOST_WAITING = 100_000
_ASK_AGAIN_S = 1.5
_BUSY_S = 0.2
_CONNECT_S = 0.05
_PATIENCE_S = 10.0
_ANNOUNCED_S = 2.5
"""States come once a second, and tell where the past can be asked for."""
_DOWN_S = 30.0


@dataclass(frozen=True, slots=True)
class _LetGo:
    """Readouts whose hits came and could not be kept."""

    key: RunPass
    first: int
    last: int


@dataclass(slots=True)
class _Fetch:
    """Readouts of a run that are being asked for, from `first` on; `last` None: to what is on disk now.

    `life`: when something was last heard. `ask_at`: when to ask next. `request_id`: what was asked last.
    """

    key: RunPass
    run: int
    first: int
    last: int | None
    life: float
    ask_at: float
    request_id: str = ""


class HistoryJoin:
    """Between the messages of a stream and who wants its events.

    `take` and `take_reply` are given what comes, `events` gives what can be given out by now, `request` says what is to
    be asked for, and `wait_s` when to look again. `now`: monotonic seconds. `announced`: where the past can be asked
    for, None while that is not known, empty for nowhere; `fixed` where it was given and no state is to change it.
    """

    def __init__(self, reader: StreamReader, catch_up: str | None = None, waiting_bytes: int = WAITING_BYTES) -> None:
        self._reader = reader
        self._limit = waiting_bytes
        self._fixed = catch_up is not None
        self.announced = catch_up
        self.failures = 0
        self.last_failure = ""
        self._waiting: deque[Received | _LetGo] = deque()
        self._waiting_bytes = 0
        self._ready: deque[Event] = deque()
        self._fetch: _Fetch | None = None
        self._publisher: Publisher | None = None
        self._header: Header | None = None
        self._since: float | None = None
        self._down_until = -math.inf
        self._ended: RunPass | None = None
        self._over: tuple[RunPass, Ledger] | None = None
        self._deficit: tuple[RunPass, int] | None = None
        self._in_vain: tuple[RunPass, int] | None = None
        self._number = 0

    @property
    def fetching(self) -> bool:
        """Whether something is being asked for, or waits for that, or has just come."""
        return self._fetch is not None or bool(self._waiting) or bool(self._ready)

    def take(self, received: Received, now: float) -> None:
        """A message of the stream."""
        header = received.header
        publisher = Publisher(header.daq, header.pub)
        if publisher != self._publisher:
            self._publisher = publisher
            self._down_until = -math.inf
        self._header = header
        body = received.body
        if body.hits is None and body.run is None:
            if body.stat is not None and not self._fixed:
                self.announced = body.stat.catch_up
            self._ready.append(self._reader.event(received))
            if self._fetch is None and not self._waiting:
                self._check_stat(received, now)
            return
        self._waiting.append(received)
        self._waiting_bytes += len(received.message.payload)
        if self._waiting_bytes > self._limit or len(self._waiting) > _MOST_WAITING:
            self._let_go()

    def _let_go(self) -> None:
        """Keep of the hits that wait only which readouts they are of."""
        kept: deque[Received | _LetGo] = deque()
        for each in self._waiting:
            if isinstance(each, Received) and each.body.hits is not None and each.header.readouts is not None:
                each = _LetGo(each.key, *each.header.readouts)
            before = kept[-1] if kept else None
            if isinstance(each, _LetGo) and isinstance(before, _LetGo) and before.key == each.key:
                kept[-1] = _LetGo(each.key, min(before.first, each.first), max(before.last, each.last))
            else:
                kept.append(each)
        self._waiting = kept
        self._waiting_bytes = 0

    def events(self, now: float) -> Iterator[Event]:
        """What can be given out; ends where something has to be fetched or come first."""
        while True:
            while self._ready:
                yield self._ready.popleft()
            if self._fetch is not None or not self._waiting:
                return
            head = self._waiting[0]
            if self._missing_before(head, now):
                return
            self._since = None
            self._waiting.popleft()
            if isinstance(head, _LetGo):
                continue
            self._waiting_bytes = max(self._waiting_bytes - len(head.message.payload), 0)
            event = self._reader.event(head)
            if isinstance(event, RunMessage) and event.body.event == "end":
                self._ended = head.key
            self._ready.append(event)

    def _missing_before(self, head: Received | _LetGo, now: float) -> bool:
        """Whether something is to be fetched, or waited for, before `head`; begins to."""
        runs, key = self._reader.runs, head.key
        if self._run_before(key, now):
            return True
        expected = runs.expected if key == runs.key else 0
        if isinstance(head, _LetGo):
            return expected <= head.last and self._begin(key, expected, head.last, now)
        if key.run is None:
            return False
        header, event = head.header, head.body.run
        if header.readouts is not None:
            return header.readouts[0] > expected and self._begin(key, expected, header.readouts[0] - 1, now)
        if event is not None and event.event == "end" and head.body.ledger is not None and self._ended != key:
            had = runs.hits_of_pass if key == runs.key else 0
            return head.body.ledger.hits > had and self._begin_once(key, head.body.ledger.hits - had, now)
        return False

    def _run_before(self, key: RunPass, now: float) -> bool:
        """Whether the rest of the run before that of `key` is to be waited for: its end has not come."""
        runs = self._reader.runs
        before = runs.key
        if before is None or before in (key, self._ended):
            return False
        waits = self._begin(before, max(runs.expected - 1, 0), None, now)
        if self._fetch is not None or not waits:
            self._ended = before  # once is enough
        return waits

    def _check_stat(self, received: Received, now: float) -> None:
        """Whether there are hits of the present run that we do not have, although nothing of the stream waits."""
        stat, ledger, key = received.body.stat, received.body.ledger, received.key
        if stat is None or ledger is None or key.run is None or stat.run != key.run or self._ended == key:
            return
        runs = self._reader.runs
        if key != runs.key and not stat.state.in_a_run and not key.pass_:
            return  # over before we came
        if self._run_before(key, now):
            return
        had = runs.hits_of_pass if key == runs.key else 0
        replayed = bool(key.pass_) and stat.state is DaemonState.IDLE
        if ledger.hits > had or (replayed and key != runs.key):
            self._over = (key, ledger) if replayed else None
            self._begin_once(key, ledger.hits - had, now)

    def _begin_once(self, key: RunPass, deficit: int, now: float) -> bool:
        """Fetch what is on disk, unless that was tried for as large a deficit."""
        if self._deficit is not None and self._deficit[0] == key and deficit <= self._deficit[1]:
            return False
        runs = self._reader.runs
        # The end of a run can add a hit to the last readout that was covered.
        first = max(runs.expected - 1, 0) if key == runs.key else 0
        begun = self._begin(key, first, None, now)
        if self._fetch is not None or not begun:
            self._deficit = (key, deficit)
        return begun

    def _begin(self, key: RunPass, first: int, last: int | None, now: float) -> bool:
        """Begin to fetch; false where that is not possible."""
        if now < self._down_until or key.run is None or self._in_vain == (key, last):
            return False
        if key.pass_ and self._publisher != Publisher(key.daq, key.replay_ns):
            return False  # that replay is gone, and its past with it
        if self.announced is None:
            self._since = now if self._since is None else self._since
            if now < self._since + _ANNOUNCED_S:
                return True
            self._fail("no state of the daemon tells where the past can be asked for", now)
            return False
        if not self.announced:
            return False
        self._fetch = _Fetch(key, key.run, first, last, life=now, ask_at=now)
        return True

    def request(self, now: float) -> tuple[str, HitsArgs] | None:
        """What is to be asked for now, with the id of the request."""
        fetch = self._fetch
        if fetch is None or now < fetch.ask_at:
            return None
        if now - fetch.life > _PATIENCE_S:
            self._fail(f"nobody answers at {self.announced}", now)
            return None
        self._number += 1
        fetch.request_id = f"{self._number}"
        fetch.ask_at = now + _ASK_AGAIN_S
        runs, key = self._reader.runs, fetch.key
        record = key != runs.key or runs.began_ns is None or self._is_over(key)
        which = {"pub": key.replay_ns, "pass_": key.pass_} if key.pass_ else {}
        return fetch.request_id, HitsArgs(run=fetch.run, first=fetch.first, last=fetch.last, record=record, **which)

    def _is_over(self, key: RunPass) -> bool:
        """Whether the stream has told that this was replayed to its end, and told the end to those before us."""
        return self._over is not None and self._over[0] == key

    def not_sent(self, now: float) -> None:
        """The last request could not be sent: nobody is connected, yet or any more."""
        if self._fetch is not None:
            self._fetch.ask_at = now + _CONNECT_S

    def wait_s(self, now: float) -> float | None:
        """When to look again though nothing comes; None: when something does."""
        if self._fetch is not None:
            return max(self._fetch.ask_at - now, 0.0)
        return None if self._since is None else max(self._since + _ANNOUNCED_S - now, 0.0)

    def take_reply(self, reply: CatchUpReply, now: float) -> None:
        """A reply to one of the requests."""
        fetch = self._fetch
        if fetch is None or reply.id != fetch.request_id:
            return  # to one that was given up, or asked again
        fetch.life = now
        if isinstance(reply, Refusal) and reply.code == "busy":
            fetch.ask_at = now + _BUSY_S
        elif isinstance(reply, HitsReply):
            try:
                self._take_hits(fetch, reply, now)
            except MessageError as error:
                self._fail(str(error), now, down=False)
        else:
            said = f"{reply.code}: {reply.message}" if isinstance(reply, Refusal) else "an answer to another question"
            self._fail(f"run {fetch.run}: {said}", now, down=False)

    def _take_hits(self, fetch: _Fetch, reply: HitsReply, now: float) -> None:
        header, runs = reply.header, self._reader.runs
        known = runs.began_ns if fetch.key == runs.key else None
        # The stream of a replay has a name of its own.
        daq = header.daq if fetch.key.pass_ else fetch.key.daq
        same = (header.daq, header.run, header.pass_ or 0) == (daq, fetch.run, fetch.key.pass_)
        if not same or known not in (None, header.begin_ns):
            raise MessageError(f"run {fetch.run} on disk is another one")
        if header.record is not None and header.record.begin_ns != known:
            self._ready.append(self._reader.past_begin(fetch.key, self._made_up(fetch), header.record))
        if header.readouts is not None:
            made_up = self._made_up(fetch, readouts=header.readouts, n=header.n, dtype=header.dtype)
            self._ready.append(self._reader.past_hits(fetch.key, made_up, reply.hits))
            fetch.first = max(fetch.first, header.readouts[1] + 1)
        fetch.ask_at = now
        if not header.more or (fetch.last is not None and fetch.first > fetch.last):
            self._fetch = None
        if header.over and header.record is not None and self._over is not None and self._is_over(fetch.key):
            record, ledger = header.record, self._over[1]
            self._ready.append(self._reader.past_end(fetch.key, self._made_up(fetch), record, ledger))
            self._ended, self._over = fetch.key, None

    def _made_up(self, fetch: _Fetch, **more: object) -> Header:
        """A header for what does not come from the stream."""
        live = self._header
        assert live is not None  # noqa: S101 - nothing is fetched before a message has come
        return Header.model_validate(
            {"daq": fetch.key.daq, "pub": live.pub, "seq": 0, "t": live.t}
            | {"run": fetch.run, "pass": fetch.key.pass_, **more}
        )

    def _fail(self, why: str, now: float, *, down: bool = True) -> None:
        """Give up what is being fetched; what waits is given out with its gap."""
        self.failures += 1
        self.last_failure = why
        if self._fetch is not None and self._fetch.last is not None:
            self._in_vain = (self._fetch.key, self._fetch.last)
        self._fetch = None
        self._since = None
        self._down_until = now + _DOWN_S if down else self._down_until
