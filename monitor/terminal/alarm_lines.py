"""The alarms in words: a line for how many there are, and one for each of the worst."""

from collections.abc import Sequence
from datetime import UTC, datetime

from rich.text import Text

from protocol.text import counted, printable
from protocol.wire.alarms import Alarm, AlarmLevel

_STYLES = {AlarmLevel.OK: "dim", AlarmLevel.WARNING: "black on yellow", AlarmLevel.CRITICAL: "bold white on red"}


def summary(alarms: Sequence[Alarm]) -> str:
    """`2 critical, 3 warnings, 1 over`: those that nobody has acknowledged; empty where there are none."""
    levels = [alarm.level for alarm in alarms if not alarm.acknowledged]
    critical, warnings, over = (levels.count(each) for each in (AlarmLevel.CRITICAL, AlarmLevel.WARNING, AlarmLevel.OK))
    parts = (critical, f"{critical} critical"), (warnings, counted(warnings, "warning")), (over, f"{over} over")
    return ", ".join(text for number, text in parts if number)


def alarm_lines(alarms: Sequence[Alarm], trouble: str, most: int) -> list[Text]:
    """What is to be shown of the alarms, `most` lines, at least 1."""
    head = _line()
    if trouble:
        head.append(trouble, "yellow" if alarms else "dim")
    elif not alarms:
        head.append("none", "green")
    elif text := summary(alarms):
        worst = max((alarm.level for alarm in alarms if not alarm.acknowledged), key=lambda level: level.rank)
        head.append(f" {text} ", _STYLES[worst])
        head.append("  a: look at them, acknowledge", "dim")
    else:
        head.append(f"{len(alarms)} acknowledged", "dim")
    return [head, *(_line_of(alarm) for alarm in alarms[: most - 1])]


def _line() -> Text:
    return Text("alarms  ", "dim italic", no_wrap=True, overflow="ellipsis", end="")


def _line_of(alarm: Alarm) -> Text:
    return Text("  ", no_wrap=True, overflow="ellipsis").append_text(alarm_text(alarm))


def alarm_text(alarm: Alarm) -> Text:
    """All there is to say of an alarm."""
    text = Text(no_wrap=True, overflow="ellipsis")
    text.append(f" {alarm.level} ", "dim" if alarm.acknowledged else _STYLES[alarm.level])
    text.append(f" {datetime.fromtimestamp(alarm.since_ns / 1e9, UTC):%H:%M:%S} ", "dim")
    marks = [name for name in ("acknowledged", "silenced") if getattr(alarm, name)]
    figures = f" [{alarm.figures}]" if alarm.figures else ""
    said = f"{alarm.id}: {alarm.text}{figures}" + (f" ({', '.join(marks)})" if marks else "") + f" → {alarm.advice}"
    text.append(printable(said, " "), "dim" if alarm.acknowledged else "")
    return text
