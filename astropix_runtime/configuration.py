"""Configuration files: what their tables have in common, how they are read, and all their mistakes in words."""

import difflib
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from protocol.text import printable, reason_of

Name = Annotated[
    str,
    Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$",
        description='1 to 64 letters, digits, "_", "." or "-", the first a letter or a digit',
    ),
]
"""What a daemon or a checker is called; it becomes part of the names of files and sockets."""

_KINDS = {
    "int_type": "a whole number",
    "float_type": "a number",
    "string_type": 'a text in "quotes"',
    "bool_type": "true or false",
    "tuple_type": "a list",
    "dict_type": "a table",
    "datetime_type": "a date and time",
    "path_type": 'a path in "quotes"',
    "model_type": "a table",
    "model_attributes_type": "a table",
}
_LIMITS = {
    "range": "{}",
    "ge": "at least {}",
    "gt": "above {}",
    "le": "at most {}",
    "lt": "below {}",
    "pattern": "like {}",
}
_MAX_LETTERS = 500
_MAX_SHOWN = 100


class ConfigurationError(ValueError):
    """A configuration cannot be used. Each package has its own kind of it.

    `mistakes` has one line for each mistake found, beginning with its path in the file (`board.chips: …`).
    """

    def __init__(self, mistakes: Sequence[str], path: str | None = None) -> None:
        self.mistakes = tuple(mistakes)
        self.path = path
        super().__init__("\n".join(f"{path}: {mistake}" if path else mistake for mistake in self.mistakes))


class Section(BaseModel):
    """A table of the file: unknown keys refused, values never converted from another type, frozen."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, validate_default=True)


class KeysSection(Section):
    """`[security]`: the keys of the program's own TCP sockets, both or none.

    `server_key`: file of its secret key. `client_keys`: directory of the public keys of its clients.
    """

    server_key: str = ""
    client_keys: str = ""

    @model_validator(mode="after")
    def _both_or_none(self) -> Self:
        if bool(self.server_key) != bool(self.client_keys):
            raise ValueError("server_key and client_keys go together: daqctl keygen says how they are made")
        return self

    @property
    def keys(self) -> bool:
        """Whether every TCP socket wants a key."""
        return bool(self.server_key)

    def refuse_insecure(self, insecure: bool) -> None:
        """`ValueError` where there are keys, and `insecure` says that nobody needs one."""
        if self.keys and insecure:
            raise ValueError("insecure = true and the keys of [security] contradict each other: take one of them out")


class LogSection(Section):
    """`[log]`: how much a daemon logs, and how (`astropix_runtime.process.logs`)."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "text", "journal", "json"] = "auto"


def read_text(path: Path, error: type[ConfigurationError]) -> str:
    """The text of the file at `path`; `error` where it cannot be read, or is not UTF-8."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as refusal:
        raise error([f"cannot be read: {reason_of(refusal)}"], str(path)) from refusal
    except UnicodeDecodeError as undecodable:
        raise error([f"is not UTF-8 text: byte {undecodable.start} is wrong"], str(path)) from undecodable


def read_toml(path: Path, error: type[ConfigurationError]) -> dict[str, Any]:
    """The tables of the file at `path`; `error` where it cannot be read, or is not TOML."""
    try:
        return tomllib.loads(read_text(path, error))
    except tomllib.TOMLDecodeError as invalid:
        raise error([f"is not valid TOML: {invalid}"], str(path)) from invalid


def describe_mistakes(error: ValidationError, model: type[BaseModel]) -> list[str]:
    """One line for each mistake that validating `model` found, in the order of the model's keys."""
    return [printable(f"{_path(item['loc'])}: {_reason(item, model)}"[:_MAX_LETTERS], "?") for item in error.errors()]


def _path(location: Sequence[int | str]) -> str:
    path = ""
    for part in location:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else part
    return path or "file"


def _reason(item: ErrorDetails, model: type[BaseModel]) -> str:
    kind, value, context = item["type"], item["input"], item.get("ctx", {})
    field = _field(item["loc"], model)
    if kind == "extra_forbidden":
        return _unknown_key(str(item["loc"][-1]), _table(item["loc"][:-1], model))
    if kind == "missing":
        return f"is missing: {_allowed(field) or 'it must be given'}"
    if kind in _KINDS:
        return f"{_shown(value)} is not {_KINDS[kind]}"
    if kind == "literal_error":
        return f"{_shown(value)} is not known: {context['expected']} is"
    if kind == "value_error":
        return str(context["error"])
    if allowed := _allowed(field):
        return f"{_shown(value)} is not allowed: {allowed}"
    return f"{_shown(value)}: {item['msg']}"


def _unknown_key(key: str, table: type[BaseModel] | None) -> str:
    known = list(table.model_fields) if table is not None else []
    close = difflib.get_close_matches(key, known, 1)
    return "unknown key: " + (f"is {close[0]} meant?" if close else f"known here: {', '.join(known)}")


def _shown(value: Any) -> str:
    if isinstance(value, str):
        return f'"{value}"' if len(value) <= _MAX_SHOWN else f'"{value[:_MAX_SHOWN]}…"'
    if isinstance(value, bool):
        return str(value).lower()
    return "a table" if isinstance(value, dict) else repr(value)


def _table(location: Sequence[int | str], model: type[BaseModel]) -> type[BaseModel] | None:
    table: Any = model
    for part in location:
        if isinstance(part, int) or part not in table.model_fields:
            continue  # of a list, or of a table of tables
        annotation = table.model_fields[part].annotation
        table = next((a for a in (annotation, *getattr(annotation, "__args__", ())) if _is_model(a)), None)
        if table is None:
            return None
    return table  # type: ignore[no-any-return]  # narrowed by _is_model


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _field(location: Sequence[int | str], model: type[BaseModel]) -> Any:
    table = _table(location[:-1], model)
    return table.model_fields.get(str(location[-1])) if table is not None and location else None


def _allowed(field: Any) -> str:
    """What the limits of a field allow, in words; empty where it has none."""
    limits = {name: value for rule in getattr(field, "metadata", ()) for name, value in _limits(rule).items()}
    if {"ge", "le"} <= limits.keys():
        limits["range"] = f"{limits.pop('ge')} to {limits.pop('le')}"
    if "pattern" in limits and field.description:
        return f"it must be {field.description}"
    words = " and ".join(text.format(limits[name]) for name, text in _LIMITS.items() if name in limits)
    return f"it must be {words}" if words else ""


def _limits(rule: Any) -> dict[str, Any]:
    return {name: getattr(rule, name) for name in _LIMITS if getattr(rule, name, None) is not None}
