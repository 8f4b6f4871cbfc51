"""A subscriber that keeps everything it is sent."""

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import numpy as np

from monitor.client import StreamClient
from monitor.events import Event, HitBatch, LogMessage, RunMessage, StatMessage
from monitor.receiving.reader import StreamCounters
from protocol.hit import HIT_DTYPE, HitTable
from protocol.ledger import Ledger
from protocol.run_record import RunRecord
from protocol.wire.messages import Stat
from tests.system.processes import DEADLINE_S


class Subscriber:
    """Listens at `endpoint` in a thread of its own; a context manager. Options as in `StreamClient`."""

    def __init__(self, endpoint: str, high_water: int = 100_000, **options: Any) -> None:
        self.endpoint = endpoint
        self._client = StreamClient(endpoint, high_water=high_water, **options)
        self._change = threading.Condition()
        self._events: list[Event] = []
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._listen, name=f"subscriber {endpoint}")
        self._thread.start()

    def _listen(self) -> None:
        try:
            for event in self._client.events():
                with self._change:
                    self._events.append(event)
                    self._change.notify_all()
        except BaseException as error:  # the test is to fail with it
            with self._change:
                self._error = error
                self._change.notify_all()

    @property
    def events(self) -> list[Event]:
        """All that came, in order."""
        with self._change:
            return list(self._events)

    def wait_for(self, what: str, condition: Callable[[list[Event]], bool], deadline_s: float = DEADLINE_S) -> None:
        """Until what has come satisfies `condition`."""
        with self._change:
            came = self._change.wait_for(lambda: self._error is not None or condition(self._events), deadline_s)
            if self._error is not None:
                raise self._error
            kinds = [type(event).__name__ for event in self._events]
            assert came, f"{self.endpoint}: after {deadline_s:g} s still not: {what}; came: {kinds[-20:]}"

    def wait_until_heard(self, subscribers: int = 1) -> None:
        """Until the publisher says that so many get hits: what is sent from now on reaches all of them."""
        self.wait_for(
            f"{subscribers} subscribers are known",
            lambda events: any(
                isinstance(event, StatMessage) and event.stat.publisher.subscribers >= subscribers for event in events
            ),
        )

    def wait_for_end(self, run: int, pass_: int | None = None) -> RunRecord:
        """Until the run has ended on the stream; its record as it was sent then."""
        self.wait_for(f"run {run} ends", lambda events: bool(_ends(events, run, pass_)))
        return _ends(self.events, run, pass_)[-1].body.record

    def wait_for_gaps(self, run: int, number: int) -> None:
        """Until the stream has told of so many gaps of a run."""

        def told(events: list[Event]) -> bool:
            bodies = [event.body for event in events if isinstance(event, RunMessage)]
            return any(
                body.event == "gap" and body.record.run == run and len(body.record.gaps) >= number for body in bodies
            )

        self.wait_for(f"{number} gaps of run {run}", told)

    def wait_for_state(self, state: str) -> Stat:
        """Until the daemon says that it is in `state`."""

        def said(events: list[Event]) -> list[Stat]:
            return [event.stat for event in events if isinstance(event, StatMessage) and event.stat.state == state]

        self.wait_for(f"state {state}", lambda events: bool(said(events)))
        return said(self.events)[0]

    def wait_for_hits(self, number: int) -> None:
        """Until so many have come."""
        self.wait_for(
            f"{number} hits",
            lambda events: sum(len(event.hits) for event in events if isinstance(event, HitBatch)) >= number,
        )

    def hits(self, run: int) -> HitTable:
        """All hits of a run, in the order in which they came."""
        tables = [event.hits for event in self.events if isinstance(event, HitBatch) and event.run == run]
        return np.concatenate(tables or [np.zeros(0, HIT_DTYPE)])

    def ledger(self, run: int) -> Ledger:
        """The ledger that came with the end of a run."""
        ledger = _ends(self.events, run, None)[-1].ledger
        assert ledger is not None
        return ledger

    def logs(self) -> list[str]:
        """What the operator was told."""
        return [event.line.text for event in self.events if isinstance(event, LogMessage)]

    def close(self) -> StreamCounters:
        """Stop listening; what was received and missed."""
        self._client.interrupt()
        self._thread.join(DEADLINE_S)
        assert not self._thread.is_alive(), "the subscriber's thread does not end"
        counters = self._client.counters
        self._client.close()
        if self._error is not None:
            raise self._error
        return counters

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _ends(events: list[Event], run: int, pass_: int | None) -> list[RunMessage]:
    return [
        event
        for event in events
        if isinstance(event, RunMessage)
        and event.body.event == "end"
        and event.body.record.run == run
        and pass_ in (None, event.header.pass_)
    ]
