"""A subscriber as a process of its own: `python -m tests.bench.subscriber client|plain ENDPOINT`.

Takes one run to its end, then prints as JSON what it got. `client` uses monitor.client, `plain` ZeroMQ, msgpack
and NumPy alone.
"""

import json
import sys
import time
from collections.abc import Iterator

import msgpack
import numpy as np
import zmq

from monitor.client import StreamClient
from monitor.events import HitBatch, RunMessage
from protocol.hit import HIT_DTYPE, HitTable

NO_HITS = np.zeros(0, HIT_DTYPE)


def from_client(endpoint: str) -> Iterator[tuple[HitTable, int]]:
    """Hits, and messages missed before them, through the client of the monitor; no hits at the begin of the run."""
    with StreamClient(endpoint, high_water=100_000) as client:
        print("connected", file=sys.stderr, flush=True)
        for event in client.events():
            if isinstance(event, HitBatch):
                yield event.hits, event.sequence.missed
            if isinstance(event, RunMessage):
                if event.body.event == "end":
                    return
                yield NO_HITS, 0


def plainly(endpoint: str) -> Iterator[tuple[HitTable, int]]:
    """The same with nothing in between."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    subscriber = context.socket(zmq.SUB)
    subscriber.set(zmq.RCVHWM, 100_000)
    for topic in ("hits", "run"):
        subscriber.subscribe(topic)
    subscriber.connect(endpoint)
    print("connected", file=sys.stderr, flush=True)
    expected = 0
    event = ""
    while event != "end":
        about, header, payload = subscriber.recv_multipart()
        if about == b"run":
            event = msgpack.unpackb(payload)["event"]
            yield NO_HITS, 0
            continue
        seq = msgpack.unpackb(header)["seq"]
        missed, expected = seq - expected, seq + 1
        yield np.frombuffer(payload, HIT_DTYPE), missed
    subscriber.close(linger=0)
    context.term()


def main() -> None:
    """Take one run."""
    how, endpoint = sys.argv[1:]
    hits = missed = 0
    began = ended = 0
    late_ms: list[np.ndarray[tuple[int], np.dtype[np.float64]]] = []
    for table, missed_before in (from_client if how == "client" else plainly)(endpoint):
        ended = time.time_ns()
        began = began or ended
        late_ms.append((ended - table["timestamp"].astype(np.int64)) / 1e6)
        hits += len(table)
        missed += missed_before
    all_late_ms = np.concatenate(late_ms) if late_ms else np.zeros(1)
    p50_ms, p99_ms, worst_ms = np.percentile(all_late_ms, [50, 99, 100]).tolist()
    seconds = (ended - began) / 1e9
    print(
        json.dumps(
            {"hits": hits, "missed": missed, "s": seconds, "p50_ms": p50_ms, "p99_ms": p99_ms, "worst_ms": worst_ms}
        )
    )


if __name__ == "__main__":
    main()
