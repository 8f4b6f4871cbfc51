"""The state in words: what stands above the plots, and the single line where there is no terminal to draw on."""

from datetime import UTC, datetime

from rich.text import Text

from monitor.state.monitor_state import SILENT_S, LogEntry, MonitorSummary
from monitor.terminal.numbers import clock, grouped, percent, scaled
from protocol.ledger import Ledger
from protocol.text import printable

_STATE_STYLES = {
    "running": "bold black on green",
    "replay": "bold black on cyan",
    "recovering": "bold black on yellow",
    "error": "bold white on red",
}
_LEVEL_STYLES = {"warning": "yellow", "error": "bold red", "critical": "bold white on red", "debug": "dim"}


def _line(*parts: tuple[str, str]) -> Text:
    text = Text(no_wrap=True, overflow="ellipsis")
    for part, style in parts:
        text.append(printable(part, " "), style)
    return text


def _named(name: str, value: str, *, bad: bool = False, better_seen: bool = False) -> list[tuple[str, str]]:
    style = "bold white on red" if bad else "yellow" if better_seen else "bold"
    return [(f"{name} ", "dim"), (value, style), ("  ", "")]


def headline(
    summary: MonitorSummary,
    endpoint: str,
    *,
    frozen: bool = False,
    refusal: str = "",
    no_answer: str = "",
    page: str = "",
) -> Text:
    """State, run, file, elapsed time; and loudly, if nothing comes any more, or the server refuses us.

    `no_answer`: why nothing comes though connections are taken. `page`: where the same is shown to browsers.
    """
    if refusal:
        return _line((" REFUSED ", "bold white on red"), (f" {refusal}", ""))
    if summary.age_s is None:
        why = no_answer or f"for {endpoint}: nothing has come yet"
        return _line((" waiting ", "bold black on yellow"), (f" {why}", ""))
    stat, parts = summary.stat, list[tuple[str, str]]()
    state = "?" if stat is None else stat.state
    if summary.silent_s is None:
        parts.append((f" {state.upper()} ", _STATE_STYLES.get(state, "bold black on white")))
    else:
        # What it was last is no state of now: whoever passes by must not read "running" there.
        what = "NO DATA" if summary.age_s >= SILENT_S else "NO STATE"
        parts.append((f" {what} for {clock(summary.silent_s)} ", "bold white on red"))
        parts.append(("" if stat is None else f" was {state}", "dim"))
        parts.append((f" {no_answer}" if no_answer else "", "yellow"))
    if frozen:
        parts.append((" FROZEN ", "bold black on cyan"))
    parts.append((f" {summary.daq}", "bold"))
    run = stat.run if stat is not None and stat.run is not None else summary.run
    if run is not None:
        parts.append((f"  run {run}", "bold"))
        pass_ = stat.pass_ if stat is not None and stat.pass_ else summary.pass_
        parts.append((f" pass {pass_}" if pass_ else "", ""))
    if stat is not None:
        parts.append((f"  {clock(stat.elapsed_s)}", ""))
        if stat.reason:
            parts.append((f"  {stat.reason}", "bold red" if state == "error" else "yellow"))
        if stat.file:
            parts.append((f"  {stat.file.replace(chr(92), '/').rsplit('/', 1)[-1]}", "dim"))
    if summary.record is not None and summary.record.comment:
        parts.append((f"  “{summary.record.comment}”", "italic"))
    if page:
        parts.append((f"  {page}", "underline"))
    return _line(*parts)


def facts(summary: MonitorSummary) -> list[Text]:
    """Rates, losses, ledger, daemon: one line each."""
    return [_rates(summary), _losses(summary), _ledger(summary), _daemon(summary)]


def _rates(summary: MonitorSummary) -> Text:
    stat = summary.stat
    now = summary.silent_s is None  # else nobody knows how fast
    board = [] if stat is None or not stat.rates.bytes_hz else _named("board", scaled(stat.rates.bytes_hz, "B/s"))
    return _line(
        ("rates   ", "dim italic"),
        *_named("hits", f"{scaled(summary.hits_hz, 'Hz') if now else '-'} ({grouped(summary.hits)})"),
        *_named("readouts", f"{scaled(summary.readouts_hz, 'Hz') if now else '-'} ({grouped(summary.readouts)})"),
        *(board if now else []),
    )


def _losses(summary: MonitorSummary) -> Text:
    counters = summary.counters
    missed_messages = sum(counters["missed_messages"].values())
    missed = counters["missed_readouts"]
    bad_hits = summary.outside + summary.tot_invalid
    joined = counters["joined_at"]
    return _line(
        ("stream  ", "dim italic"),
        *_named("gaps", grouped(missed_messages), better_seen=missed_messages > 0),
        *_named("missed readouts", grouped(missed), bad=missed > 0),
        *_named("twice", grouped(counters["duplicate_hits"])),
        *_named("restarts", grouped(counters["restarts"]), better_seen=counters["restarts"] > 0),
        *(_named("impossible", grouped(bad_hits), bad=True) if bad_hits else []),
        *(_named("unpaired", grouped(summary.unpaired), better_seen=True) if summary.unpaired else []),
        *(_named("malformed", grouped(counters["malformed"]), bad=True) if counters["malformed"] else []),
        *(_named("joined at", grouped(joined)) if joined else []),
    )


def _ledger(summary: MonitorSummary) -> Text:
    counts = None if summary.stat is None else summary.stat.ledger
    if counts is None:
        return _line(("ledger  ", "dim italic"), ("nothing decoded yet", "dim"))
    ledger = Ledger.from_dict(counts)
    whole = ledger.bytes_read
    return _line(
        ("ledger  ", "dim italic"),
        *_named("hit", percent(ledger.hit, whole)),
        *_named("idle", percent(ledger.idle, whole)),
        *_named("pad", percent(ledger.padding, whole)),
        *_named("orphan", percent(ledger.orphan, whole), better_seen=ledger.orphan > 0),
        *_named("dropped", grouped(ledger.dropped_hits), better_seen=ledger.dropped_hits > 0),
        *_named("restored", grouped(ledger.restored_hits)),
        *([] if ledger.balanced else _named("", "DOES NOT ADD UP", bad=True)),
    )


def _daemon(summary: MonitorSummary) -> Text:
    stat = summary.stat
    if stat is None:
        return _line(("daemon  ", "dim italic"), ("no state yet", "dim"))
    queue, disk, board, publisher = stat.queue, stat.disk, stat.board, stat.publisher
    full = queue.limit_bytes > 0 and queue.bytes > queue.limit_bytes / 2
    at_board = f"{board.kind} {board.transport}".strip()
    lost = bool(at_board) and not board.connected
    return _line(
        ("daemon  ", "dim italic"),
        *(_named("board", f"{at_board} LOST", bad=True) if lost else []),
        *(_named("queue", percent(queue.bytes, queue.limit_bytes), bad=full) if queue.limit_bytes else []),
        *(_named("disk", scaled(disk.free_bytes, "B"), bad=disk.level != "ok") if disk.total_bytes else []),
        *_named("dropped", grouped(publisher.dropped), better_seen=publisher.dropped > 0),
        *_named("lag", scaled(publisher.lag_bytes, "B"), better_seen=publisher.lag_bytes > 1 << 20),
        *_named("readers", grouped(publisher.subscribers)),
        *(_named("board", at_board) if at_board and not lost else []),
    )


def log_line(entry: LogEntry) -> Text:
    """A line of the daemon's log."""
    at = datetime.fromtimestamp(entry.t / 1e9, UTC)
    style = _LEVEL_STYLES.get(entry.level, "")
    return _line((f"{at:%H:%M:%S} ", "dim"), (f"{entry.level:<8} ", style), (entry.text, style))


def one_line(summary: MonitorSummary, endpoint: str) -> str:
    """Everything of importance in one line of plain text."""
    parts = [headline(summary, endpoint).plain.strip()]
    if summary.age_s is not None:
        counters = summary.counters
        parts += [
            f"{grouped(summary.hits)} hits",
            scaled(summary.hits_hz, "Hz"),
            f"missed {grouped(counters['missed_readouts'])} readouts",
            f"gaps {grouped(sum(counters['missed_messages'].values()))}",
            f"restarts {grouped(counters['restarts'])}",
        ]
    return " | ".join(" ".join(part.split()) for part in parts)
