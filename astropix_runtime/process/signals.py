"""Signals: they ask every program to end, once and for all, and the daemon also to rotate."""

import asyncio
import contextlib
import signal
import socket
from collections.abc import Callable, Iterable, Iterator

_END = (signal.SIGINT, signal.SIGTERM)
END_SIGNALS = (*_END, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else []))  # Windows has none
"""What ends a program that has nothing to rotate."""


@contextlib.contextmanager
def noted_signals(note: Callable[[signal.Signals], None], numbers: Iterable[signal.Signals] = _END) -> Iterator[None]:
    """Call `note` for each of these that comes. For the main thread.

    Afterwards the handlers are put back, where none has come. Where one has, the process is on its way out, and others
    are ignored up to the last instruction: what ended in good order has not failed because the end was asked for twice.
    """
    received = False

    def take(number: int, _: object) -> None:
        nonlocal received
        received = True
        note(signal.Signals(number))

    before = {number: signal.signal(number, take) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_IGN if received else handler)


@contextlib.contextmanager
def ended_by_signals(end: Callable[[], None], within_s: int = 0) -> Iterator[None]:
    """SIGINT and SIGTERM call `end`, which lets the program end in good order. For the main thread.

    Where that takes longer than `within_s` (0: no limit), SIGALRM ends the program.
    """
    set_alarm = getattr(signal, "alarm", lambda _: None)  # Windows has none

    def note(_: signal.Signals) -> None:
        set_alarm(within_s)
        end()

    with noted_signals(note):
        try:
            yield
        finally:
            set_alarm(0)


class ProcessSignals:
    """SIGINT and SIGTERM ask for the end, the first time; SIGHUP for whatever `heard_by` gives it to.

    Nobody puts the handlers back: a signal that comes again, or late, is harmless up to the last instruction. A SIGHUP
    that nobody hears yet is ignored. For the main thread.
    """

    def __init__(self) -> None:
        self.end_asked = False
        self._on_end: Callable[[], None] | None = None
        self._on_hangup: Callable[[], None] | None = None

    def take_over(self) -> None:
        """From now on."""
        for number in _END:
            signal.signal(number, self._end)
        if hasattr(signal, "SIGHUP"):
            signal.signal(signal.SIGHUP, self._hangup)

    def ignore(self) -> None:
        """Nothing is left that could be ended or rotated; also true while the interpreter is taken down."""
        for number in END_SIGNALS:
            signal.signal(number, signal.SIG_IGN)

    @contextlib.contextmanager
    def heard_by(self, on_end: Callable[[], None], on_hangup: Callable[[], None]) -> Iterator[None]:
        """Call these in the running event loop. An end that was asked for before calls at once."""
        with _waking(asyncio.get_running_loop()):
            self._on_end, self._on_hangup = on_end, on_hangup
            if self.end_asked:
                on_end()
            try:
                yield
            finally:
                self._on_end = self._on_hangup = None

    def _end(self, *_: object) -> None:
        self.end_asked = True
        if self._on_end is not None:
            self._on_end()

    def _hangup(self, *_: object) -> None:
        if self._on_hangup is not None:
            self._on_hangup()


@contextlib.contextmanager
def _waking(loop: asyncio.AbstractEventLoop) -> Iterator[None]:
    """Let signals wake a loop that waits: without that, one that comes right before the wait is handled after it.

    `loop.add_signal_handler` does the same, but puts the default handlers back when the loop is closed, and then a
    second SIGTERM kills.
    """
    waker, woken = socket.socketpair()
    with waker, woken:
        waker.setblocking(False)
        woken.setblocking(False)
        try:
            loop.add_reader(woken, lambda: woken.recv(1 << 12))
        except NotImplementedError:  # Windows: its loop does it by itself
            yield
            return
        before = signal.set_wakeup_fd(waker.fileno(), warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(before)
            loop.remove_reader(woken)
