"""A small publisher of the project's own messages, for tests of what subscribes to them."""

import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import zmq

from monitor.events import Event
from monitor.receiving.reader import MessageReader, ReceivedHits, ReceivedRun, RunFollower, StreamCounters
from protocol.astropix3_hit import ASTROPIX3_HIT_DTYPE
from protocol.hit import HIT_DTYPE
from protocol.ledger import Ledger
from protocol.run_record import RunRecord
from protocol.wire.messages import (
    Header,
    LogLine,
    Message,
    RunEvent,
    Stat,
    Topic,
    encode_body,
    encode_message,
)
from protocol.wire.packing import describe
from tests.deadline import DEADLINE_S

T0_NS = 1_700_000_000_000_000_000


def make_hits(rows: list[tuple[int, int]], **columns: Any) -> np.ndarray:
    """Hits of the given (readout_id, decoding_order), payload 7, ToT 20 µs, other columns as given."""
    hits = np.zeros(len(rows), HIT_DTYPE)
    for index, (readout_id, order) in enumerate(rows):
        hits[index]["readout_id"], hits[index]["decoding_order"] = readout_id, order
    hits["payload"] = 7
    hits["timestamp"] = T0_NS + hits["readout_id"].astype("u8") * 1_000_000
    hits["ts_dec2"], hits["tot_us"] = 400, 20.0
    for name, values in columns.items():
        hits[name] = values
    return hits


def make_apart(rows: list[tuple[int, ...]], dtype: np.dtype = ASTROPIX3_HIT_DTYPE, **columns: Any) -> np.ndarray:
    """Hits of AstroPix 3: (readout_id, decoding_order, is_column, location, chip_timestamp, tot_dec)."""
    hits = np.zeros(len(rows), dtype)
    names = ("readout_id", "decoding_order", "is_column", "location", "chip_timestamp", "tot_dec")
    for index, name in enumerate(names):
        hits[name] = [row[index] for row in rows]
    hits["payload"] = 4
    hits["timestamp"] = T0_NS + hits["readout_id"].astype("u8") * 1_000_000
    hits["tot_us"] = hits["tot_dec"] / 200
    for name, values in columns.items():
        hits[name] = values
    return hits


def run_record(run: int, **values: Any) -> RunRecord:
    """The record of a run that has begun."""
    return RunRecord(
        **{
            "daq": "bench",
            "run": run,
            "state": "running",
            "begin_ns": T0_NS,
            "software": {},
            "readout_uid": 4000,
            "configuration": {},
        }
        | values
    )


class MessageMaker:
    """Numbers messages as a publisher does."""

    def __init__(self, pub: int = 1, daq: str = "bench") -> None:
        self.pub = pub
        self.daq = daq
        self.t = T0_NS
        self.seq: Counter[str] = Counter()

    def _frames(self, topic: Topic, run: int | None, payload: bytes, **header: Any) -> list[bytes]:
        seq = self.seq[topic]
        self.seq[topic] += 1
        head = Header(daq=self.daq, pub=self.pub, seq=seq, t=self.t, run=run, **header)
        return encode_message(Message(topic=topic, header=head, payload=payload))

    def hits(self, hits: np.ndarray, readouts: tuple[int, int], run: int = 1, pass_: int = 0) -> list[bytes]:
        return self._frames(
            Topic.HITS,
            run,
            hits.tobytes(),
            pass_=pass_,
            n=len(hits),
            readouts=readouts,
            dtype=describe(hits.dtype),
        )

    def stat(
        self, state: str = "running", run: int | None = 1, ledger: Ledger | None = None, **body: Any
    ) -> list[bytes]:
        counts = None if ledger is None else ledger.to_dict()
        return self._frames(Topic.STAT, run, encode_body(Stat(state=state, run=run, ledger=counts, **body)))

    def run(self, event: str, record: RunRecord, pass_: int = 0) -> list[bytes]:
        return self._frames(Topic.RUN, record.run, encode_body(RunEvent(event=event, record=record)), pass_=pass_)

    def log(self, level: str, text: str, run: int | None = 1) -> list[bytes]:
        return self._frames(Topic.LOG, run, encode_body(LogLine(level=level, text=text)))


class TestPublisher:
    """An XPUB socket: knows when somebody has subscribed, so that no test has to wait and hope."""

    __test__ = False

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        endpoint: str = "tcp://127.0.0.1:*",
        pub: int = 1,
        high_water: int = 0,
    ) -> None:
        self.messages = MessageMaker(pub)
        self._socket = context.socket(zmq.XPUB)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.setsockopt(zmq.XPUB_VERBOSER, 1)
        self._socket.setsockopt(zmq.SNDHWM, high_water)
        self._bind(endpoint)
        self.endpoint = self._socket.getsockopt_string(zmq.LAST_ENDPOINT)
        self.subscriptions: set[bytes] = set()

    def _bind(self, endpoint: str) -> None:
        deadline = time.monotonic() + DEADLINE_S
        while True:
            try:
                self._socket.bind(endpoint)
                return
            except zmq.ZMQError as error:  # the address of a publisher just closed is free again only a little later
                if error.errno != zmq.EADDRINUSE or time.monotonic() > deadline:
                    raise
                self._socket.poll(20)

    def wait_for_subscription(
        self, *topics: str, timeout_s: float = DEADLINE_S, reconnecting: Callable[[], object] | None = None
    ) -> None:
        """Until somebody has subscribed to all of `topics`.

        A socket that connects again says its subscriptions again when it is used: `reconnecting` is called meanwhile.
        """
        wanted = {topic.encode() for topic in topics or ("hits", "stat", "run", "log")}
        deadline = time.monotonic() + timeout_s
        while not wanted <= self.subscriptions:
            left_ms = (deadline - time.monotonic()) * 1000
            assert left_ms > 0, f"no subscription to {wanted - self.subscriptions} within {timeout_s} s"
            if reconnecting is not None:
                assert reconnecting() is None
            if self._socket.poll(10 if reconnecting else left_ms):
                frame = self._socket.recv()
                (self.subscriptions.add if frame[0] else self.subscriptions.discard)(frame[1:])

    def send(self, *messages: list[bytes]) -> None:
        for frames in messages:
            self._socket.send_multipart(frames)

    def close(self) -> None:
        self._socket.close(linger=0)

    def __enter__(self) -> "TestPublisher":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class StreamReader:
    """Makes events of frames as a client does that asks for no history."""

    def __init__(self) -> None:
        self.messages = MessageReader()
        self.runs = RunFollower()

    @property
    def counters(self) -> StreamCounters:
        return StreamCounters.of(self.messages, self.runs)

    @property
    def last_error(self) -> str:
        return self.messages.last_error

    def read(self, frames: list[bytes]) -> Event | None:
        received = self.messages.read(frames)
        return self.runs.event(received) if isinstance(received, ReceivedHits | ReceivedRun) else received
