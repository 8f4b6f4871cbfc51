"""All checks of a running `apx-sanity`: those that events trigger, those that look, and custom ones.

Modules of custom checks are named by dotted name or by path.
"""

import importlib
import importlib.util
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import ModuleType

from monitor.errors import CheckModuleError
from monitor.sanity.check import Check
from monitor.sanity.checks.daemon_checks import (
    board_temperature,
    board_warnings,
    clock_drift,
    data_age,
    disk,
    queue_depth,
)
from monitor.sanity.checks.dead_pixels import dead_chip, dead_column, dead_pixel
from monitor.sanity.checks.event_checks import EVENT_CHECKS
from monitor.sanity.checks.frame_checks import damaged_frames, timestamp_order
from monitor.sanity.checks.noisy_pixels import noisy_pixel
from monitor.sanity.checks.rate_checks import rate_drop, rate_jump
from monitor.sanity.checks.reference_checks import reference_checks
from monitor.sanity.checks.tot_checks import tot_saturation, tot_shift
from protocol.wire.alarms import AlarmLevel

DETECTOR_CHECKS: tuple[Check, ...] = (
    noisy_pixel,
    dead_pixel,
    dead_column,
    dead_chip,
    rate_drop,
    rate_jump,
    tot_saturation,
    tot_shift,
    clock_drift,
    timestamp_order,
    damaged_frames,
    data_age,
    queue_depth,
    disk,
    board_temperature,
    board_warnings,
)
"""Those that look at the detector."""

BUILT_IN: tuple[Check, ...] = (*DETECTOR_CHECKS, *reference_checks(None))
"""Those of this package that look; those against a reference say nothing until there is one."""

CHECK_FAILED = Check(
    "check_failed",
    "a check that failed instead of saying anything",
    AlarmLevel.WARNING,
    "a fault in the check: report it, or mend your own module; enabled = false takes it out",
    None,
    in_a_row=1,
    good_in_a_row=10,
)
OUTPUT_FAILED = Check(
    "output_failed",
    "alarms that could not be kept or sent",
    AlarmLevel.WARNING,
    "disk full? address or command right? The text says what went wrong",
    None,
    in_a_row=1,
    good_in_a_row=10,
)


def alarming(checks: Iterable[Check]) -> tuple[Check, ...]:
    """All that can raise alarms, with `checks`, which look: not what is only worth knowing, nor what files have."""
    events = (check for check in EVENT_CHECKS if check.level is not AlarmLevel.OK and not check.files_only)
    return (*events, *checks, CHECK_FAILED, OUTPUT_FAILED)


def with_modules(names: Iterable[str], folder: Path) -> tuple[tuple[Check, ...], Mapping[int, str]]:
    """The checks that look, custom ones included; and what is wrong with which module."""
    checks = list(BUILT_IN)
    taken = {check.name for check in alarming(checks)}
    mistakes: dict[int, str] = {}
    for index, name in enumerate(names):
        try:
            custom = load_checks(name, folder)
        except CheckModuleError as error:
            mistakes[index] = str(error)
            continue
        for check in custom:
            if check.name in taken:
                mistakes[index] = f'"{name}": there is a check {check.name} already: give this one another name'
            else:
                taken.add(check.name)
                checks.append(check)
    return tuple(checks), mistakes


_NAME = re.compile(r"[a-z][a-z0-9_]{0,47}")


def load_checks(name: str, folder: Path) -> tuple[Check, ...]:
    """The checks of a module: `package.module` as Python finds it, or the path of a file `….py`, relative to `folder`.

    They are those of its table `CHECKS`, or else those that it defines. `CheckModuleError` of one line where the module
    cannot be loaded, or has no checks. Its code is run: name only what you would run yourself.
    """
    try:
        module = _from_file((folder / name).resolve()) if name.endswith(".py") else importlib.import_module(name)
    except Exception as error:  # whatever a user's module does
        raise CheckModuleError(f'"{name}" cannot be loaded: {_words(error)}') from error
    checks = getattr(module, "CHECKS", None)
    if checks is None:
        made = (value for value in vars(module).values() if isinstance(value, Check))
        checks = [check for check in made if getattr(check.function, "__module__", "") == module.__name__] or None
    if not isinstance(checks, tuple | list) or not all(
        isinstance(check, Check) and callable(check.function) for check in checks
    ):
        raise CheckModuleError(f'"{name}" has no table CHECKS of monitor.sanity.check.Check')
    for check in checks:
        if not _NAME.fullmatch(check.name):
            raise CheckModuleError(
                f'"{name}": "{check.name}" is no name for a check: lower case letters, digits and _, at most 48'
            )
        if check.in_a_row < 1 or check.good_in_a_row < 1:
            raise CheckModuleError(f'"{name}": in_a_row and good_in_a_row of {check.name} are at least 1')
    return tuple(checks)


def _from_file(path: Path) -> ModuleType:
    name = f"apx_sanity_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look themselves up there
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _words(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
