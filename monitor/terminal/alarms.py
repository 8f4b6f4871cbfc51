"""Alarms: the lines below the facts, and the screen on which each can be acknowledged or silenced."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Footer, OptionList
from textual.widgets.option_list import Option

from astropix_runtime.errors import RequestError
from monitor.alarm_receiver import AlarmReceiver
from monitor.control import AlarmActions, AlarmCommand
from monitor.terminal.line_widgets import TextLines
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


_LOOK_S = 0.3
_DONE: dict[AlarmCommand, str] = {
    "ack": "is acknowledged",
    "silence": "calls nobody for an hour",
    "unsilence": "calls again",
}


class AlarmScreen(ModalScreen[None]):
    """Shows what `alarms` has, and does with `actions` what is asked for; with None, it only shows."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss", "back"),
        Binding("a", "act('ack')", "acknowledge"),
        Binding("s", "act('silence')", "silence 1 h"),
        Binding("u", "act('unsilence')", "call again"),
    ]

    def __init__(self, alarms: AlarmReceiver, actions: AlarmActions | None) -> None:
        super().__init__()
        self._alarms = alarms
        self._actions = actions
        self._shown: tuple[Alarm, ...] | None = None
        self._list = OptionList(id="alarm-list", markup=False)
        self._box = Vertical(id="alarm-box")
        self._box.border_title = "alarms"
        self._answer = TextLines(name="alarm-answer")

    def compose(self) -> ComposeResult:
        """The list, and below what became of the last wish."""
        with self._box:
            yield self._list
            yield self._answer
        yield Footer(show_command_palette=False)

    def on_mount(self) -> None:
        """Begin to look."""
        self.look()
        self.set_interval(_LOOK_S, self.look)

    def look(self) -> None:
        """Show the alarms as they are now; the one that was chosen stays so."""
        alarms = self._alarms.alarms
        self._box.border_subtitle = self._alarms.trouble or ("" if alarms else "none")
        if alarms == self._shown:
            return
        chosen = self._chosen
        self._shown = alarms
        self._list.clear_options()
        self._list.add_options([Option(_words(alarm), id=alarm.id) for alarm in alarms])
        ids = [alarm.id for alarm in alarms]
        if ids:
            self._list.highlighted = ids.index(chosen) if chosen in ids else 0

    @property
    def _chosen(self) -> str | None:
        at = self._list.highlighted
        return None if at is None else self._list.get_option_at_index(at).id

    def _say(self, text: str) -> None:
        self._answer.show([Text(text)])

    def action_act(self, command: AlarmCommand) -> None:
        """Do that with the alarm that is chosen; the screen does not wait for it."""
        alarm = self._chosen
        if alarm is None:
            return
        if self._actions is None:
            self._say("nobody takes commands here")
            return
        self._say("…")
        self.run_worker(self._act(self._actions, command, alarm), exclusive=True)

    async def _act(self, actions: AlarmActions, command: AlarmCommand, alarm: str) -> None:
        try:
            await actions.act(command, alarm)
        except RequestError as error:
            self._say(str(error))
        else:
            self._say(f"{alarm} {_DONE[command]}")


def _words(alarm: Alarm) -> Text:
    words = alarm_text(alarm)
    words.no_wrap, words.overflow = False, "fold"
    return words
