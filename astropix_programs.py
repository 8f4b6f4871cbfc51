"""The programs of astropix-daq, from their first instruction on.

They import much, which takes a while. A signal that comes meanwhile ends them at once and without a word, as it ends
any program that has nothing to lose yet; what the programs make of signals themselves begins afterwards.
"""

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_INTERRUPTED = 130
"""As shells report a program that Ctrl-C ended."""

_FAILED = 1


def daqd() -> int:
    """`daqd`."""
    with _ended_at_once():
        from daqd.cli import main
    return _run("daqd", main)


def daqctl() -> int:
    """`daqctl`."""
    with _ended_at_once():
        from daqd.ctl import main
    return _run("daqctl", main)


def apx() -> int:
    """`apx`."""
    with _ended_at_once():
        from apx.cli import main
    return _run("apx", main)


def apx_monitor() -> int:
    """`apx-monitor`."""
    with _ended_at_once():
        from monitor.cli import main
    return _run("apx-monitor", main)


def apx_sanity() -> int:
    """`apx-sanity`."""
    with _ended_at_once():
        from monitor.sanity.cli import main
    return _run("apx-sanity", main)


@contextmanager
def _ended_at_once() -> Iterator[None]:
    """Python's own handler of SIGINT would show a trace of the imports. Where SIGINT is ignored, it stays so."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    yield  # `_run` puts it back, and knows what to make of it


def _run(name: str, main: Callable[[], int]) -> int:
    """Exit code of a program; while the interpreter is taken down after it, SIGINT ends it at once again."""
    from astropix_runtime.command_line.output import (  # the program has imported it already
        drop_output,
        is_of_output,
        prepare_streams,
    )

    code = _FAILED
    try:
        if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        prepare_streams()
        code = _code(main)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:  # whoever read our output had seen enough
        drop_output()
    except OSError as error:
        if not is_of_output(error):
            raise
        drop_output()
        print(f"{name}: {error.filename}: {error.strerror}", file=sys.stderr)
        return _FAILED
    finally:
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
    return code


def _code(main: Callable[[], int]) -> int:
    try:
        return main()
    except SystemExit as ended:  # --help, --version, and what argparse refuses
        return ended.code if isinstance(ended.code, int) else _FAILED
