"""Older text recordings (`.log`): header lines of Python literals, then one line of hex digits per readout.

docs/formats.md, "Text recording". Such a file is untrusted text: literals are parsed, nothing is evaluated, and
lines are bounded in length.
"""

import ast
import math
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TextIO, TypeAlias

from protocol.errors import TextLogError

HeaderValue: TypeAlias = "bool | int | float | str | list[HeaderValue] | dict[str, HeaderValue] | None"

OPTIONS_KEY = "options"
"""Header key under which the `Namespace(…)` line is kept."""

MAX_READOUT_BYTES = 65_535
"""The longest answer that the board's register protocol can give."""

MAX_HEADER_LINE = 65_536
MAX_HEADER_LINES = 1_000
_MAX_ROW = 2 * MAX_READOUT_BYTES + 64
_MAX_LINE = max(MAX_HEADER_LINE, _MAX_ROW)
_MAX_DEPTH = 32
_MAX_INTEGER_BITS = 4_096
_RESERVED = frozenset({OPTIONS_KEY, "readout_uid"})

_ROW = re.compile(r"([0-9]{1,10})\tb'([0-9A-Fa-f]*)'[ \t]*")
_CUT_ROW = re.compile(r"([0-9]{1,10})\tb'([0-9A-Fa-f]*)")
_CUT_BEFORE_DATA = re.compile(r"[0-9]{1,10}(\tb?)?")
_SECTION = re.compile(r"([^:'\"{}()]{1,128}):\s*(\{.*\})", re.DOTALL)
_NAMESPACE = re.compile(r"Namespace\(.*\)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class TextReadout:
    """One row of a text recording.

    `data` holds the whole bytes of the row, padding included. `half_byte` is the lone last hex digit of a row
    with an odd number of digits, else empty: the end of such a row was lost on the way to the file, so the bytes
    before it are right and the digit is half of a byte nobody knows. `cut` marks the last row of a file that
    ends within it.
    """

    line_number: int
    readout_id: int
    data: bytes
    half_byte: str = ""
    cut: bool = False


class TextLog:
    """A text recording, read lazily from a text stream; iterate for its readouts (`TextReadout`), once.

    The header is read at once, into `header`: one key per section in the order of the file, the command-line
    options under "options". A section name that comes again is kept as `name#2`, `name#3`…

    After the iteration, `ignored_tail` is the number of characters of a last line that was cut before its data.

    Raises `TextLogError` (with the line) for anything that is not a text recording, an empty stream included.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._line_number = 0
        self.header: dict[str, HeaderValue] = {}
        self.ignored_tail = 0
        self._first_row = self._read_header()

    def __iter__(self) -> Iterator[TextReadout]:
        line, self._first_row = self._first_row, ""
        while line:
            if line.strip():
                readout = self._parse_row(line, self._line_number)
                if readout is not None:
                    yield readout
            line = self._next_line()

    def _next_line(self) -> str:
        """The next line with its end, or "" after the last."""
        self._line_number += 1
        try:
            line = self._stream.readline(_MAX_LINE + 1)
        except UnicodeDecodeError:
            raise TextLogError("bytes that are not text", self._line_number) from None
        if len(line) > _MAX_LINE:
            raise TextLogError(f"longer than {_MAX_LINE} characters: not a text recording", self._line_number)
        return line

    def _read_header(self) -> str:
        """Fill `header`; returns the first line that is not of it."""
        while line := self._next_line():
            if self._line_number > MAX_HEADER_LINES:
                raise TextLogError(f"no readout within {MAX_HEADER_LINES} lines", self._line_number)
            if not line.strip():
                continue
            if line[0].isdecimal():
                return line
            self._parse_header_line(line)
        if not self.header:
            raise TextLogError("the file is empty: not a text recording", self._line_number)
        return ""

    def _parse_header_line(self, line: str) -> None:
        number = self._line_number
        if len(line) > MAX_HEADER_LINE:
            raise TextLogError(f"a header line of more than {MAX_HEADER_LINE} characters", number)
        text = line.strip()
        if _NAMESPACE.fullmatch(text):
            key, value = OPTIONS_KEY, _parse_namespace(text, number)
            if key in self.header:
                raise TextLogError("a second Namespace(…) line", number)
        elif section := _SECTION.fullmatch(text):
            key, value = section[1].strip(), _parse_literal(section[2], number)
            if key in _RESERVED:
                raise TextLogError(f"a section cannot have the name {key!r}", number)
            key = self._free_key(key)
        else:
            raise TextLogError(f"neither “Name: {{…}}”, “Namespace(…)” nor “id<TAB>b'hex…'”: {_shown(line)}", number)
        self.header[key] = value

    def _free_key(self, name: str) -> str:
        key, count = name, 1
        while key in self.header:
            count += 1
            key = f"{name}#{count}"
        return key

    def _parse_row(self, line: str, number: int) -> TextReadout | None:
        text = line.rstrip("\r\n")
        at_end = text == line  # only the last line of a file can lack its line end
        row, cut = _ROW.fullmatch(text), False
        if row is None and at_end:
            row, cut = _CUT_ROW.fullmatch(text), True
            if row is None and _CUT_BEFORE_DATA.fullmatch(text):
                self.ignored_tail = len(text)
                return None
        if row is None:
            raise TextLogError(f"not a readout “id<TAB>b'hex…'”: {_shown(text)}", number)
        readout_id = int(row[1])
        if readout_id > 0xFFFF_FFFF:
            raise TextLogError(f"readout id {readout_id} does not fit 32 bits", number)
        digits = row[2]
        whole = len(digits) & ~1
        if whole > 2 * MAX_READOUT_BYTES:
            raise TextLogError(f"a readout of more than {MAX_READOUT_BYTES} bytes", number)
        return TextReadout(number, readout_id, bytes.fromhex(digits[:whole]), digits[whole:], cut)


def _shown(text: str) -> str:
    """The start of a line, safe to print on a terminal."""
    text = text.strip()
    return ascii(text[:40] + ("…" if len(text) > 40 else "")).replace("\\u2026", "…")


def _parse_tree(text: str, line_number: int) -> ast.expr:
    # invalid escapes in the text make warnings, which are nobody's business; deep nesting makes the parser
    # give up with MemoryError or RecursionError
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        raise TextLogError(f"not a Python literal: {_reason(error)}", line_number) from None


def _reason(error: BaseException) -> str:
    if isinstance(error, SyntaxError):
        return error.msg
    return "nested too deeply" if isinstance(error, MemoryError | RecursionError) else str(error)


def _literal_value(node: ast.expr, line_number: int) -> HeaderValue:
    try:
        value: object = ast.literal_eval(node)
    except (ValueError, TypeError, MemoryError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, MemoryError | RecursionError) else "not a literal"
        raise TextLogError(f"{reason} ({type(node).__name__}): nothing is evaluated", line_number) from None
    return _plain(value, line_number)


def _parse_literal(text: str, line_number: int) -> HeaderValue:
    return _literal_value(_parse_tree(text, line_number), line_number)


def _parse_namespace(text: str, line_number: int) -> HeaderValue:
    call = _parse_tree(text, line_number)
    if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and not call.args):
        raise TextLogError("Namespace(…) takes key=value only", line_number)
    options: dict[str, HeaderValue] = {}
    for keyword in call.keywords:
        if keyword.arg is None:
            raise TextLogError("Namespace(…) takes key=value only", line_number)
        if keyword.arg in options:
            raise TextLogError(f"Namespace(…) has {_shown(keyword.arg)} twice", line_number)
        options[keyword.arg] = _literal_value(keyword.value, line_number)
    return options


def _plain(value: object, line_number: int, depth: int = 0) -> HeaderValue:
    """`value` as JSON can hold it (tuples become lists), or `TextLogError`."""
    if depth > _MAX_DEPTH:
        raise TextLogError(f"nested more than {_MAX_DEPTH} deep", line_number)
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int) and value.bit_length() <= _MAX_INTEGER_BITS:
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    if isinstance(value, list | tuple):
        return [_plain(item, line_number, depth + 1) for item in value]
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {key: _plain(item, line_number, depth + 1) for key, item in value.items()}
    raise TextLogError(f"a value that a header cannot hold ({type(value).__name__})", line_number)
