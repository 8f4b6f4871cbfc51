"""Who comes late, as a process of its own: `python -m tests.bench.late join STREAM HITS | again CATCH_UP RUN`.

`join` subscribes, takes hits until it has so many, and prints as JSON how long that took. `again` takes a run from the
files, again and again, until it is ended.
"""

import json
import sys
import time

from monitor.client import StreamClient
from monitor.receiving.history import run_hits


def join(endpoint: str, wanted: int) -> None:
    """Print what came, and how long it took from the first attempt to connect."""
    begin = time.monotonic()
    hits = 0
    with StreamClient(endpoint, history=True) as client:
        for batch in client:
            hits += len(batch.hits)
            if hits >= wanted:
                break
        counters = client.counters
    missed = counters.missed_readouts + (counters.joined_at or 0)
    print(json.dumps({"hits": hits, "s": time.monotonic() - begin, "missed": missed}))


def again(endpoint: str, run: int) -> None:
    """Never ends; says when the first hits have come."""
    told = False
    while True:
        for _ in run_hits(endpoint, run):
            if not told:
                print("past", file=sys.stderr, flush=True)
            told = True


def main() -> None:
    """As the command line says."""
    how, endpoint, number = sys.argv[1:]
    (join if how == "join" else again)(endpoint, int(number))


if __name__ == "__main__":
    main()
