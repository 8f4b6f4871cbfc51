"""Checks of the user's own: modules with a table `CHECKS`, by dotted name or by path."""

import importlib
import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

from monitor.errors import CheckModuleError
from monitor.sanity.check import Check

_NAME = re.compile(r"[a-z][a-z0-9_]{0,47}")


def load_checks(name: str, folder: Path) -> tuple[Check, ...]:
    """The checks of a module: `package.module` as Python finds it, or the path of a file `….py`, relative to `folder`.

    `CheckModuleError` of one line where it cannot be had, or has no table of checks. Its code is run: name only what
    you would run yourself.
    """
    try:
        module = _from_file((folder / name).resolve()) if name.endswith(".py") else importlib.import_module(name)
    except Exception as error:  # whatever a user's module does
        raise CheckModuleError(f'"{name}" cannot be loaded: {_words(error)}') from error
    checks = getattr(module, "CHECKS", None)
    if not isinstance(checks, tuple | list) or not all(isinstance(check, Check) for check in checks):
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
