"""All alarms, to be acknowledged or silenced one by one."""

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
from monitor.terminal.alarm_lines import alarm_text
from monitor.terminal.text_lines import TextLines
from protocol.wire.alarms import Alarm

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
