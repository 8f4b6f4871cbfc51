"""`daqd replay`: recorded files, through the publisher, to whoever listens."""

import contextlib
import logging
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path

import zmq

from astropix_runtime.sockets.key_files import ServerKeys
from daqd.commands.replay_past import ReplayPast
from daqd.configuration.config import SecuritySection
from daqd.errors import DaqError
from daqd.exit_codes import FAILED, OK
from daqd.following.feed import Complaint
from daqd.following.recorded_runs import RecordedRun, recorded_runs
from daqd.following.replay_progress import ReplayProgress
from daqd.process.signals import noted_signals
from daqd.publishing.patience import Patience
from daqd.publishing.replay import Replay, Speed
from daqd.publishing.run_publisher import RunPublisher
from daqd.publishing.stream import Stream
from protocol.text import counted
from protocol.version import __version__
from protocol.wire.messages import PublisherStat, Rates, Stat, Topic, encode_body

log = logging.getLogger(__name__)

_STAT_INTERVAL_S = 1.0
_PATIENCE_S = 10.0
"""How long a message may wait for room: everybody who reads, however slowly, is to get everything."""

_LINGER_S = 10.0
_HIGH_WATER = 64
_LAST_PORT = 65535
_QUIET_S = 3.0
"""When nobody has asked for the past for so long, all who came late have what they need: they ask again sooner."""


@dataclass(frozen=True)
class ReplayOptions:
    """See `daqd replay --help`.

    `catch_up`: where the past can be asked for; empty: nowhere; None: beside `bind`. `security`: what `keys` come from.
    """

    files: tuple[Path, ...]
    speed: Speed
    loop: bool
    stay: bool
    bind: str
    catch_up: str | None
    wait_for: int
    chips: int | None
    max_hits: int
    raw: bool
    batch_s: float
    name: str
    keys: ServerKeys | None = None
    security: SecuritySection = field(default_factory=SecuritySection)


class Replayer:
    """Publishes recorded files, and answers for what was published.

    `run` returns the exit code: `FAILED` where a file was damaged.
    """

    def __init__(self, options: ReplayOptions) -> None:
        self._options = options
        self._stopped = False
        self._rated = (time.monotonic(), 0)
        self._run: int | None = None
        self._past: ReplayPast | None = None
        self._progress: ReplayProgress | None = None

    def run(self) -> int:
        """Replay everything; SIGINT and SIGTERM end it at once and in order."""
        options = self._options
        runs = recorded_runs(options.files)
        feed = Replay(runs, speed=options.speed, loop=options.loop, chips=options.chips)
        with (
            contextlib.closing(feed),
            Stream(options.bind, options.name, _HIGH_WATER, Patience(_PATIENCE_S), keys=options.keys) as stream,
            noted_signals(self._stop),
            contextlib.ExitStack() as beside,
        ):
            publisher = RunPublisher(stream, max_hits=options.max_hits, raw=options.raw)
            files = sum(len(run.files) for run in runs)
            log.info("replaying %s at %s", counted(files, "file"), stream.endpoint)
            self._answer(beside, runs, stream)
            self._wait_for_subscribers(stream)
            there_from_the_begin = stream.subscriptions
            self._publish(feed, publisher, stream)
            log.info("%d readouts replayed", feed.readouts)
            if feed.exhausted and self._past is not None:
                self._serve_the_late(feed, publisher, stream, there_from_the_begin)
            stream.close(_LINGER_S if not self._stopped else 0.5)
        return FAILED if feed.damaged else OK

    def _answer(self, beside: contextlib.ExitStack, runs: list[RecordedRun], stream: Stream) -> None:
        """Have the past answered for, before there is one."""
        options = self._options
        bind = past_beside(options.bind) if options.catch_up is None else options.catch_up
        if not bind:
            return
        try:
            self._progress = beside.enter_context(ReplayProgress(stream.started_ns, options.chips, runs))
        except OSError as error:
            raise DaqError(f"cannot note how far the replay is: {error}; --catch-up '' goes without") from error
        past = ReplayPast(bind, self._progress.path, options.security, any_port=options.catch_up is None)
        beside.enter_context(past)
        past.wait_until_ready(lambda: self._stopped)
        self._past = past
        if past.endpoint:
            log.info("answering for the past at %s", past.endpoint)

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
                if self._progress is not None and feed.progress is not None:
                    self._progress.tell(feed.progress)
                publisher.handle(event)
                self._run = publisher.run if publisher.run is not None else self._run
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

    def _serve_the_late(self, feed: Replay, publisher: RunPublisher, stream: Stream, from_the_begin: int) -> None:
        """Tell what was replayed, and answer for it: who joined late is still asking for what was before."""
        if self._options.stay and not self._stopped:
            log.info("staying until interrupted")
        over = time.monotonic()
        next_stat = over + _STAT_INTERVAL_S
        while not self._stopped:
            stream.take_subscriptions()
            now = time.monotonic()
            late = stream.subscriptions > from_the_begin and now - over < _QUIET_S
            if not (self._options.stay or (stream.subscribers and (late or self._asked()))):
                return
            if now >= next_stat:
                next_stat = now + _STAT_INTERVAL_S
                self._publish_stat(feed, publisher, stream)
            stream.socket.poll(50, zmq.POLLIN)

    def _asked(self) -> bool:
        return self._past is not None and self._past.asked_within(_QUIET_S)

    def _publish_stat(self, feed: Replay, publisher: RunPublisher, stream: Stream) -> None:
        ledger = publisher.decoder.ledger
        now = time.monotonic()
        then, readouts = self._rated
        self._rated = (now, feed.readouts)
        stat = Stat(
            state="idle" if feed.exhausted else "replay",
            run=self._run,
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
            catch_up="" if self._past is None else self._past.endpoint,
            version=__version__,
        )
        stream.send(Topic.STAT, encode_body(stat), run=self._run, pass_=publisher.pass_)

    def _stop(self, _: signal.Signals) -> None:
        self._stopped = True


def past_beside(bind: str) -> str:
    """Where the past is by default, for a stream at `bind`: the next port, or a path beside its own."""
    at, _, port = bind.rpartition(":")
    if not at.startswith("tcp://"):
        return f"{bind}.past"
    return f"{at}:{int(port) + 1}" if port.isdigit() and int(port) < _LAST_PORT else f"{at}:*"
