"""The publisher's process: follows, publishes, reports, ends with its input, and goes on where a killed one was."""

import itertools
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from daqd.children.messages import PublisherState, PublishLog, PublishStat
from daqd.publishing.checkpoint import CheckpointFile
from daqd.publishing.publish import parse_options
from daqd.runs.run_store import RunStore
from protocol.decode import StreamDecoder
from protocol.hit import HitTable
from protocol.ledger import Ledger
from protocol.readout import AstroPix4Readout
from protocol.wire.messages import LogLine, Message, Rates, Stat, Topic
from tests.daqd.file_bytes import record_bytes
from tests.daqd.listener import Collector, Listener
from tests.daqd.made_readouts import CHIPS, make_readouts
from tests.daqd.published import Published
from tests.daqd.publisher_child import PublisherChild
from tests.daqd.run_on_disk import Readout, RunOnDisk, number_readouts
from tests.daqd.waiting import DEADLINE_S, wait_until

pytestmark = pytest.mark.slow

READOUTS = number_readouts(make_readouts(400, seed=11))
HITS = ("hits", "run")


def decode(readouts: Sequence[Readout]) -> tuple[HitTable, Ledger]:
    decoder = StreamDecoder(CHIPS)
    hits = decoder.decode(AstroPix4Readout(data, number, time) for number, time, data in readouts)
    return np.concatenate([hits, decoder.flush()]), decoder.ledger


def ended(run: int) -> Callable[[list[Message]], bool]:
    """Whether the end of a run is among the last messages."""
    return lambda messages: any(
        message.topic is Topic.RUN and message.run().event == "end" and message.header.run == run
        for message in messages[-20:]
    )


def write_run(store: RunStore, run: int, files: Sequence[Sequence[Readout]]) -> None:
    RunOnDisk(store, run).write_all(files)


def subscribed(store: RunStore, number: int = 1) -> None:
    """Until the publisher counts so many subscribers, as its checkpoint tells."""

    def listening() -> bool:
        checkpoint = CheckpointFile(store.data_dir / "publisher.checkpoint").load()
        return checkpoint is not None and checkpoint.subscribers == number

    wait_until(f"{number} subscribers", listening)


def test_a_run_from_its_begin_to_its_ledger(store: RunStore) -> None:
    hits, ledger = decode(READOUTS)
    with PublisherChild(store) as child, Collector(child.endpoint) as collector:
        subscribed(store)
        write_run(store, 1, [READOUTS[:150], READOUTS[150:]])
        child.send()
        published = Published(collector.wait_for(ended(1)))
        decoded, state = child.wait_for_decoded()
        assert child.finish() == 0
    np.testing.assert_array_equal(published.hits, hits)
    assert published.ledger == ledger.to_dict() == decoded.ledger
    assert decoded.run == 1
    assert state.stat.hits == len(hits)
    assert {message.header.daq for message in published.messages} == {"bench"}
    assert [event.event for event in published.events] == ["begin", "end"]
    assert published.of(Topic.RAW) == []
    assert child.said == ""


def test_it_finds_everything_without_being_told(store: RunStore) -> None:
    with PublisherChild(store) as child, Collector(child.endpoint, HITS) as collector:
        subscribed(store)
        write_run(store, 1, [READOUTS])
        assert len(Published(collector.wait_for(ended(1))).hits) == len(decode(READOUTS)[0])
        assert child.finish() == 0


def test_it_publishes_everything_before_it_ends(store: RunStore) -> None:
    """The input ends when all is written: what was not published by then is published still."""
    with PublisherChild(store) as child, Collector(child.endpoint, HITS) as collector:
        subscribed(store)
        for run in range(1, 4):
            write_run(store, run, [READOUTS[:100], READOUTS[100:]])
        assert child.finish() == 0
        published = Published(collector.wait_for(ended(3)))
    assert [event.record.run for event in published.events if event.event == "end"] == [1, 2, 3]
    assert len(published.hits) == 3 * len(decode(READOUTS)[0])


def test_runs_of_earlier_daemons_are_not_published(store: RunStore) -> None:
    write_run(store, 1, [READOUTS])
    with PublisherChild(store, after_run=1) as child, Collector(child.endpoint) as collector:
        subscribed(store)
        write_run(store, 2, [READOUTS[:20]])
        published = Published(collector.wait_for(ended(2)))
        assert child.finish() == 0
    assert {message.header.run for message in published.messages} == {2}


def test_records_where_asked_for(store: RunStore) -> None:
    with PublisherChild(store, raw=True) as child, Collector(child.endpoint) as collector:
        subscribed(store)
        write_run(store, 1, [READOUTS])
        published = Published(collector.wait_for(ended(1)))
        assert child.finish() == 0
    raw = b"".join(message.payload for message in published.of(Topic.RAW))
    assert raw == b"".join(record_bytes(*readout) for readout in READOUTS)


def test_state_and_log_lines_of_the_daemon(store: RunStore) -> None:
    with PublisherChild(store) as child, Collector(child.endpoint) as collector:
        subscribed(store)
        run = RunOnDisk(store, 1)
        run.begin(READOUTS)
        child.send()
        collector.wait_for(lambda messages: len(Published(messages).hits) >= len(decode(READOUTS)[0]) - 1)
        child.send(PublishLog(line=LogLine(level="warning", text="the queue is filling")))
        child.send(PublishStat(stat=Stat(state="running", run=1, rates=Rates(readouts_hz=5.0))))
        child.send(PublishStat(stat=Stat(state="configured", run=9, ledger={"hits": 3})))
        messages = collector.wait_for(lambda messages: len(Published(messages).of(Topic.STAT)) == 2)
        assert child.finish() == 0
    published = Published(messages)
    (log,) = published.of(Topic.LOG)
    assert (log.log().level, log.log().text) == ("warning", "the queue is filling")
    current, other = (message.stat() for message in published.of(Topic.STAT))
    assert current.rates.readouts_hz == 5.0
    assert current.ledger is not None
    assert current.ledger["readouts"] == len(READOUTS)
    assert current.publisher.hits == len(published.hits)
    assert current.publisher.subscribers == 1
    assert current.publisher.lag_bytes == 0
    assert (other.run, other.ledger) == (9, {"hits": 3})


def test_garbage_on_its_input_changes_nothing(store: RunStore) -> None:
    with PublisherChild(store) as child, Collector(child.endpoint) as collector:
        child.write(b"\n\nnonsense\n" + bytes(range(256)) * 50 + b"\n" + b"[" * 200_000 + b"\n{\n" + b'{"stat": {}}\n')
        subscribed(store)
        write_run(store, 1, [READOUTS])
        child.write(b'{"kind": "log", "line": {"level": "info", ')
        child.write(b'"text": "in two pieces"}}\nunfinished')
        published = Published(collector.wait_for(ended(1)))
        collector.wait_for(lambda messages: Published(messages).log == ["in two pieces"])
        assert child.finish() == 0
    assert len(published.hits) == len(decode(READOUTS)[0])
    assert child.said == ""


def test_a_damaged_file_is_told_to_the_operator(store: RunStore) -> None:
    with PublisherChild(store) as child, Collector(child.endpoint) as collector:
        subscribed(store)
        run = RunOnDisk(store, 1)
        run.make_directory()
        run.write_record()
        run.next_file()
        run.append(run.header + record_bytes(*READOUTS[0]) + b"damage" * 10)
        run.rename()
        run.next_file()
        run.append(run.header)
        run.append_readouts(READOUTS[1:])
        run.rename()
        run.write_record("finished")
        published = Published(collector.wait_for(ended(1)))
        assert child.finish() == 0
    assert len(published.log) == 1
    assert "run_000001_0000.apx: at byte" in published.log[0]
    assert published.ledger["readouts"] == len(READOUTS)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_to_the_whole_group_do_not_end_it(store: RunStore, number: signal.Signals) -> None:
    with PublisherChild(store) as child, Collector(child.endpoint, HITS) as collector:
        subscribed(store)
        child.process.send_signal(number)
        write_run(store, 1, [READOUTS])
        collector.wait_for(ended(1))
        assert child.finish() == 0


def test_it_ends_when_the_daemon_is_gone(store: RunStore) -> None:
    """Nobody reads its reports any more, and its input has ended."""
    reading, writing = os.pipe()
    command = [
        sys.executable,
        "-m",
        "daqd.publishing.publish",
        f"--data-dir={store.data_dir}",
        "--daq=b",
        "--bind=tcp://127.0.0.1:*",
    ]
    command += ["--batch-s=0.001", "--max-hits=9", "--high-water=9", "--after-run=0"]
    command += [f"--checkpoint={store.data_dir / 'c'}"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=writing, stderr=subprocess.DEVNULL) as process:
        os.close(writing)
        assert os.read(reading, 1 << 16).startswith(b'{"kind":"ready"')
        os.close(reading)
        process.wait(DEADLINE_S)


def test_an_address_that_is_taken(store: RunStore) -> None:
    with PublisherChild(store) as first, PublisherChild(store, bind=first.endpoint) as second:
        assert second.process.wait(DEADLINE_S) == 1
        wait_until("it says why", lambda: second.said.endswith("\n"))
        assert second.said.startswith(f"<3>cannot publish at {first.endpoint}: Address already in use")
        assert second.said.count("\n") == 1
        assert second.messages == []
        assert first.finish() == 0


def test_a_checkpoint_that_cannot_be_written_is_told_and_stops_nothing(store: RunStore) -> None:
    with (
        PublisherChild(store, checkpoint=store.data_dir / "no" / "such" / "place") as child,
        Collector(child.endpoint, HITS) as collector,
    ):
        child.wait_for(PublisherState, lambda state: state.stat.subscribers == 1)
        write_run(store, 1, [READOUTS])
        collector.wait_for(ended(1))
        assert child.finish() == 0
    assert child.said.startswith("<4>cannot write ")
    assert child.said.count("cannot write") == 1


def unique(hits: HitTable) -> HitTable:
    """Each hit once, in order; what comes again must be the same."""
    order = np.lexsort((hits["decoding_order"], hits["readout_id"]))
    hits = hits[order]
    ids = np.stack([hits["readout_id"].astype(np.int64), hits["decoding_order"].astype(np.int64)], axis=1)
    again = np.concatenate([[False], (ids[1:] == ids[:-1]).all(axis=1)])
    np.testing.assert_array_equal(hits[again], hits[np.flatnonzero(again) - 1])
    return hits[~again]


@pytest.mark.parametrize("seed", range(4))
def test_killed_in_the_middle_of_a_run_that_is_being_written(store: RunStore, seed: int) -> None:
    """Killed at some moment, twice; whoever listened all the time has every hit, and knows what came twice."""
    dice = random.Random(seed)
    hits, ledger = decode(READOUTS)
    steps = RunOnDisk(store, 1).steps([READOUTS[:130], READOUTS[130:131], READOUTS[131:]], torn=True)
    kills = sorted(dice.sample(range(20, len(steps)), 2))
    with PublisherChild(store) as first:
        endpoint = first.endpoint
        with Collector(endpoint, HITS) as collector:
            subscribed(store)
            child = first
            for number, step in enumerate(steps):
                step()
                if number % 7 == 0:
                    child.send()
                if number in kills:
                    wait_until("something is published", lambda: len(collector.messages) > dice.randrange(40))
                    child.kill()
                    child = PublisherChild(store, bind=endpoint, restarts=kills.index(number) + 1)
                    assert child.endpoint == endpoint
            messages = collector.wait_for(ended(1))
            with child:
                decoded, state = child.wait_for_decoded()
                assert child.finish() == 0
    published = Published(messages)
    np.testing.assert_array_equal(unique(published.hits), hits)
    assert published.ledger == ledger.to_dict() == decoded.ledger
    assert state.stat.restarts == 2
    publishers = [publisher for publisher, _ in itertools.groupby(message.header.pub for message in messages)]
    assert 2 <= len(publishers) <= 3, "the second may have been killed before it was heard"
    for publisher in publishers:
        for topic in (Topic.HITS, Topic.RUN):
            numbers = [message.header.seq for message in published.of(topic) if message.header.pub == publisher]
            assert numbers == list(range(numbers[0], numbers[0] + len(numbers))) if numbers else True
    # Within each publisher's messages, nothing is left out; each begins at or before the end of the one before.
    expected = 0
    for message in published.of(Topic.HITS):
        begin, end = message.header.readouts or (-1, -1)
        assert begin <= expected
        expected = max(expected, end + 1)


def test_killed_between_runs(store: RunStore) -> None:
    with PublisherChild(store) as first:
        endpoint = first.endpoint
        with Collector(endpoint, HITS) as collector:
            subscribed(store)
            write_run(store, 1, [READOUTS])
            collector.wait_for(ended(1))
            first.kill()
            with PublisherChild(store, bind=endpoint, restarts=1) as second:
                write_run(store, 2, [READOUTS[:50]])
                messages = collector.wait_for(ended(2))
                assert second.finish() == 0
    hits = [message for message in messages if message.topic is Topic.HITS]
    for run, readouts in ((1, READOUTS), (2, READOUTS[:50])):
        of_run = Published([message for message in hits if message.header.run == run])
        np.testing.assert_array_equal(unique(of_run.hits), decode(readouts)[0])


@pytest.mark.parametrize("checkpoint", [None, "", "nonsense", '{"last_run": 1}'])
def test_a_restart_without_a_checkpoint_that_can_be_read_begins_anew(store: RunStore, checkpoint: str | None) -> None:
    write_run(store, 1, [READOUTS])
    write_run(store, 2, [READOUTS[:50]])
    if checkpoint is not None:
        (store.data_dir / "publisher.checkpoint").write_text(checkpoint)
    with PublisherChild(store, restarts=3, after_run=1) as child:
        decoded, state = child.wait_for_decoded()
        assert child.finish() == 0
    assert decoded.run == 2
    assert decoded.ledger == decode(READOUTS[:50])[1].to_dict()
    assert state.stat.restarts == 3


def test_the_checkpoint_of_an_earlier_daemon_is_not_followed(store: RunStore) -> None:
    """That one died in the middle of run 1, which is not for this one to publish; not even after a restart at once."""
    run = RunOnDisk(store, 1)
    run.begin(READOUTS)
    with PublisherChild(store) as earlier:
        earlier.wait_for(PublisherState, lambda state: state.run == 1)
        earlier.kill()
    assert CheckpointFile(store.data_dir / "publisher.checkpoint").load() is not None
    with PublisherChild(store, after_run=1) as child, Collector(child.endpoint) as collector:
        subscribed(store)
        write_run(store, 2, [READOUTS[:20]])
        messages = collector.wait_for(ended(2))
        assert child.finish() == 0
    assert {message.header.run for message in messages} == {2}


def test_a_subscriber_who_does_not_read_does_not_hold_it_up(store: RunStore) -> None:
    readouts = [(number, 0, bytes.fromhex("e05042030620d701") * 500) for number in range(2000)]
    with (
        PublisherChild(store, high_water=5, max_hits=5000) as child,
        Listener(child.endpoint, HITS, high_water=1),
        Collector(child.endpoint, HITS, keep_payloads=False),
    ):
        subscribed(store, 2)
        write_run(store, 1, [readouts])
        _, state = child.wait_for_decoded()
        assert child.finish() == 0
    assert state.stat.hits == 1_000_000
    assert state.stat.dropped >= 1


def test_options() -> None:
    text = "--data-dir=d --daq=b --bind=tcp://127.0.0.1:* --batch-s=0.005 --max-hits=8192 --high-water=1000"
    options = parse_options([*text.split(), "--after-run=7", "--checkpoint=d/c", "--raw", "--restarts=2"])
    assert (options.data_dir, options.checkpoint) == (Path("d"), Path("d/c"))
    assert (options.batch_s, options.max_hits, options.high_water) == (0.005, 8192, 1000)
    assert (options.after_run, options.raw, options.restarts) == (7, True, 2)
