"""`daqd-publish`: the child process that follows the files of the runs and publishes them. Started by the daemon."""

import argparse
import contextlib
import queue
import select
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from daqd.children.child_end import (
    DaemonPipe,
    add_key_options,
    keys_of,
    leave_signals_to_the_daemon,
    log_to_daemon,
)
from daqd.children.messages import FromChild, MoreData, PublisherState, PublishLog, PublishStat, Ready, RunDecoded
from daqd.errors import ConfigError
from daqd.following.feed import RunEnded
from daqd.following.follower import Follower
from daqd.publishing.checkpoint import Checkpoint, CheckpointFile
from daqd.publishing.run_publisher import RunPublisher
from daqd.publishing.send_budget import SendBudget
from daqd.publishing.stream import Stream, StreamError, live_budget
from daqd.runs.run_store import RunStore
from protocol.readout import uid_to_readout_class
from protocol.text import reason_of
from protocol.wire.messages import PublisherStat, Rates, Stat, Topic, encode_body

_HOUSEKEEPING_S = 0.25
_CHECKPOINT_S = 1.0
_REPORT_S = 1.0
_REJOIN_S = 3.0
"""How long those who were listening are waited for; they try to connect again once a second."""
_MAX_SEND_AFTER_RESTART_S = 1.0
_RESERVE_AFTER_RESTART_S = 10.0


@dataclass(frozen=True)
class PublishOptions:
    """The command line of the publisher; see `--help` of `python -m daqd.publishing.publish`."""

    data_dir: Path
    daq: str
    bind: str
    batch_s: float
    max_hits: int
    high_water: int
    raw: bool
    after_run: int
    checkpoint: Path
    restarts: int
    server_key: Path | None
    client_keys: Path | None


class PublisherProcess:
    """The loop of the child: follow, decode, publish, report to the daemon.

    `refusals`: who was refused at the stream's socket, from another thread.
    """

    def __init__(
        self,
        options: PublishOptions,
        stream: Stream,
        daemon: DaemonPipe,
        refusals: "queue.SimpleQueue[str]",
    ) -> None:
        self._options = options
        self._refusals = refusals
        self._stream = stream
        self._daemon = daemon
        self._publisher = RunPublisher(stream, max_hits=options.max_hits, raw=options.raw)
        self._checkpoints = CheckpointFile(options.checkpoint)
        self._finishing = False
        self._complaint = ""
        self._catching_up = False
        if not options.restarts:
            self._checkpoints.forget()
        self._follower = self._take_up(self._checkpoints.load())

    def _take_up(self, checkpoint: Checkpoint | None) -> Follower:
        store = RunStore(self._options.data_dir)
        settled = self._options.after_run
        if checkpoint is None:
            return Follower(store, after_run=settled, settled_run=settled)
        if checkpoint.decoder is not None:
            try:
                decoder = uid_to_readout_class(checkpoint.readout_uid).restore_decoder(checkpoint.decoder)
            except ValueError:
                return Follower(store, after_run=settled, settled_run=settled)
            self._publisher.resume(decoder, checkpoint.next_readout)
        self._stream.send_budget = SendBudget(_MAX_SEND_AFTER_RESTART_S, _RESERVE_AFTER_RESTART_S)
        self._catching_up = True
        self._stream.wait_for_subscribers(checkpoint.subscribers, _REJOIN_S)
        return Follower(store, after_run=checkpoint.last_run, settled_run=settled, position=checkpoint.position)

    def run(self) -> None:
        """Run until the daemon has ended the input, or is gone, and everything is published."""
        self._send(Ready(endpoint=self._stream.endpoint))
        sources = (self._daemon.source, self._stream.descriptor)
        next_report = next_checkpoint = next_look = 0.0
        last_batch = 0.0
        more = True
        while True:
            # ZeroMQ's own poller would ask the system four times where this asks once.
            ready, _, _ = select.select(sources, (), (), 0.0 if more else _HOUSEKEEPING_S)
            woken = self._daemon.source in ready and self._execute_messages()
            now = time.monotonic()
            if now >= next_look or self._stream.descriptor in ready:
                next_look = now + _HOUSEKEEPING_S
                self._stream.take_subscriptions()
            if woken or more or now - last_batch >= _HOUSEKEEPING_S:
                pause_s = last_batch + self._options.batch_s - now
                if pause_s > 0 and not more and not self._finishing:
                    time.sleep(pause_s)  # not for something to happen: to publish at most once in batch_s
                last_batch = time.monotonic()
                more = self._publish()
            now = time.monotonic()
            if now >= next_checkpoint:
                next_checkpoint = now + _CHECKPOINT_S
                self._checkpoint(now)
            if now >= next_report:
                next_report = now + _REPORT_S
                self._publish_refusals()
                self._send_state()
            if self._finishing and not more:
                return

    def close(self) -> None:
        """Close the file that is followed."""
        self._follower.close()

    def _publish(self) -> bool:
        """Publish what is there; returns whether there is more."""
        events = self._follower.poll()
        for event in events:
            self._publisher.handle(event)
            if isinstance(event, RunEnded):
                self._send(RunDecoded(run=event.record.run, ledger=self._publisher.decoder.ledger.to_dict()))
                self._send_state()
        more = self._follower.wait_s() is not None or (self._finishing and bool(events))
        if self._catching_up and not more:
            self._catching_up = False
            self._stream.send_budget = live_budget()
        return more

    def _execute_messages(self) -> bool:
        """Do what the daemon has sent; returns whether to look into the files now."""
        messages = self._daemon.receive()
        for message in messages:
            match message:
                case MoreData():
                    pass
                case PublishStat(stat=stat):
                    self._publish_stat(stat)
                case PublishLog(line=line):
                    self._publisher.log(line.level, line.text)
        self._finishing = self._finishing or self._daemon.ended
        return bool(messages) or self._finishing

    def _publish_stat(self, stat: Stat) -> None:
        """Complete the daemon's state with what only the publisher knows, and publish it."""
        rates = Rates.model_validate({**stat.rates.model_dump(), "hits_hz": self._publisher.hits_hz})
        ledger = self._publisher.decoder.ledger.to_dict() if self._publisher.run == stat.run else stat.ledger
        full = stat.model_copy(update={"rates": rates, "ledger": ledger, "publisher": self._stat()})
        self._stream.send(Topic.STAT, encode_body(full), run=stat.run)

    def _publish_refusals(self) -> None:
        """Publish, and log, who was refused."""
        while not self._refusals.empty():
            text = self._refusals.get_nowait()
            log_to_daemon(text)
            self._publisher.log("warning", text)

    def _stat(self) -> PublisherStat:
        return PublisherStat(
            messages=self._stream.messages,
            hits=self._publisher.decoder.ledger.hits,
            dropped=self._stream.dropped,
            subscribers=self._stream.subscribers,
            restarts=self._options.restarts,
            lag_bytes=self._follower.lag_bytes,
            refused=self._stream.refused,
        )

    def _send_state(self) -> None:
        self._send(
            PublisherState(
                run=self._publisher.run,
                ledger=self._publisher.decoder.ledger.to_dict(),
                hits_hz=self._publisher.hits_hz,
                stat=self._stat(),
            )
        )

    def _send(self, message: FromChild) -> None:
        if not self._daemon.send(message):
            self._finishing = True

    def _checkpoint(self, now: float) -> None:
        position = self._follower.position
        checkpoint = Checkpoint(
            last_run=self._follower.last_run,
            position=position,
            readout_uid=self._publisher.readout_uid,
            decoder=None if position is None else self._publisher.decoder.state(),
            next_readout=self._publisher.next_readout,
            subscribers=self._stream.subscribers,
        )
        complaint = ""
        try:
            self._checkpoints.passed(checkpoint, now)
        except OSError as error:
            complaint = f"cannot write {self._options.checkpoint}: {reason_of(error)}"
        if complaint != self._complaint:  # once, not four times a second all night
            log_to_daemon(complaint or f"{self._options.checkpoint} can be written again")
        self._complaint = complaint


def parse_options(argv: list[str] | None = None) -> PublishOptions:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="daqd-publish", description=__doc__)
    parser.add_argument("--data-dir", type=Path, required=True, help="where the runs are")
    parser.add_argument("--daq", required=True, help="name of the daemon")
    parser.add_argument("--bind", required=True, help="where to publish")
    parser.add_argument("--batch-s", type=float, required=True, help="publish at most once in so many seconds")
    parser.add_argument("--max-hits", type=int, required=True, help="hits in one message")
    parser.add_argument("--high-water", type=int, required=True, help="messages that may wait for a subscriber")
    parser.add_argument("--raw", action="store_true", help="publish the readout records, too")
    parser.add_argument("--after-run", type=int, required=True, help="publish the runs after this one")
    parser.add_argument("--checkpoint", type=Path, required=True, help="file that says where to go on")
    parser.add_argument("--restarts", type=int, default=0, help="how often it died before")
    add_key_options(parser)
    return PublishOptions(**vars(parser.parse_args(argv)))


def main(argv: list[str] | None = None) -> int:
    """Run the child."""
    options = parse_options(argv)
    leave_signals_to_the_daemon()
    refusals: queue.SimpleQueue[str] = queue.SimpleQueue()
    try:
        keys = keys_of(options.server_key, options.client_keys)
        stream = Stream(options.bind, options.daq, options.high_water, keys=keys, say=refusals.put)
    except (StreamError, ConfigError) as error:
        log_to_daemon(str(error), priority=3)
        return 1
    daemon = DaemonPipe(sys.stdin.fileno(), sys.stdout.fileno())
    try:
        with contextlib.closing(PublisherProcess(options, stream, daemon, refusals)) as process:
            process.run()
    finally:
        daemon.close()
        stream.close(linger_s=1.0)
    return 0


if __name__ == "__main__":
    sys.exit(main())
