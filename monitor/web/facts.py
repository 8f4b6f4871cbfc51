"""The state in words and numbers, as the page shows it beside the plots: JSON-able."""

from collections.abc import Iterable
from typing import Any, Literal

from monitor.state.monitor_state import SILENT_S, MonitorSummary
from monitor.terminal.numbers import clock, grouped, percent, scaled
from protocol.ledger import Ledger
from protocol.wire.messages import Stat

LOG_LINES = 50

Level = Literal["", "good", "warning", "bad"]
Fact = tuple[str, str, Level]
"""What, how much, and what to think of it."""

_DISK_LEVELS: dict[str, Level] = {"warning": "warning", "critical": "bad"}
_STATE_LEVELS: dict[str, Level] = {"running": "good", "replay": "good", "recovering": "warning", "error": "bad"}


def facts(summary: MonitorSummary, endpoint: str, refusal: str, no_answer: str = "") -> dict[str, Any]:
    """Everything in words: `state`, `tiles`, `groups` of facts, `log`.

    `refusal`, `no_answer`: of the client, why nothing comes.
    """
    groups = [("Run", _run(summary)), ("Stream", _stream(summary)), ("Ledger", _ledger(summary))]
    if summary.stat is not None:
        groups += [("Disk and queue", _disk(summary.stat)), ("Board", _board(summary.stat))]
        groups += [("Publisher", _publisher(summary.stat))]
    return {
        "state": _state(summary, endpoint, refusal, no_answer),
        "tiles": _tiles(summary),
        "groups": [{"name": name, "facts": rows} for name, rows in groups if rows],
        "log": [entry.model_dump() for entry in summary.log[-LOG_LINES:]],
    }


def _state(summary: MonitorSummary, endpoint: str, refusal: str, no_answer: str) -> dict[str, Any]:
    stat = summary.stat
    run = stat.run if stat is not None and stat.run is not None else summary.run
    name, level, trouble = summary.state, _STATE_LEVELS.get(summary.state, ""), "" if stat is None else stat.reason
    if refusal:
        name, level, trouble = "refused", "bad", refusal
    elif summary.age_s is None:
        trouble = no_answer or f"waiting for {endpoint}: nothing has come yet"
    elif summary.silent_s is not None:
        # What it was last is no state of now: whoever passes by must not read "running" there.
        what = "no data" if summary.age_s >= SILENT_S else "no state"
        name, level = f"{what} for {clock(summary.silent_s)}", "bad"
        trouble = "" if stat is None else f"the daemon is silent; when it was last heard it was {stat.state}"
        trouble = "; ".join(filter(None, (trouble, no_answer)))
    return {
        "name": name,
        "level": level,
        "trouble": trouble,
        "daq": summary.daq,
        "run": run,
        "pass": summary.pass_,
        "elapsed": "" if stat is None else clock(stat.elapsed_s),
        "file": "" if stat is None else _file_name(stat.file),
        "comment": "" if summary.record is None else summary.record.comment,
    }


def _file_name(path: str) -> str:
    return path.replace("\\", "/").rsplit("/", 1)[-1]


def _tiles(summary: MonitorSummary) -> list[Fact]:
    missed = summary.counters["missed_readouts"]
    now = summary.silent_s is None  # else nobody knows how fast
    tiles: list[Fact] = [
        ("hits", grouped(summary.hits), ""),
        ("hit rate", scaled(summary.hits_hz, "Hz") if now else "-", ""),
        ("readouts", grouped(summary.readouts), ""),
        ("readout rate", scaled(summary.readouts_hz, "Hz") if now else "-", ""),
        ("missed readouts", grouped(missed), _bad_if(missed)),
    ]
    if summary.stat is not None:
        stat = summary.stat
        tiles.append(("from the board", scaled(stat.rates.bytes_hz, "B/s") if now else "-", ""))
        tiles.append(("time to full", _time_to_full(stat), _disk_level(stat)))
    return tiles


def _run(summary: MonitorSummary) -> list[Fact]:
    record, stat = summary.record, summary.stat
    rows: list[Fact] = []
    if stat is not None:
        rows.append(("file", _file_name(stat.file) or "none", ""))
        names = (
            ("file_bytes", "in files"),
            ("readouts", "readouts written"),
            ("empty_readouts", "readouts of padding"),
        )
        rows += [(text, grouped(stat.counts[name]), "") for name, text in names if name in stat.counts]
        if (readouts := stat.counts.get("readouts")) and "readout_bytes" in stat.counts:
            rows.append(("mean readout", scaled(stat.counts["readout_bytes"] / readouts, "B"), ""))
    if record is not None:
        rows += [("gaps", grouped(len(record.gaps)), "warning")] if record.gaps else []
        rows += [("ended", record.end_reason or record.state, "")] if summary.ended else []
    return rows


def _stream(summary: MonitorSummary) -> list[Fact]:
    counters = summary.counters
    missed_messages = sum(counters["missed_messages"].values())
    rows: list[Fact] = [
        ("messages", grouped(sum(counters["messages"].values())), ""),
        ("messages missed", grouped(missed_messages), _warning_if(missed_messages)),
        ("readouts missed", grouped(counters["missed_readouts"]), _bad_if(counters["missed_readouts"])),
        ("hits received twice", grouped(counters["duplicate_hits"]), ""),
        ("restarts of the publisher", grouped(counters["restarts"]), _warning_if(counters["restarts"])),
        ("malformed messages", grouped(counters["malformed"]), _bad_if(counters["malformed"])),
        ("hits of no pixel", grouped(summary.outside), _bad_if(summary.outside)),
        ("hits with no ToT", grouped(summary.tot_invalid), _bad_if(summary.tot_invalid)),
    ]
    if summary.unpaired:
        rows.append(("rows and columns left over", grouped(summary.unpaired), "warning"))
    if counters["joined_at"]:
        rows.append(("joined at readout", grouped(counters["joined_at"]), ""))
    if counters["past_hits"]:
        rows.append(("hits from the past", grouped(counters["past_hits"]), ""))
    return rows


def _ledger(summary: MonitorSummary) -> list[Fact]:
    counts = None if summary.stat is None else summary.stat.ledger
    if counts is None:
        return []
    ledger = Ledger.from_dict(counts)
    whole = ledger.bytes_read
    rows: list[Fact] = [("bytes read", grouped(whole), "")]
    for name in ("hit", "idle", "padding", "carried", "orphan", "dropped"):
        part: int = getattr(ledger, name)
        lost = name in ("orphan", "dropped")
        rows.append((name, f"{grouped(part)} ({percent(part, whole)})", _warning_if(part) if lost else ""))
    rows += [
        ("hits restored", grouped(ledger.restored_hits), ""),
        ("hits dropped", grouped(ledger.dropped_hits), _warning_if(ledger.dropped_hits)),
        ("adds up", "yes" if ledger.balanced else "NO", "" if ledger.balanced else "bad"),
    ]
    return rows


def _disk(stat: Stat) -> list[Fact]:
    disk, queue = stat.disk, stat.queue
    rows: list[Fact] = []
    if disk.total_bytes:
        rows.append(("free", f"{scaled(disk.free_bytes, 'B')} of {scaled(disk.total_bytes, 'B')}", _disk_level(stat)))
        rows.append(("time to full", _time_to_full(stat), _disk_level(stat)))
    rows += [("disk", disk.reason, _disk_level(stat))] if disk.reason else []
    if queue.limit_bytes:
        half = queue.bytes > queue.limit_bytes / 2
        rows.append(("queue", f"{scaled(queue.bytes, 'B')} of {scaled(queue.limit_bytes, 'B')}", "bad" if half else ""))
        rows.append(("queue at most", scaled(queue.high_water_bytes, "B"), ""))
    return rows


def _time_to_full(stat: Stat) -> str:
    left_s = stat.disk.time_to_full_s
    if left_s is None:
        return "-"
    hours = left_s / 3600
    return f"{hours / 24:.0f} days" if hours >= 48 else f"{hours:.1f} h" if hours >= 1 else f"{left_s / 60:.0f} min"


def _disk_level(stat: Stat) -> Level:
    return _DISK_LEVELS.get(stat.disk.level, "")


def _board(stat: Stat) -> list[Fact]:
    board = stat.board
    at = f"{board.kind} {board.transport}".strip()
    rows: list[Fact] = []
    if at:
        rows.append(("board", at, ""))
        rows.append(("connected", "yes" if board.connected else "NO", "" if board.connected else "bad"))
    return rows + [(name.replace("_", " "), _counter(value), "") for name, value in board.counters.items()]


def _counter(value: float | str) -> str:
    if isinstance(value, bool | str):
        return str(value)
    return grouped(value) if isinstance(value, int) else f"{value:.6g}"


def _publisher(stat: Stat) -> list[Fact]:
    publisher = stat.publisher
    rows: Iterable[tuple[str, int, bool]] = (
        ("messages", publisher.messages, False),
        ("subscribers", publisher.subscribers, False),
        ("dropped for slow ones", publisher.dropped, True),
        ("bytes behind", publisher.lag_bytes, publisher.lag_bytes > 1 << 20),
        ("restarts", publisher.restarts, True),
        ("connections refused", publisher.refused, True),
    )
    return [(name, grouped(value), _warning_if(value) if noted else "") for name, value, noted in rows]


def _bad_if(count: int) -> Level:
    return "bad" if count else ""


def _warning_if(count: int) -> Level:
    return "warning" if count else ""
