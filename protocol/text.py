"""Wording that all texts for people have in common."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError

_MAX_MISTAKES = 20


def counted(number: int, noun: str) -> str:
    """A number of things: `1 hit`, `2 hits`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def printable(text: str, replacement: str | None = None) -> str:
    """`text` on one line, without anything that a terminal would take for a command.

    File names, messages and the contents of files come from others. Line ends, escapes and the like are written out
    (`\\n`, `\\x1b`), or replaced by `replacement` where one is given.
    """
    if text.isprintable():
        return text
    return "".join(
        each if each.isprintable() else ascii(each)[1:-1] if replacement is None else replacement for each in text
    )


def reason_of(error: BaseException) -> str:
    """Why the operating system refused: its own words, without the number and the file name; else `str(error)`."""
    return str(getattr(error, "strerror", None) or error)


def validation_summary(error: "ValidationError") -> str:
    """The mistakes that pydantic found, on one printable line."""
    mistakes = error.errors(include_url=False, include_context=False, include_input=False)
    parts = [f"{'.'.join(map(str, each['loc'])) or 'whole'}: {each['msg']}" for each in mistakes[:_MAX_MISTAKES]]
    if len(mistakes) > _MAX_MISTAKES:
        parts.append(f"and {len(mistakes) - _MAX_MISTAKES} more")
    return printable("; ".join(parts), "?")
