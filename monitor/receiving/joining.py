"""Joins the history of a run to its stream: what is missing is asked for, what comes meanwhile waits. Socket-free.

Hits and run messages come out in the order of readouts. Before one is given out, it is compared with what came before:
where readouts are missing between the two, they are asked for first, and what comes from the stream waits. What waits
is bounded: beyond the limit its hits are dropped, and asked for as well. States and log lines do not wait.
"""

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from monitor.continuity import Publisher, RunPass, SequenceStep
from monitor.events import Event, StatMessage
from monitor.receiving.reader import Received, ReceivedHits, ReceivedRun, RunFollower, checked_hits
from protocol.errors import MessageError
from protocol.ledger import Ledger
from protocol.run_record import RunRecord
from protocol.wire.catch_up import CatchUpReply, HitsArgs, HitsReply, Refusal
from protocol.wire.messages import DaemonState, Header, RunEvent

WAITING_BYTES = 64 << 20
"""Hits of the stream that wait while history is fetched."""

_MAX_WAITING = 100_000
_ASK_AGAIN_S = 1.5
_BUSY_S = 0.2
_CONNECT_S = 0.05
_PATIENCE_S = 10.0
_ANNOUNCED_S = 2.5
"""States come once a second, and say where history can be asked for."""
_DOWN_S = 30.0


@dataclass(frozen=True, slots=True)
class DroppedRange:
    """Readouts whose hits came from the stream and could not be kept."""

    key: RunPass
    first: int
    last: int


@dataclass(slots=True)
class _Fetch:
    """Readouts of a run that are being asked for, from `first` on; `last` None: to what is on disk now.

    `heard_at`: when the last answer came. `ask_at`: when to ask next. `request_id`: of the last request.
    """

    key: RunPass
    run: int
    first: int
    last: int | None
    heard_at: float
    ask_at: float
    request_id: str = ""


Waiting = ReceivedHits | ReceivedRun | DroppedRange


class HistoryJoin:
    """Stands between the messages of a stream and its events, which come out in order.

    `take` and `take_reply` take in what comes, `events` gives what can be given out by now, `request` says what is to
    be asked for, and `wait_s` when to look again. `now`: monotonic seconds. `announced`: where history can be asked
    for, None while that is not known, empty for nowhere. `catch_up`: the same, where no state is to change it.
    """

    def __init__(self, runs: RunFollower, catch_up: str | None = None, waiting_bytes: int = WAITING_BYTES) -> None:
        self._runs = runs
        self._limit = waiting_bytes
        self._fixed = catch_up is not None
        self.announced = catch_up
        self.failures = 0
        self.last_failure = ""
        self._waiting: deque[Waiting] = deque()
        self._waiting_bytes = 0
        self._ready: deque[Event] = deque()
        self._fetch: _Fetch | None = None
        self._publisher: Publisher | None = None
        self._header: Header | None = None
        self._unannounced_since: float | None = None
        self._down_until = -math.inf
        self._ended: RunPass | None = None
        self._replayed: tuple[RunPass, Ledger] | None = None
        self._deficit_tried: tuple[RunPass, int] | None = None
        self._failed: tuple[RunPass, int] | None = None
        self._number = 0

    @property
    def fetching(self) -> bool:
        """Whether something is being asked for, or waits for that, or has just come."""
        return self._fetch is not None or bool(self._waiting) or bool(self._ready)

    def take(self, received: Received, now: float) -> None:
        """Take in a message of the stream."""
        header = self._header = received.header
        publisher = Publisher(header.daq, header.pub)
        if publisher != self._publisher:
            self._publisher = publisher
            self._down_until = -math.inf
        if isinstance(received, ReceivedHits | ReceivedRun):
            if self._fixed and not self.announced:
                self._ready.append(self._runs.event(received))  # nothing can be asked for
                return
            self._waiting.append(received)
            self._waiting_bytes += received.size_bytes
            if self._waiting_bytes > self._limit or len(self._waiting) > _MAX_WAITING:
                self._drop_hits()
            return
        self._ready.append(received)
        if isinstance(received, StatMessage):
            if not self._fixed:
                self.announced = received.stat.catch_up
            if self._fetch is None and not self._waiting:
                self._check_stat(received, RunPass.of(publisher, header.run, header.pass_), now)

    def _drop_hits(self) -> None:
        """Keep of the hits that wait only which readouts they are of."""
        kept: deque[Waiting] = deque()
        for each in self._waiting:
            if isinstance(each, ReceivedHits):
                each = DroppedRange(each.key, *each.readouts)
            before = kept[-1] if kept else None
            if isinstance(each, DroppedRange) and isinstance(before, DroppedRange) and before.key == each.key:
                kept[-1] = DroppedRange(each.key, min(before.first, each.first), max(before.last, each.last))
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
            self._unannounced_since = None
            self._waiting.popleft()
            if isinstance(head, DroppedRange):
                continue
            self._waiting_bytes = max(self._waiting_bytes - head.size_bytes, 0)
            self._ready.append(self._runs.event(head))
            if isinstance(head, ReceivedRun) and head.body.event == "end":
                self._ended = head.key

    def _missing_before(self, head: Waiting, now: float) -> bool:
        """Whether something is to be fetched, or waited for, before `head`; begins to."""
        key = head.key
        if self._run_before(key, now):
            return True
        had = self._runs.progress(key)
        if isinstance(head, DroppedRange):
            return had.expected <= head.last and self._begin(key, had.expected, head.last, now)
        if key.run is None:
            return False
        if isinstance(head, ReceivedHits):
            first = head.readouts[0]
            return first > had.expected and self._begin(key, had.expected, first - 1, now)
        if head.body.event == "end" and head.ledger is not None and self._ended != key:
            return head.ledger.hits > had.hits and self._begin_once(key, head.ledger.hits - had.hits, now)
        return False

    def _run_before(self, key: RunPass, now: float) -> bool:
        """Whether the rest of the run before that of `key` is to be waited for: its end has not come."""
        before = self._runs.key
        if before is None or before in (key, self._ended):
            return False
        waits = self._begin(before, max(self._runs.progress(before).expected - 1, 0), None, now)
        if self._fetch is not None or not waits:
            self._ended = before  # once is enough
        return waits

    def _check_stat(self, message: StatMessage, key: RunPass, now: float) -> None:
        """Fetch hits of the present run that have not come, although nothing of the stream waits."""
        stat, ledger = message.stat, message.ledger
        if ledger is None or key.run is None or stat.run != key.run or self._ended == key:
            return
        present = key == self._runs.key
        if not present and not stat.state.in_a_run and not key.pass_:
            return  # over before we came
        if self._run_before(key, now):
            return
        deficit = ledger.hits - self._runs.progress(key).hits
        replayed = bool(key.pass_) and stat.state is DaemonState.IDLE
        if deficit > 0 or (replayed and not present):
            self._replayed = (key, ledger) if replayed else None
            self._begin_once(key, deficit, now)

    def _begin_once(self, key: RunPass, deficit: int, now: float) -> bool:
        """Fetch what is on disk, unless that was tried for as large a deficit."""
        if self._deficit_tried is not None and self._deficit_tried[0] == key and deficit <= self._deficit_tried[1]:
            return False
        # The end of a run can add a hit to the last readout that was covered.
        begun = self._begin(key, max(self._runs.progress(key).expected - 1, 0), None, now)
        if self._fetch is not None or not begun:
            self._deficit_tried = (key, deficit)
        return begun

    def _begin(self, key: RunPass, first: int, last: int | None, now: float) -> bool:
        """Begin to fetch; false where that is not possible."""
        if now < self._down_until or key.run is None or self._failed == (key, last):
            return False
        if key.pass_ and self._publisher != Publisher(key.daq, key.replay_ns):
            return False  # that replay is gone, and its history with it
        if self.announced is None:
            self._unannounced_since = now if self._unannounced_since is None else self._unannounced_since
            if now < self._unannounced_since + _ANNOUNCED_S:
                return True
            self._fail("no state of the daemon tells where the past can be asked for", now)
            return False
        if not self.announced:
            return False
        self._fetch = _Fetch(key, key.run, first, last, heard_at=now, ask_at=now)
        return True

    def request(self, now: float) -> tuple[str, HitsArgs] | None:
        """What is to be asked for now, with the id of the request."""
        fetch = self._fetch
        if fetch is None or now < fetch.ask_at:
            return None
        if now - fetch.heard_at > _PATIENCE_S:
            self._fail(f"nobody answers at {self.announced}", now)
            return None
        self._number += 1
        fetch.request_id = f"{self._number}"
        fetch.ask_at = now + _ASK_AGAIN_S
        key = fetch.key
        record = self._runs.progress(key).began_ns is None or self._ledger_of_replay(key) is not None
        which = {"pub": key.replay_ns, "pass_": key.pass_} if key.pass_ else {}
        return fetch.request_id, HitsArgs(run=fetch.run, first=fetch.first, last=fetch.last, record=record, **which)

    def _ledger_of_replay(self, key: RunPass) -> Ledger | None:
        """The ledger of a replay that came to its end, and published that, before we came; None: it did not."""
        return self._replayed[1] if self._replayed is not None and self._replayed[0] == key else None

    def not_sent(self, now: float) -> None:
        """The last request could not be sent: nobody is connected, yet or any more."""
        if self._fetch is not None:
            self._fetch.ask_at = now + _CONNECT_S

    def wait_s(self, now: float) -> float | None:
        """When to look again though nothing comes; None: when something does."""
        if self._fetch is not None:
            return max(self._fetch.ask_at - now, 0.0)
        return None if self._unannounced_since is None else max(self._unannounced_since + _ANNOUNCED_S - now, 0.0)

    def take_reply(self, reply: CatchUpReply, now: float) -> None:
        """Take in a reply to one of the requests."""
        fetch = self._fetch
        if fetch is None or reply.id != fetch.request_id:
            return  # to one that was given up, or asked again
        fetch.heard_at = now
        if isinstance(reply, Refusal) and reply.code == "busy":
            fetch.ask_at = now + _BUSY_S
        elif isinstance(reply, HitsReply):
            try:
                self._take_hits(fetch, reply, now)
            except MessageError as error:
                self._fail(str(error), now, down=False)
        else:
            why = f"{reply.code}: {reply.message}" if isinstance(reply, Refusal) else "an answer to another question"
            self._fail(f"run {fetch.run}: {why}", now, down=False)

    def _take_hits(self, fetch: _Fetch, reply: HitsReply, now: float) -> None:
        header, key = reply.header, fetch.key
        began_ns = self._runs.progress(key).began_ns
        # The stream of a replay has a name of its own.
        daq = header.daq if key.pass_ else key.daq
        same = (header.daq, header.run, header.pass_ or 0) == (daq, fetch.run, key.pass_)
        if not same or began_ns not in (None, header.begin_ns):
            raise MessageError(f"run {fetch.run} on disk is another one")
        if header.record is not None and header.record.begin_ns != began_ns:
            self._add_run_event(key, RunEvent(event="begin", record=header.record), None)
        if header.readouts is not None:
            of_hits = self._history_header(key, readouts=header.readouts, n=header.n, dtype=header.dtype)
            hits = ReceivedHits(of_hits, key, SequenceStep(), checked_hits(reply.hits, of_hits), past=True)
            self._ready.append(self._runs.event(hits))
            fetch.first = max(fetch.first, header.readouts[1] + 1)
        fetch.ask_at = now
        if not header.more or (fetch.last is not None and fetch.first > fetch.last):
            self._fetch = None
        ledger = self._ledger_of_replay(key)
        if header.over and header.record is not None and ledger is not None:
            record: RunRecord = header.record.model_copy(update={"ledger": ledger.to_dict()})
            self._add_run_event(key, RunEvent(event="end", record=record), ledger)
            self._ended, self._replayed = key, None

    def _add_run_event(self, key: RunPass, body: RunEvent, ledger: Ledger | None) -> None:
        """Give out the begin or end of a run that came before we did."""
        self._ready.append(self._runs.event(ReceivedRun(self._history_header(key), key, SequenceStep(), body, ledger)))

    def _history_header(self, key: RunPass, **more: object) -> Header:
        """The header of an event that does not come from the stream."""
        live = self._header
        assert live is not None  # noqa: S101 - nothing is fetched before a message has come
        return Header.model_validate(
            {"daq": key.daq, "pub": live.pub, "seq": 0, "t": live.t, "run": key.run, "pass": key.pass_, **more}
        )

    def _fail(self, why: str, now: float, *, down: bool = True) -> None:
        """Give up what is being fetched; what waits is given out with its gap."""
        self.failures += 1
        self.last_failure = why
        if self._fetch is not None and self._fetch.last is not None:
            self._failed = (self._fetch.key, self._fetch.last)
        self._fetch = None
        self._unannounced_since = None
        self._down_until = now + _DOWN_S if down else self._down_until
