"""`daqd replay`: recorded files, through the publisher, to whoever listens."""

import contextlib
import logging
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import zmq

from astropix_runtime.command_line.program import FAILED, OK
from astropix_runtime.process.signals import noted_signals
from astropix_runtime.sockets.key_files import ServerKeys
from daqd.commands.replay_history import ReplayHistory
from daqd.configuration.config import SecuritySection
from daqd.errors import DaqError
from daqd.following.feed import Complaint
from daqd.following.recorded_runs import RecordedRun, recorded_runs
from daqd.following.replay_progress import ReplayProgress
from daqd.publishing.replay import Replay, Speed
from daqd.publishing.run_publisher import RunPublisher
from daqd.publishing.send_budget import SendBudget
from daqd.publishing.stream import Stream
from protocol.text import counted
from protocol.version import __version__
from protocol.wire.messages import DaemonState, PublisherStat, Rates, Stat, Topic, encode_body

log = logging.getLogger(__name__)

_STAT_INTERVAL_S = 1.0
_MAX_SEND_S = 10.0
"""How long a message may wait for room: a subscriber that reads, however slowly, gets everything."""

_LINGER_S = 10.0
_HIGH_WATER = 64
_LAST_PORT = 65535
_QUIET_S = 3.0
"""Late joiners that still need history ask again sooner than this."""


@dataclass(frozen=True)
class ReplayOptions:
    """See `daqd replay --help`.

    `catch_up`: where history is served; empty: nowhere; None: beside `bind`. `security`: what `keys` come from.
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
    """Publishes recorded files, and serves the history of what was published.

    `run` returns the exit code: `FAILED` if a file was damaged.
    """

    def __init__(self, options: ReplayOptions) -> None:
        self._options = options
        self._stopped = False

    def run(self) -> int:
        """Replay everything; SIGINT and SIGTERM end it at once and in order."""
        options = self._options
        runs = recorded_runs(options.files)
        feed = Replay(runs, speed=options.speed, loop=options.loop, chips=options.chips)
        with (
            contextlib.closing(feed),
            Stream(options.bind, options.name, _HIGH_WATER, SendBudget(_MAX_SEND_S), keys=options.keys) as stream,
            noted_signals(self._stop),
            contextlib.ExitStack() as beside,
        ):
            files = sum(len(run.files) for run in runs)
            log.info("replaying %s at %s", counted(files, "file"), stream.endpoint)
            history = self._start_history(beside, runs, stream)
            replaying = _Replaying(options, feed, stream, history, lambda: self._stopped)
            replaying.wait_for_subscribers()
            replaying.publish()
            log.info("%d readouts replayed", feed.readouts)
            if feed.exhausted and history is not None:
                replaying.serve_late_joiners()
            stream.close(_LINGER_S if not self._stopped else 0.5)
        return FAILED if feed.damaged else OK

    def _start_history(
        self, beside: contextlib.ExitStack, runs: list[RecordedRun], stream: Stream
    ) -> "_History | None":
        """Serve the history before there is any; None if that is not wanted."""
        options = self._options
        bind = history_beside(options.bind) if options.catch_up is None else options.catch_up
        if not bind:
            return None
        try:
            progress = beside.enter_context(ReplayProgress(stream.started_ns, options.chips, runs))
        except OSError as error:
            raise DaqError(f"cannot note how far the replay is: {error}; --catch-up '' goes without") from error
        server = ReplayHistory(bind, progress.path, options.security, any_port=options.catch_up is None)
        beside.enter_context(server)
        server.wait_until_ready(lambda: self._stopped)
        if server.endpoint:
            log.info("answering for the past at %s", server.endpoint)
        return _History(server, progress)

    def _stop(self, _: signal.Signals) -> None:
        self._stopped = True


@dataclass(frozen=True)
class _History:
    server: ReplayHistory
    progress: ReplayProgress


class _Replaying:
    """Publishes `feed` on `stream`. `stopped()`: whether to end now."""

    def __init__(
        self,
        options: ReplayOptions,
        feed: Replay,
        stream: Stream,
        history: _History | None,
        stopped: Callable[[], bool],
    ) -> None:
        self._options = options
        self._feed = feed
        self._stream = stream
        self._history = history
        self._stopped = stopped
        self._publisher = RunPublisher(stream, max_hits=options.max_hits, raw=options.raw)
        self._rated = (time.monotonic(), 0)
        self._run: int | None = None
        self._requests_at_start = 0

    def wait_for_subscribers(self) -> None:
        wanted = self._options.wait_for
        if wanted:
            log.info("waiting for %d subscriber%s (--wait-for 0 begins at once)", wanted, "" if wanted == 1 else "s")
        while not self._stopped() and not self._stream.wait_for_subscribers(wanted, timeout_s=0.25):
            pass
        self._requests_at_start = self._stream.subscriptions

    def publish(self) -> None:
        feed, stream = self._feed, self._stream
        next_stat = 0.0
        while not self._stopped() and not feed.exhausted:
            for event in feed.poll():
                if self._history is not None and feed.progress is not None:
                    self._history.progress.tell(feed.progress)
                self._publisher.handle(event)
                self._run = self._publisher.run if self._publisher.run is not None else self._run
                if isinstance(event, Complaint):
                    log.warning("%s", event.text)
            now = time.monotonic()
            if now >= next_stat or feed.exhausted:
                next_stat = now + _STAT_INTERVAL_S
                self._publish_stat()
            wait_s = feed.wait_s()
            if wait_s:
                wait_s = max(wait_s, self._options.batch_s)
                stream.socket.poll(int(min(wait_s, next_stat - now) * 1000) + 1, zmq.POLLIN)
            stream.take_subscriptions()

    def serve_late_joiners(self) -> None:
        """Publish what was replayed, and serve history: whoever joined late is still asking for what came before."""
        stay = self._options.stay
        if stay and not self._stopped():
            log.info("staying until interrupted")
        over = time.monotonic()
        next_stat = over + _STAT_INTERVAL_S
        while not self._stopped():
            self._stream.take_subscriptions()
            now = time.monotonic()
            late = self._stream.subscriptions > self._requests_at_start and now - over < _QUIET_S
            if not (stay or (self._stream.subscribers and (late or self._requested()))):
                return
            if now >= next_stat:
                next_stat = now + _STAT_INTERVAL_S
                self._publish_stat()
            self._stream.socket.poll(50, zmq.POLLIN)

    def _requested(self) -> bool:
        return self._history is not None and self._history.server.requested_within(_QUIET_S)

    def _publish_stat(self) -> None:
        feed, stream, publisher = self._feed, self._stream, self._publisher
        ledger = publisher.decoder.ledger
        now = time.monotonic()
        then, readouts = self._rated
        self._rated = (now, feed.readouts)
        stat = Stat(
            state=DaemonState.IDLE if feed.exhausted else DaemonState.REPLAY,
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
            catch_up="" if self._history is None else self._history.server.endpoint,
            version=__version__,
        )
        stream.send(Topic.STAT, encode_body(stat), run=self._run, pass_=publisher.pass_)


def history_beside(bind: str) -> str:
    """Default endpoint of the history of a stream at `bind`: the next port, or a path beside its own."""
    at, _, port = bind.rpartition(":")
    if not at.startswith("tcp://"):
        return f"{bind}.past"
    return f"{at}:{int(port) + 1}" if port.isdigit() and int(port) < _LAST_PORT else f"{at}:*"
