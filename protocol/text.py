"""Wording that every text for people has in common."""


def counted(number: int, noun: str) -> str:
    """A number of things: `1 hit`, `2 hits`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
