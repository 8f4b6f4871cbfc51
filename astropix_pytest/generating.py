"""Runs out of a seed, as the emulated board would have sent them, without the time that it would have taken."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from astropix_pytest.recording import Recording
from astropix_pytest.settings import write_config
from daqd.configuration.config import Config
from daqd.emulator.seeded_hits import SeededHits
from daqd.errors import ConfigError
from protocol.apx import FileHeader, apx_open
from protocol.readout import AbstractAstroPixReadout
from protocol.run_record import file_name, run_name

BEGIN_NS = 1_750_000_000_000_000_000
"""When every generated run began: the same settings make the same files, to the last byte."""

_NAME = "generated"


def generate(folder: Path, hits: int = 1000, *, run: int = 1, comment: str = "", **board: Any) -> Recording:
    """Write the file of a run with `hits` hits into `folder`; the time stamps are those of the simulated time.

    `board`: what `write_config` takes: chips, rate_hz, seed, hot_pixels, dead_pixels, settings. The board is read each
    `board.poll_interval_ms`. `ConfigError` where it cannot be meant so; hits without end and A-STEP boards cannot.
    """
    config = write_config(folder / "generated.toml", hits, **board)
    if not config.emulator.hits_limit or config.board.kind != "gecco" or config.emulator.source != "hits":
        raise ConfigError(["a generated run has a number of hits, from the seed of a GECCO board"])
    directory = folder / run_name(run)
    directory.mkdir()
    path = directory / file_name(run, 0)
    header = {
        "run": run,
        "daq": _NAME,
        "comment": comment,
        "begin_ns": BEGIN_NS,
        "chips": config.board.chips,
        "full_readout_bytes": config.board.readout_bytes,
        "configuration": config.model_dump(mode="json"),
        "file": 0,
    }
    with apx_open(path, "xb", FileHeader(config.board.readout_class, header)) as file:
        for readout in _readouts(config):
            file.write(readout.to_bytes())
    return Recording((path,))


def _readouts(config: Config) -> Iterator[AbstractAstroPixReadout]:
    board = config.board
    source = SeededHits(config.emulator, board.chips, board.chip_version)
    readout_id = polls = 0
    while not source.exhausted:
        polls += 1
        elapsed_ns = int(polls * max(board.poll_interval_ms, 1.0) * 1e6)
        data = source.take(elapsed_ns / 1e9, config.emulator.fifo_bytes, 0)
        for start in range(0, len(data), board.readout_bytes):
            readout = board.readout_class(data[start : start + board.readout_bytes], readout_id, BEGIN_NS + elapsed_ns)
            if readout.data():
                yield readout
                readout_id += 1
