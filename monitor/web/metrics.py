"""What Prometheus asks for: the state in numbers, made when it is asked for."""

from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from monitor.receiver import Receiver
from monitor.state.monitor_state import MonitorSummary
from protocol.ledger import BYTE_COUNTS
from protocol.wire.alarms import Alarm, AlarmLevel
from protocol.wire.messages import Stat

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_PREFIX = "astropix_"
_STATES = ("idle", "configured", "running", "recovering", "error", "replay", "stopping", "silent")


class Metrics:
    """The text at /metrics. A registry of its own: nothing of the process is told. `browsers`: how many look on;
    `alarms`: of a sanity checker, None where there is none.
    """

    def __init__(
        self, receiver: Receiver, browsers: Callable[[], int], alarms: Callable[[], tuple[Alarm, ...] | None]
    ) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(_StateCollector(receiver, browsers, alarms))

    def text(self) -> bytes:
        """In the format of Prometheus; None of the names is there before there is something to tell."""
        return bytes(generate_latest(self._registry))


class _StateCollector(Collector):
    def __init__(
        self, receiver: Receiver, browsers: Callable[[], int], alarms: Callable[[], tuple[Alarm, ...] | None]
    ) -> None:
        self._receiver = receiver
        self._browsers = browsers
        self._alarms = alarms

    def describe(self) -> list[Metric]:
        """Nothing beforehand."""
        return []

    def collect(self) -> Iterator[Metric]:
        """All of them, as they are now."""
        with self._receiver.state() as state:
            summary = state.summary(self._receiver.counters)
            histograms = state.histograms
            chips = [(place, int(histograms.chip_hits[histograms.geometry.slot(place)])) for place in state.chips()]
        yield _gauge("monitor_browsers", "Browsers that look at the page", self._browsers())
        yield _gauge("sanity_up", "Whether a sanity checker tells its alarms", self._alarms() is not None)
        alarms = GaugeMetricFamily(f"{_PREFIX}alarms", "Alarms of the sanity checker", labels=["level"])
        for level in AlarmLevel:
            alarms.add_metric([level.value], sum(alarm.level is level for alarm in self._alarms() or ()))
        yield alarms
        yield _gauge("monitor_up", "Whether anything has come from the stream", summary.age_s is not None)
        if summary.age_s is not None:
            yield _gauge("data_age_seconds", "Time since the last message of the stream", summary.age_s)
        yield _gauge("hits", "Hits of the run, as received", summary.hits)
        yield _gauge("readouts", "Readouts of the run, as received", summary.readouts)
        yield _gauge("hit_rate_hertz", "Hits per second, as received", summary.hits_hz)
        yield _gauge("readout_rate_hertz", "Readouts per second, as received", summary.readouts_hz)
        chip_hits = GaugeMetricFamily(f"{_PREFIX}chip_hits", "Hits of the run by chip", labels=["layer", "chip"])
        for place, hits in chips:
            chip_hits.add_metric(["" if place.layer is None else str(place.layer), str(place.chip)], hits)
        yield chip_hits
        yield from _of_stream(summary)
        if summary.stat is not None:
            yield from _of_daemon(summary, summary.stat)


def _of_stream(summary: MonitorSummary) -> Iterator[Metric]:
    counters = summary.counters
    missed = sum(counters["missed_messages"].values())
    yield _counter("missed_messages", "Messages of the stream that did not reach the monitor", missed)
    yield _counter("missed_readouts", "Readouts that did not reach the monitor", counters["missed_readouts"])
    yield _counter("malformed_messages", "Messages that are none", counters["malformed"])
    yield _counter("publisher_changes", "Publishers that followed another", counters["restarts"])
    yield _gauge("hits_outside", "Hits of the run that name no existing pixel", summary.outside)
    yield _gauge("hits_without_tot", "Hits of the run with an impossible ToT", summary.tot_invalid)


def _of_daemon(summary: MonitorSummary, stat: Stat) -> Iterator[Metric]:
    if summary.stat_age_s is not None:
        yield _gauge("state_age_seconds", "Time since the daemon told its state", summary.stat_age_s)
    yield _gauge("run", "Number of the run, or of the last; 0: none yet", stat.run or 0)
    yield _gauge("run_elapsed_seconds", "How long that run has taken", stat.elapsed_s)
    states = GaugeMetricFamily(
        f"{_PREFIX}state", "1 for the state of the daemon; silent where it has not told it for 3 s", labels=["state"]
    )
    for name in _STATES:
        states.add_metric([name], name == summary.state)
    yield states
    yield _gauge("board_bytes_per_second", "Bytes per second from the board", stat.rates.bytes_hz)
    yield _gauge("board_connected", "Whether the board is connected", stat.board.connected)
    board = GaugeMetricFamily(f"{_PREFIX}board_counter", "What the board counts, by its own words", labels=["name"])
    for name, value in stat.board.counters.items():
        if not isinstance(value, str):
            board.add_metric([name], value)
    yield board
    if stat.ledger is not None:
        ledger = GaugeMetricFamily(f"{_PREFIX}ledger_bytes", "Bytes of the run by what they are", labels=["kind"])
        for kind in BYTE_COUNTS:
            ledger.add_metric([kind], stat.ledger[kind])
        yield ledger
        yield _gauge("ledger_hits", "Hits of the run, as the publisher has decoded them", stat.ledger["hits"])
        yield _gauge(
            "ledger_dropped_hits", "Hits of the run that could not be put together", stat.ledger["dropped_hits"]
        )
    for name, count in stat.counts.items():
        yield _gauge(f"run_{name}", "Of the run, as the daemon counts it", count)
    yield _gauge("queue_bytes", "Memory of what waits for the disk", stat.queue.bytes)
    yield _gauge("queue_limit_bytes", "Most that may wait for the disk", stat.queue.limit_bytes)
    yield _gauge("disk_free_bytes", "Free space where the runs go", stat.disk.free_bytes)
    yield _gauge("disk_total_bytes", "Size of the disk where the runs go", stat.disk.total_bytes)
    yield _gauge("disk_level", "0: ok, 1: warning, 2: critical", ("ok", "warning", "critical").index(stat.disk.level))
    if stat.disk.time_to_full_s is not None:
        yield _gauge("disk_time_to_full_seconds", "Until the run has to end for lack of room", stat.disk.time_to_full_s)
    yield _gauge("publisher_subscribers", "Connections that get hits", stat.publisher.subscribers)
    yield _gauge("publisher_lag_bytes", "In the files, not yet published", stat.publisher.lag_bytes)
    yield _counter("publisher_dropped", "Messages that slow subscribers did not get", stat.publisher.dropped)
    yield _counter("publisher_restarts", "Publishers that died", stat.publisher.restarts)


def _gauge(name: str, what: str, value: float) -> Metric:
    return GaugeMetricFamily(_PREFIX + name, what, float(value))


def _counter(name: str, what: str, value: float) -> Metric:
    return CounterMetricFamily(_PREFIX + name, what, float(value))
