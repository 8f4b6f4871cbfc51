"""Numbers as a person reads them at a glance."""

import math

_PREFIXES = ("", "k", "M", "G", "T", "P")


def grouped(number: int) -> str:
    """A count, with thin gaps every three digits: 1 234 567."""
    return f"{number:,}".replace(",", " ")


def scaled(value: float, unit: str = "") -> str:
    """Three digits and a prefix: 1.23 k, 45.6 M; `unit` follows the prefix."""
    if not math.isfinite(value):
        return f"? {unit}".rstrip()
    magnitude, index = abs(value), 0
    while magnitude >= 999.5 and index < len(_PREFIXES) - 1:
        magnitude /= 1000
        index += 1
    digits = 0 if magnitude >= 99.95 or (index == 0 and value == int(value)) else 1 if magnitude >= 9.995 else 2
    sign = "-" if value < 0 else ""
    return f"{sign}{magnitude:.{digits}f} {_PREFIXES[index]}{unit}".rstrip()


def percent(part: int, whole: int) -> str:
    """A share; what is more than nothing is never shown as 0 %."""
    if not part or not whole:
        return "0 %"
    share = 100 * part / whole
    return f"{share:.1f} %" if share >= 0.05 else "<0.1 %"


def clock(seconds: float) -> str:
    """A duration: 0:00:07, 12:34:56, 3d 04:05:06; `?` for what is none, as the stream can say it, too."""
    if not math.isfinite(seconds):
        return "?"
    days, rest = divmod(max(int(seconds), 0), 86400)
    time = f"{rest // 3600}:{rest // 60 % 60:02d}:{rest % 60:02d}"
    return f"{days}d {time:>8}".replace("d  ", "d 0") if days else time


def nice_ceiling(value: float) -> float:
    """The smallest of 1, 2, 5, 10, 20, 50, … that is not below `value`; 1 for what is less."""
    if value <= 1:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= value)
