"""Figures of the page's server: twenty browsers, 32 chips; some of them do not read what they are sent.

`python -m tests.bench.browsers PORT SECONDS READING STALLED` is the browsers, as a process of its own.
"""

import asyncio
import base64
import contextlib
import json
import os
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import numpy as np
import zmq
from tornado.websocket import websocket_connect

from tests.bench.figures import Effort, Figure
from tests.bench.programs import Program
from tests.monitor.publishing import MessageMaker, make_hits, run_record

BROWSERS, CHIPS = 20, 32
_HITS_HZ, _MESSAGES_HZ = 4000, 50
_PATIENCE_S = 30.0


def browsers(effort: Effort) -> Iterator[Figure]:
    """`apx-monitor serve` while 4000 hits/s of 32 chips come in: processor, memory, updates of each browser."""
    if not sys.platform.startswith("linux"):
        yield Figure("browsers", {}, note="measured on Linux only")
        return
    window_s = effort.size(30, 3)
    with _published() as endpoint, _serving(endpoint) as (serving, port):
        yield Figure("page, nobody looks", {"% of a core": _load(serving, window_s / 3)})
        for stalled in (0, 5):
            with Program(
                "tests.bench.browsers", str(port), str(window_s), str(BROWSERS - stalled), str(stalled)
            ) as crowd:
                crowd.wait_for("all are there")
                before_kb = _memory_kb(serving.pid)
                load = _load(serving, window_s)
                grown_kb = _memory_kb(serving.pid) - before_kb
                result = crowd.result()
            yield Figure(
                f"page, {BROWSERS} browsers, {CHIPS} chips" + (f", {stalled} of them stalled" if stalled else ""),
                {
                    "% of a core": load,
                    "updates/s (least)": result["least_hz"],
                    "kB/s for each": result["bytes_hz"] / 1000,
                    "MB grown": max(grown_kb, 0) / 1000,
                },
                "< 25 %, 5 updates/s, memory flat",
            )


@contextlib.contextmanager
def _serving(endpoint: str) -> Iterator[tuple[Program, int]]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    with Program(
        "monitor.cli", "serve", "--connect", endpoint, "--no-history", "--port", str(port), "--alarms", "ipc://nobody"
    ) as serving:
        deadline = time.monotonic() + _PATIENCE_S
        while True:
            try:
                if b"astropix_run " in urlopen(f"http://127.0.0.1:{port}/metrics").read():
                    break
            except OSError:
                pass
            if time.monotonic() > deadline:
                raise RuntimeError("the page is not served")
            time.sleep(0.1)
        yield serving, port


@contextlib.contextmanager
def _published() -> Iterator[str]:
    """A stream of hits of 32 chips, its endpoint."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    publisher = context.socket(zmq.PUB)
    publisher.setsockopt(zmq.LINGER, 0)
    publisher.bind("tcp://127.0.0.1:*")
    ended = threading.Event()
    thread = threading.Thread(target=_publish, args=(publisher, ended), name="publisher")
    thread.start()
    try:
        yield publisher.getsockopt_string(zmq.LAST_ENDPOINT)
    finally:
        ended.set()
        thread.join()
        publisher.close()
        context.term()


def _publish(publisher: "zmq.Socket[bytes]", ended: threading.Event) -> None:
    random, messages, size = np.random.default_rng(1), MessageMaker(), _HITS_HZ // _MESSAGES_HZ
    record = run_record(1, chips=CHIPS, begin_ns=time.time_ns())
    number = 0
    while not ended.wait(1 / _MESSAGES_HZ):
        messages.t = time.time_ns()
        if number % _MESSAGES_HZ == 0:
            publisher.send_multipart(messages.run("begin", record))
            publisher.send_multipart(messages.stat(chips=CHIPS, elapsed_s=number / _MESSAGES_HZ))
        hits = make_hits([(number, order) for order in range(size)])
        hits["timestamp"] = messages.t
        hits["chip_id"] = random.integers(0, CHIPS, size)
        hits["row"], hits["column"] = random.integers(0, 13, size), random.integers(0, 16, size)
        hits["tot_us"] = random.normal(250.0, 40.0, size).clip(0.05)
        publisher.send_multipart(messages.hits(hits, (number, number)))
        number += 1


def _load(program: Program, window_s: float) -> float:
    begin, used_s = time.monotonic(), program.cpu_s()[0]
    time.sleep(window_s)
    return 100 * (program.cpu_s()[0] - used_s) / (time.monotonic() - begin)


def _memory_kb(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))


async def _look(port: int, seconds: float, counts: list[int], sizes: list[int], all_there: asyncio.Barrier) -> None:
    connection = await websocket_connect(f"ws://127.0.0.1:{port}/updates")
    # Each browser looks at another chip.
    await connection.write_message(json.dumps({"chip": len(counts) % CHIPS, "row": 5, "column": 5}))
    await connection.read_message()
    mine = len(counts)
    counts.append(0)
    sizes.append(0)
    await all_there.wait()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        message = await connection.read_message()
        assert isinstance(message, bytes), "the server has closed the connection"
        counts[mine] += 1
        sizes[mine] += len(message)
    connection.close()


def _stall(port: int) -> socket.socket:
    """A browser that never reads."""
    stalled = socket.socket()
    stalled.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    stalled.connect(("127.0.0.1", port))
    key = base64.b64encode(os.urandom(16)).decode()
    stalled.sendall(
        f"GET /updates HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
    )
    return stalled


async def _crowd(port: int, seconds: float, reading: int, stalled: int) -> dict[str, float]:
    counts: list[int] = []
    sizes: list[int] = []
    all_there = asyncio.Barrier(reading + 1)
    with contextlib.ExitStack() as stack:
        for _ in range(stalled):
            stack.enter_context(_stall(port))
        looking = [asyncio.create_task(_look(port, seconds, counts, sizes, all_there)) for _ in range(reading)]
        await all_there.wait()
        print("all are there", file=sys.stderr, flush=True)
        await asyncio.gather(*looking)
    return {"least_hz": min(counts) / seconds, "bytes_hz": sum(sizes) / reading / seconds}


if __name__ == "__main__":
    print(json.dumps(asyncio.run(_crowd(int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])))))
