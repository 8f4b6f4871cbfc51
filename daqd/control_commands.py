"""The commands that the daemon executes (docs/wire.md, "Commands"): each is one function under `@control_command`.

The first argument of the function is the run control, the others are the arguments of the command: requests are
checked against their types, and `daqctl` offers an option for each. `daqctl` imports this module, so nothing here
imports boards or files.
"""

import argparse
import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from astropix_runtime.command_line.arguments import seconds, whole_number
from daqd.configuration.chip_arguments import add_chip_arguments, chip_overrides
from daqd.errors import RunControlError
from protocol.text import validation_summary
from protocol.wire.messages import DaemonState

if TYPE_CHECKING:
    from daqd.run_control import RunControl

_ANSWER_S = 15.0
_STOP_ANSWER_S = 65.0

Execute = Callable[..., Awaitable[dict[str, Any]]]
_Function = TypeVar("_Function", bound=Execute)


@dataclass(frozen=True)
class Option:
    """How `daqctl` asks for an argument: `text` is its help, `flag` its name (default: `--` and that of the argument).

    `parse` converts what was typed, as `type` of argparse.
    """

    text: str = ""
    flag: str = ""
    metavar: str = ""
    parse: Callable[[str], Any] = str

    def add_to(self, parser: argparse.ArgumentParser, name: str, *, required: bool) -> None:
        """Add the option for the argument `name`."""
        parser.add_argument(
            self.flag or f"--{name.replace('_', '-')}",
            dest=f"argument_{name}",
            metavar=self.metavar or name.upper(),
            type=self.parse,
            required=required,
            help=self.text,
        )

    def value(self, args: argparse.Namespace, name: str) -> Any:
        """What was given for the argument `name`; None where nothing was."""
        return getattr(args, f"argument_{name}")


class ChipOptions(Option):
    """The options that set the chips; together they give one map, empty where nothing was given."""

    def add_to(self, parser: argparse.ArgumentParser, name: str, *, required: bool) -> None:
        """Add all of them."""
        add_chip_arguments(parser)

    def value(self, args: argparse.Namespace, name: str) -> dict[str, Any]:
        """The map."""
        return chip_overrides(args)


@dataclass(frozen=True)
class ControlCommand:
    """A command. `summary` and `examples` are for the help of `daqctl`, which waits `answer_s` for the result.

    `at_once`: it does not wait for the command before it. `while_ending`: it is executed even while the daemon ends.
    """

    execute: Execute
    summary: str
    examples: str
    at_once: bool
    while_ending: bool
    answer_s: float

    @property
    def name(self) -> str:
        """Its name in requests and for `daqctl`."""
        return self.execute.__name__

    @cached_property
    def arguments(self) -> type[BaseModel]:
        """Model of the arguments."""
        fields: dict[str, Any] = {
            each.name: (each.annotation, ... if each.default is each.empty else each.default)
            for each in self._parameters
        }
        return create_model(self.name, __config__=ConfigDict(extra="forbid", frozen=True), **fields)

    def parse(self, args: dict[str, Any]) -> dict[str, Any]:
        """Checked arguments for `execute` from those of a request; `RunControlError` where they are not valid."""
        try:
            arguments = self.arguments.model_validate(args)
        except ValidationError as error:
            raise RunControlError("bad_arguments", f"{self.name}: {validation_summary(error)}") from None
        return {each.name: getattr(arguments, each.name) for each in self._parameters}

    def add_options(self, parser: argparse.ArgumentParser) -> None:
        """Add an option for each argument to the subcommand of `daqctl`."""
        for each in self._parameters:
            _option(each).add_to(parser, each.name, required=each.default is each.empty)

    def given(self, args: argparse.Namespace) -> dict[str, Any]:
        """The arguments that were given to the subcommand."""
        values = {each.name: _option(each).value(args, each.name) for each in self._parameters}
        return {name: value for name, value in values.items() if value is not None}

    @cached_property
    def _parameters(self) -> list[inspect.Parameter]:
        return [*inspect.signature(self.execute).parameters.values()][1:]


def _option(parameter: inspect.Parameter) -> Option:
    return next((each for each in get_args(parameter.annotation) if isinstance(each, Option)), Option())


COMMANDS: dict[str, ControlCommand] = {}
"""All commands, by name, in the order of `daqctl --help`."""


def control_command(
    summary: str,
    examples: str = "",
    *,
    at_once: bool = False,
    while_ending: bool = False,
    answer_s: float = _ANSWER_S,
) -> Callable[[_Function], _Function]:
    """Make a function a command of the same name; for the arguments see `ControlCommand`."""

    def register(function: _Function) -> _Function:
        command = ControlCommand(
            function,
            summary,
            examples or f"  daqctl {function.__name__}\n",
            at_once,
            while_ending,
            answer_s,
        )
        if COMMANDS.setdefault(command.name, command) is not command:
            raise ValueError(f"there is already a command {command.name!r}")
        return function

    return register


async def execute(control: "RunControl", name: str, args: dict[str, Any]) -> dict[str, Any]:
    """Execute a command and return its result; `RunControlError` with its code where it is refused or fails."""
    command = COMMANDS.get(name)
    if command is None:
        raise RunControlError("unknown_command", f"{name!r} is none of {', '.join(sorted(COMMANDS))}")
    arguments = command.parse(args)
    if command.at_once:
        return await command.execute(control, **arguments)
    async with control.one_at_a_time:
        if not command.while_ending:
            control.refuse_while_ending(name)
        return await command.execute(control, **arguments)


@control_command(
    "state, run, rates, ledger, queue, disk, board",
    """\
  daqctl status
  daqctl status --json | jq .status.rates
""",
    at_once=True,
    while_ending=True,
)
async def status(control: "RunControl") -> dict[str, Any]:
    """Give the state of the daemon."""
    return {"status": control.stat().model_dump(mode="json", by_alias=True)}


@control_command(
    "connect and configure the board",
    """\
  daqctl configure         as the configuration says; again, if it was
""",
)
async def configure(control: "RunControl") -> dict[str, Any]:
    """Open the board and configure its chips."""
    await control.configure()
    return {"state": control.state}


_UNCHANGED: Final[dict[str, Any]] = {}


@control_command(
    "start a run",
    """\
  daqctl start --comment "Cd-109, 40 mV"                until it is stopped
  daqctl start --duration 600                           ten minutes
  daqctl start --readouts 100000 --run 42               so many readouts, as run 42
  daqctl start --threshold 40 --inject 1,9 --vinj 300   with the chips set otherwise than usual, for this run
""",
)
async def start(
    control: "RunControl",
    run: Annotated[
        int | None,
        Field(ge=1, lt=1_000_000_000),
        Option("run number (default: the next one)", parse=whole_number(1)),
    ] = None,
    comment: Annotated[str, Field(max_length=10_000), Option("what this run is about")] = "",
    duration_s: Annotated[
        float,
        Field(ge=0, allow_inf_nan=False),
        Option("end it after so long", "--duration", "S", seconds),
    ] = 0.0,
    readouts: Annotated[
        int, Field(ge=0), Option("end it after so many readouts", metavar="N", parse=whole_number(1))
    ] = 0,
    chip: Annotated[dict[str, Any], ChipOptions()] = _UNCHANGED,
) -> dict[str, Any]:
    """Start a run; limits of 0 are none. `chip`: the settings of `[chip]` that are different for this run."""
    active = await control.start(run, comment, duration_s, readouts, chip)
    return {"state": control.state, "run": active.run, "directory": str(active.files.directory)}


@control_command(
    "end the run",
    """\
  daqctl stop
  daqctl stop --json | jq .record.counts
""",
    while_ending=True,
    answer_s=_STOP_ANSWER_S,
)
async def stop(control: "RunControl") -> dict[str, Any]:
    """End the run, if there is one, and wait until all of it is written."""
    ended = await control.stop()
    if ended is None:
        return {"state": control.state, "run": None}
    return {"state": control.state, "run": ended.run, "record": ended.record.model_dump(mode="json")}


@control_command(
    "finish the current file, go on in the next",
    """\
  daqctl rotate            the finished file can be copied away while the run goes on
""",
)
async def rotate(control: "RunControl") -> dict[str, Any]:
    """Finish the current file of the run; the next readout opens the next file."""
    run = control.rotate()
    return {"state": control.state, "run": run}


@control_command(
    "leave the error state, close the board",
    """\
  daqctl reset             when the reason of the error is mended; then: daqctl start
""",
)
async def reset(control: "RunControl") -> dict[str, Any]:
    """Close the board and become idle."""
    await control.reset()
    return {"state": control.state}


@control_command(
    "end the daemon",
    """\
  daqctl shutdown                           of the daemon called bench
  daqctl -c config/emulated.toml shutdown   of the one that uses this configuration
""",
    at_once=True,
    while_ending=True,
)
async def shutdown(control: "RunControl") -> dict[str, Any]:
    """Ask for the end of the daemon, which follows when everything is written."""
    control.shutdown_requested.set()
    return {"state": DaemonState.STOPPING}
