"""How fast boards are read: through pyftdi on an emulated FT2232H, over a slow link, over a UART."""

import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from daqd.boards import open_board
from daqd.configuration.config import Config
from daqd.control import ControlClient
from protocol.apx import ApxReader
from protocol.run_record import RunRecord, run_name
from tests.bench.figures import Effort, Figure
from tests.bench.programs import Program
from tests.bench.streams import dense_block, write_file

LATENCY_MS = 2.0
MB = 1e6
_TIMEOUT_S = 120.0


def usb(effort: Effort) -> Iterator[Figure]:
    """`daqd run` with an emulated FT2232H behind pyftdi: what is in the files, and how long it took."""
    if not sys.platform.startswith("linux"):
        yield Figure("emulated FT2232H → files", {}, note="measured on Linux only")
        return
    with TemporaryDirectory(prefix="bench-") as temporary:
        source = write_file(Path(temporary) / "source.apx", dense_block(effort.size(12_000_000, 200_000), 1), 1)
        sent = _Readouts.of([source])
        board = {"transport": "emulated-usb"}
        emulator = {"source": "file", "file": str(source), "speed": "max"}
        taken = _take(Path(temporary), {"board": board, "emulator": emulator})
    same = (taken.files.readouts, taken.files.data_bytes) == (sent.readouts, sent.data_bytes)
    yield Figure(
        "emulated FT2232H → pyftdi → files",
        {"MB/s": taken.files.data_bytes / MB / taken.files.seconds},
        "≥ 20 MB/s",
        "nothing lost" if same else f"{taken.files.data_bytes} of {sent.data_bytes} bytes are in the files",
    )


def polling(effort: Effort) -> Iterator[Figure]:
    """A GECCO board over a link with the latency of USB, with and without asking ahead."""
    with TemporaryDirectory(prefix="bench-") as temporary:
        source = write_file(Path(temporary) / "source.apx", dense_block(effort.size(4_000_000, 100_000), 1), 1)
        for queued in (False, True):
            board: dict[str, Any] = {"transport": "emulated"} | ({} if queued else {"queue_ahead": 0})
            config = Config.model_validate(
                {
                    "board": board,
                    "emulator": {
                        "source": "file", "file": str(source), "speed": "max", "link_latency_ms": LATENCY_MS
                    },
                }
            )  # fmt: skip
            speed = _poll(config, effort.size(4, 1) * (0.5 if queued else 1.0))
            what = f"{config.board.queue_ahead} asked ahead" if queued else "one question, one answer"
            yield Figure(f"polling at {LATENCY_MS:g} ms, {what}", {"MB/s": speed / MB}, "≥ 9 MB/s" if queued else "")


def astep_usb(effort: Effort) -> Iterator[Figure]:
    """The A-STEP driver through pyftdi on an emulated FT2232H with the latency timer of 2 ms, one request at a time."""
    with TemporaryDirectory(prefix="bench-") as temporary:
        config = Config.model_validate(
            {
                "daq": {"runtime_dir": temporary},
                "board": {"kind": "astep", "transport": "emulated-usb"},
                "emulator": {"rate_hz": "max"},
            }
        )
        speed = _poll(config, effort.size(4, 1))
    yield Figure(f"A-STEP over USB at {LATENCY_MS:g} ms, one request at a time", {"MB/s": speed / MB}, "≥ 1 MB/s")


def uart(effort: Effort) -> Iterator[Figure]:
    """`daqd run` with an emulated A-STEP board on a pseudo terminal, paced as a UART at 921 600 baud."""
    if not sys.platform.startswith("linux"):
        yield Figure("UART → files", {}, note="measured on Linux only")
        return
    hits = effort.size(60_000, 4_000)
    with TemporaryDirectory(prefix="bench-") as temporary:
        board = {"kind": "astep", "transport": "emulated-pty"}
        taken = _take(Path(temporary), {"board": board, "emulator": {"rate_hz": "max", "hits_limit": hits}})
    found = (taken.record.ledger or {}).get("hits", 0)
    yield Figure(
        "UART at 921 600 baud → pyserial → files",
        {"kB/s": taken.files.data_bytes / 1e3 / taken.files.seconds, "hits/s": found / taken.files.seconds},
        "≥ 78 of 92.2 kB/s",
        "nothing lost" if found == hits else f"{found} of {hits} hits are in the files",
    )


@dataclass(frozen=True)
class _Readouts:
    """What files hold; `seconds` from the first readout to the last."""

    readouts: int
    data_bytes: int
    seconds: float

    @classmethod
    def of(cls, paths: list[Path]) -> "_Readouts":
        readouts = data_bytes = 0
        times: list[int] = []
        for path in paths:
            with ApxReader(path) as reader:
                for block in reader.blocks():
                    readouts += len(block)
                    data_bytes += len(block.data)
                    times += [int(block.timestamp[0]), int(block.timestamp[-1])]
        return cls(readouts, data_bytes, (times[-1] - times[0]) / 1e9)


@dataclass(frozen=True)
class _Taken:
    record: RunRecord
    files: _Readouts


def _take(directory: Path, settings: dict[str, dict[str, Any]]) -> _Taken:
    """One run of the real daemon, until its emulated board has nothing more to say."""
    tables = {
        "daq": {"name": "bench", "data_dir": str(directory / "data"), "runtime_dir": str(directory / "runtime")},
        "stream": {"bind": "tcp://127.0.0.1:*", "catch_up": "tcp://127.0.0.1:*"},
        **settings,
    }
    config = directory / "bench.toml"
    # Texts and numbers are written in TOML as they are in JSON.
    lines = (
        line
        for name, values in tables.items()
        for line in (f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in values.items()))
    )
    config.write_text("\n".join(lines), encoding="utf-8")
    with Program("daqd.cli", "run", "-c", str(config)) as daqd:
        endpoint = daqd.wait_for(r"listens at (\S+)")[1]
        with ControlClient(endpoint, timeout_s=60.0) as control:
            run = control.call("start")["run"]
            deadline = time.monotonic() + _TIMEOUT_S
            while not control.call("status")["status"]["board"]["counters"]["exhausted"]:
                if time.monotonic() > deadline:
                    raise RuntimeError("the emulated board does not come to its end")
                time.sleep(0.1)
            control.call("stop")
            control.call("shutdown")
    folder = directory / "data" / run_name(run)
    record = RunRecord.from_json((folder / f"{run_name(run)}.json").read_text(encoding="utf-8"))
    return _Taken(record, _Readouts.of(sorted(folder.glob("*.apx"))))


def _poll(config: Config, seconds: float) -> float:
    """Bytes per second that the driver reads."""
    board = open_board(config)
    board.open()
    board.configure(None)
    board.start()
    count = 0
    begin = time.perf_counter()
    while (passed := time.perf_counter() - begin) < seconds:
        readout = board.read_readout(1.0)
        if readout is None:
            break
        count += len(readout.data)
    board.close()
    return count / passed
