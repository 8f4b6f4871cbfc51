"""The programs of astropix-daq, from their first instruction on.

Their imports take a while. A signal that comes meanwhile ends them at once and silently, as it ends any program that
has nothing to lose yet. The programs handle signals themselves only afterwards.
"""

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module

_FAILED, _INTERRUPTED = 1, 130
"""Exit codes, the second as shells report a program that Ctrl-C ended: `astropix_runtime` is imported later."""


def daqd() -> int:
    """`daqd`."""
    return _program("daqd", "daqd.cli")


def daqctl() -> int:
    """`daqctl`."""
    return _program("daqctl", "daqd.ctl")


def apx() -> int:
    """`apx`."""
    return _program("apx", "apx.cli")


def apx_monitor() -> int:
    """`apx-monitor`."""
    return _program("apx-monitor", "monitor.cli")


def apx_sanity() -> int:
    """`apx-sanity`."""
    return _program("apx-sanity", "monitor.sanity.cli")


def _program(name: str, module: str) -> int:
    with _ended_at_once():
        main: Callable[[], int] = import_module(module).main
    return _run(name, main)


@contextmanager
def _ended_at_once() -> Iterator[None]:
    """Python's own handler of SIGINT would show a trace of the imports. Where SIGINT is ignored, it stays so."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    yield  # `_run` puts it back and handles it


def _run(name: str, main: Callable[[], int]) -> int:
    """Exit code of a program; while the interpreter is taken down after it, SIGINT ends it at once again."""
    # The program has imported it already.
    from astropix_runtime.command_line.output import drop_output, is_of_output, prepare_streams

    code = _FAILED
    try:
        if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        prepare_streams()
        code = _code(main)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:  # nobody reads our output any more
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
