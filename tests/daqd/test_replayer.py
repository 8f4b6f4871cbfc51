"""`daqd replay`, in process and as a process: what subscribers get, how it ends."""

import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from daqd.children.child_process import ChildError
from daqd.commands.replay_history import ReplayHistory
from daqd.commands.replayer import Replayer, ReplayOptions, history_beside
from daqd.configuration.config import SecuritySection
from daqd.following.recorded_runs import ReplayError, recorded_runs
from daqd.following.replay_progress import ReplayProgress
from daqd.publishing.stream import Stream, StreamError
from protocol.decode import StreamDecoder
from protocol.hit import HitTable
from protocol.readout import AstroPix4Readout
from protocol.wire.messages import Message, Topic
from tests.daqd.file_bytes import header_bytes, record_bytes
from tests.daqd.listener import Collector
from tests.daqd.made_readouts import CHIPS, make_readouts
from tests.daqd.published import Published
from tests.daqd.run_on_disk import Readout, number_readouts
from tests.daqd.waiting import DEADLINE_S, wait_until

pytestmark = pytest.mark.slow

READOUTS = number_readouts(make_readouts(300, seed=31))
SLOW = [(number, 10_000_000_000 * (number + 1), b"\xbc") for number in range(1000)]


def write(path: Path, readouts: Sequence[Readout], **header: Any) -> Path:
    path.write_bytes(header_bytes(**header) + b"".join(record_bytes(*readout) for readout in readouts))
    return path


@pytest.fixture
def handlers() -> Iterator[None]:
    """Signals mean afterwards what they meant before."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    return write(tmp_path / "a.apx", READOUTS, run=7, daq="bench", chips=CHIPS)


def decode(readouts: Sequence[Readout]) -> HitTable:
    decoder = StreamDecoder(CHIPS)
    hits = decoder.decode(AstroPix4Readout(data, number, time) for number, time, data in readouts)
    return np.concatenate([hits, decoder.flush()])


def options(tmp_path: Path, *files: Path, **given: Any) -> ReplayOptions:
    usual: dict[str, Any] = {
        "speed": "max",
        "loop": False,
        "stay": False,
        "bind": f"ipc://{tmp_path}/s",
        "catch_up": "",
        "wait_for": 1,
        "chips": None,
        "max_hits": 8192,
        "raw": False,
        "batch_s": 0.005,
        "name": "replay",
    }
    return ReplayOptions(files=files, **{**usual, **given})


def replayed(options: ReplayOptions) -> tuple[int, list[Message]]:
    """Exit code, and everything that a subscriber got."""
    with Collector(options.bind) as collector:
        code = Replayer(options).run()
        messages = collector.wait_for(lambda messages: _over(messages, len(options.files)))
    return code, messages


def _over(messages: list[Message], runs: int) -> bool:
    """All runs have ended, and the state was told after that."""
    ends = [message for message in messages if message.topic is Topic.RUN and message.run().event == "end"]
    return len(ends) == runs and messages[-1].topic is Topic.STAT


def test_everything_reaches_the_subscriber(tmp_path: Path, recorded: Path) -> None:
    code, messages = replayed(options(tmp_path, recorded))
    assert code == 0
    published = Published(messages)
    np.testing.assert_array_equal(published.hits, decode(READOUTS))
    assert {(message.header.daq, message.header.pass_) for message in published.of(Topic.HITS)} == {("replay", 1)}
    assert {message.header.run for message in published.of(Topic.HITS)} == {7}
    for topic in Topic:
        numbers = [message.header.seq for message in published.of(topic)]
        assert numbers == list(range(len(numbers)))
    stat = published.of(Topic.STAT)[-1].stat()
    assert (stat.state, stat.chips, stat.file) == ("idle", CHIPS, str(recorded))
    assert stat.counts["readouts"] == len(READOUTS)
    assert stat.publisher.subscribers == 1
    assert stat.publisher.dropped == 0
    assert stat.ledger == published.ledger


def test_several_runs_names_records_and_small_messages(tmp_path: Path, recorded: Path) -> None:
    other = write(tmp_path / "b.apx", READOUTS[:10])
    code, messages = replayed(options(tmp_path, recorded, other, name="again", raw=True, max_hits=3, chips=CHIPS))
    assert code == 0
    published = Published(messages)
    assert {message.header.daq for message in messages} == {"again"}
    assert [event.record.run for event in published.events] == [7, 7, 2, 2]
    assert len(published.hits) == len(decode(READOUTS)) + len(decode(READOUTS[:10]))
    assert max(message.header.n or 0 for message in published.of(Topic.HITS)) < 20
    raw = b"".join(message.payload for message in published.of(Topic.RAW))
    assert raw == b"".join(record_bytes(*readout) for readout in READOUTS + READOUTS[:10])


def test_a_damaged_file_is_told_to_all_and_is_a_failure(tmp_path: Path, recorded: Path) -> None:
    with recorded.open("ab") as file:
        file.write(b"damage")
    code, messages = replayed(options(tmp_path, recorded))
    assert code == 1
    published = Published(messages)
    np.testing.assert_array_equal(published.hits, decode(READOUTS))
    assert len(published.log) == 1
    assert "no record marker" in published.log[0]


def test_nobody_need_listen(tmp_path: Path, recorded: Path) -> None:
    """Nor has anybody told it to end: signals mean then what they meant before."""
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    assert Replayer(options(tmp_path, recorded, wait_for=0)).run() == 0
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_a_slow_subscriber_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Far more messages than may wait for it: the replay waits."""
    readouts = [(number, 1, bytes.fromhex("e05042030620d701") * 200) for number in range(2000)]
    path = write(tmp_path / "a.apx", readouts)
    with Collector(f"ipc://{tmp_path}/s", ["hits", "run"], keep_payloads=False) as collector:
        go_on, sleep = collector.pause(), time.sleep

        def waiting(seconds: float) -> None:
            go_on.set()  # the replay has begun to wait for it
            sleep(seconds)

        monkeypatch.setattr("daqd.publishing.stream.time.sleep", waiting)
        assert Replayer(options(tmp_path, path, max_hits=200)).run() == 0
        messages = collector.wait_for(lambda messages: sum(message.header.n or 0 for message in messages) == 400_000)
    assert len([message for message in messages if message.topic is Topic.HITS]) == 2000


@pytest.mark.usefixtures("handlers")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("when", ["waiting for subscribers", "waiting for time to pass", "flat out, for ever"])
def test_signals_end_it_in_order(tmp_path: Path, recorded: Path, number: signal.Signals, when: str) -> None:
    before = signal.getsignal(number)
    given: dict[str, Any]
    wanted: Callable[[list[Message]], bool]
    match when:
        case "waiting for subscribers":
            given, wanted = {"wait_for": 2}, lambda _: True
        case "waiting for time to pass":
            given, wanted = {"speed": 1.0}, lambda messages: any(message.topic is Topic.STAT for message in messages)
        case _:
            given, wanted = {"loop": True}, lambda messages: messages[-1:] != [] and messages[-1].header.pass_ > 3
    path = write(tmp_path / "s.apx", SLOW) if "time" in when else recorded
    with Collector(f"ipc://{tmp_path}/s") as collector:

        def interrupt() -> None:
            wait_until("it takes signals", lambda: signal.getsignal(number) is not before)
            collector.wait_for(wanted)
            signal.pthread_kill(main, number)

        main = threading.main_thread().ident
        assert main is not None
        helper = threading.Thread(target=interrupt)
        helper.start()
        assert Replayer(options(tmp_path, path, **given)).run() == 0
        helper.join(DEADLINE_S)
    assert signal.getsignal(number) is signal.SIG_IGN  # also while the interpreter is taken down


@pytest.mark.parametrize(
    ("bind", "past"),
    [
        ("tcp://127.0.0.1:5556", "tcp://127.0.0.1:5557"),
        ("tcp://[::1]:5556", "tcp://[::1]:5557"),
        ("tcp://127.0.0.1:*", "tcp://127.0.0.1:*"),
        ("tcp://127.0.0.1:65535", "tcp://127.0.0.1:*"),
        ("ipc:///run/a:7", "ipc:///run/a:7.past"),
    ],
)
def test_where_the_past_is_by_default(bind: str, past: str) -> None:
    assert history_beside(bind) == past


def test_an_address_of_the_past_that_is_taken(tmp_path: Path, recorded: Path) -> None:
    """One that was asked for has to be had, another is found otherwise."""
    with Stream("tcp://127.0.0.1:*", "x", 1) as taken:
        with pytest.raises(ChildError, match=f"did not start at {taken.endpoint}"):
            Replayer(options(tmp_path, recorded, wait_for=0, catch_up=taken.endpoint)).run()
        with (
            ReplayProgress(1, None, recorded_runs([recorded])) as progress,
            ReplayHistory(taken.endpoint, progress.path, SecuritySection(), any_port=True) as past,
        ):
            past.wait_until_ready(lambda: False)
            assert past.endpoint.startswith("tcp://127.0.0.1:")
            assert past.endpoint != taken.endpoint
            assert not past.requested_within(DEADLINE_S)


def test_what_cannot_be_replayed(tmp_path: Path, recorded: Path) -> None:
    with pytest.raises(ReplayError, match="cannot replay"):
        Replayer(options(tmp_path, tmp_path / "missing.apx")).run()
    with Stream("tcp://127.0.0.1:*", "x", 1) as other, pytest.raises(StreamError, match="cannot publish at"):
        Replayer(options(tmp_path, recorded, bind=other.endpoint)).run()
