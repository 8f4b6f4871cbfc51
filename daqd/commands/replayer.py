"""`daqd replay`: recorded files, through the publisher, to whoever listens."""

import contextlib
import logging
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import zmq

from daqd.exit_codes import FAILED, OK
from daqd.following.feed import Complaint
from daqd.publishing.patience import Patience
from daqd.publishing.replay import Replay, Speed, recorded_runs
from daqd.publishing.run_publisher import RunPublisher
from daqd.publishing.stream import Stream
from protocol.version import __version__
from protocol.wire.allowed_clients import ServerKeys
from protocol.wire.messages import PublisherStat, Rates, Stat, Topic, encode_body
from protocol.words import counted

log = logging.getLogger(__name__)

_STAT_INTERVAL_S = 1.0
_PATIENCE_S = 10.0
"""How long a message may wait for room: everybody who reads, however slowly, is to get everything."""

_LINGER_S = 10.0
_HIGH_WATER = 64


@dataclass(frozen=True)
class ReplayOptions:
    """See `daqd replay --help`."""

    files: tuple[Path, ...]
    speed: Speed
    loop: bool
    bind: str
    wait_for: int
    chips: int | None
    max_hits: int
    raw: bool
    batch_s: float
    name: str
    keys: ServerKeys | None = None


class Replayer:
    """Publishes recorded files. `run` returns the exit code: `FAILED` where a file was damaged."""

    def __init__(self, options: ReplayOptions) -> None:
        self._options = options
        self._stopped = False
        self._rated = (time.monotonic(), 0)

    def run(self) -> int:
        """Replay everything; SIGINT and SIGTERM end it at once and in order."""
        options = self._options
        feed = Replay(recorded_runs(options.files), speed=options.speed, loop=options.loop, chips=options.chips)
        with (
            contextlib.closing(feed),
            Stream(options.bind, options.name, _HIGH_WATER, Patience(_PATIENCE_S), keys=options.keys) as stream,
            self._signals(),
        ):
            publisher = RunPublisher(stream, max_hits=options.max_hits, raw=options.raw)
            log.info("replaying %s at %s", counted(len(options.files), "file"), stream.endpoint)
            self._wait_for_subscribers(stream)
            self._publish(feed, publisher, stream)
            log.info("%d readouts replayed", feed.readouts)
            stream.close(_LINGER_S if not self._stopped else 0.5)
        return FAILED if feed.damaged else OK

    def _wait_for_subscribers(self, stream: Stream) -> None:
        wanted = self._options.wait_for
        if wanted:
            log.info("waiting for %d subscriber%s (--wait-for 0 begins at once)", wanted, "" if wanted == 1 else "s")
        while not self._stopped and not stream.wait_for_subscribers(wanted, timeout_s=0.25):
            pass

    def _publish(self, feed: Replay, publisher: RunPublisher, stream: Stream) -> None:
        next_stat = 0.0
        while not self._stopped and not feed.exhausted:
            for event in feed.poll():
                publisher.handle(event)
                if isinstance(event, Complaint):
                    log.warning("%s", event.text)
            now = time.monotonic()
            if now >= next_stat or feed.exhausted:
                next_stat = now + _STAT_INTERVAL_S
                self._publish_stat(feed, publisher, stream)
            wait_s = feed.wait_s()
            if wait_s:
                wait_s = max(wait_s, self._options.batch_s)
                stream.socket.poll(int(min(wait_s, next_stat - now) * 1000) + 1, zmq.POLLIN)
            stream.take_subscriptions()

    def _publish_stat(self, feed: Replay, publisher: RunPublisher, stream: Stream) -> None:
        ledger = publisher.decoder.ledger
        now = time.monotonic()
        then, readouts = self._rated
        self._rated = (now, feed.readouts)
        stat = Stat(
            state="replay",
            run=publisher.run,
            pass_=publisher.pass_,
            chips=publisher.decoder.chips,
            file=str(self._options.files[0]),
            rates=Rates(readouts_hz=(feed.readouts - readouts) / max(now - then, 1e-3), hits_hz=publisher.hits_hz),
            counts={"readouts": ledger.readouts, "readout_bytes": ledger.bytes_read},
            ledger=ledger.to_dict(),
            publisher=PublisherStat(
                messages=stream.messages,
                hits=ledger.hits,
                dropped=stream.dropped,
                subscribers=stream.subscribers,
                refused=stream.refused,
            ),
            version=__version__,
        )
        stream.send(Topic.STAT, encode_body(stat), run=publisher.run, pass_=publisher.pass_)

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        def stop(*_: object) -> None:
            self._stopped = True

        before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
