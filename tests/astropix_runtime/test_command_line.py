import argparse
import errno
import os
import signal
from collections.abc import Callable

import pytest

from astropix_runtime.command_line import program
from astropix_runtime.command_line.arguments import chips, not_negative, port, positive, seconds, seconds_or_inf
from astropix_runtime.command_line.arguments import whole_number as whole
from astropix_runtime.command_line.program import FAILED, INTERRUPTED, MISUSE, OK, OneLineParser, ProgramParser
from astropix_runtime.process.signals import ended_by_signals
from protocol.text import counted, printable, reason_of

Parse = Callable[[str], float]


@pytest.mark.parametrize(
    ("parse", "text", "value"),
    [
        (whole(), "0", 0),
        (whole(1), "007", 7),
        (whole(1, 64), "64", 64),
        (chips, "31", 31),
        (port, "65535", 65535),
        (positive, "1e-3", 0.001),
        (not_negative, "0", 0.0),
        (seconds, "2.5", 2.5),
        (seconds_or_inf, "inf", float("inf")),
    ],
)
def test_numbers(parse: Parse, text: str, value: float) -> None:
    assert parse(text) == value


@pytest.mark.parametrize("parse", [whole(), whole(1, 64), chips, port, positive, not_negative, seconds, seconds_or_inf])
@pytest.mark.parametrize("text", ["", "x", "-1", "nan", "1,5", "0x10", "1 2"])
def test_what_is_no_number_for_anything(parse: Parse, text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        parse(text)


@pytest.mark.parametrize(
    ("parse", "text"),
    [
        (whole(), "+1"),
        (whole(), "1_0"),
        (whole(), "²"),
        (whole(), "٣"),
        (whole(), "1" * 5000),
        (whole(1), "0"),
        (whole(1, 64), "65"),
        (chips, "32"),
        (port, "65536"),
        (positive, "0"),
        (positive, "inf"),
        (seconds, "0"),
        (seconds, "1e999"),
        (seconds_or_inf, "0"),
    ],
)
def test_numbers_out_of_bounds(parse: Parse, text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError) as raised:
        parse(text)
    assert len(str(raised.value)) < 100


@pytest.mark.parametrize(
    ("raised", "code"),
    [
        (None, OK),
        (ValueError("a\nb"), MISUSE),
        (OSError(errno.EIO, "broken"), FAILED),
        (KeyboardInterrupt(), INTERRUPTED),
        (BrokenPipeError(), OK),
    ],
)
def test_exit_codes(
    raised: BaseException | None,
    code: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(program, "drop_output", lambda: None)  # the test run's own stdout goes on

    def work() -> int:
        if raised is not None:
            raise raised
        return OK

    parser = ProgramParser(prog="p")
    errors = (ValueError, OSError)
    assert parser.run(work, errors, lambda error: MISUSE if isinstance(error, ValueError) else FAILED) == code
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == (len(str(raised).splitlines()) if code in (MISUSE, FAILED) else 0)
    assert all(line.startswith("p: ") for line in lines)


def test_an_error_of_standard_output_is_not_that_of_a_file() -> None:
    def work() -> int:
        raise OSError(errno.ENOSPC, "full", "standard output")

    with pytest.raises(OSError, match="standard output"):
        ProgramParser(prog="p").run(work, OSError, lambda _: FAILED)


def test_a_single_mistake_names_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    parser = OneLineParser(prog="p")
    with pytest.raises(SystemExit) as ended:
        parser.parse_args(["--nonsense"])
    assert ended.value.code == MISUSE
    parser.complain("one", MISUSE)
    parser.complain("one\ntwo", MISUSE)
    parser.complain("failed", FAILED)
    _, *lines = capsys.readouterr().err.splitlines()
    assert lines == ["p: one (see p --help)", "p: one", "p: two", "p: failed"]


def test_printable_text() -> None:
    assert printable("größer ☢") == "größer ☢"
    assert printable("a\r\n\x1b[2J\udce4\u2028") == "a\\r\\n\\x1b[2J\\udce4\\u2028"
    assert printable("a\r\n\x1b[2J", "?") == "a???[2J"


def test_reasons_of_errors() -> None:
    assert reason_of(OSError(errno.ENOENT, "nothing there", "file")) == "nothing there"
    assert reason_of(OSError("text alone")) == "text alone"
    assert reason_of(ValueError("text alone")) == "text alone"


def test_counts() -> None:
    assert [counted(number, "hit") for number in (0, 1, 2)] == ["0 hits", "1 hit", "2 hits"]


def test_a_signal_ends_a_program_once() -> None:
    before = signal.getsignal(signal.SIGTERM)
    ends: list[None] = []
    try:
        with ended_by_signals(lambda: ends.append(None), within_s=60):
            assert not ends
        assert signal.getsignal(signal.SIGTERM) == before
        with ended_by_signals(lambda: ends.append(None), within_s=60):
            os.kill(os.getpid(), signal.SIGTERM)
        assert len(ends) == 1
        assert signal.alarm(0) == 0
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, before)
        signal.signal(signal.SIGINT, signal.default_int_handler)
