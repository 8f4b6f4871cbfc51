"""`daqd demo`: the whole chain on an emulated board, for a first look."""

import argparse
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.resources import files as package_files
from pathlib import Path
from typing import IO, Any

from astropix_runtime.command_line.arguments import chips, positive
from astropix_runtime.command_line.output import drop_output
from astropix_runtime.command_line.program import FAILED, OK
from astropix_runtime.errors import UnreachableError
from astropix_runtime.process.signals import END_SIGNALS, noted_signals
from astropix_runtime.sockets.endpoints import directory_for_sockets
from daqd.commands.dependent import start_dependent
from daqd.configuration.config import load_config
from daqd.control import ControlClient
from daqd.errors import DaqError
from protocol.text import reason_of
from protocol.wire.messages import Stat

_START_S = 30.0
_STOP_S = 20.0
_ASK_S = 0.1
_DEFAULT_PORT = 5556
_PAGE_PORT = 8050


def add_demo_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `daqd demo`."""
    parser.add_argument("--data-dir", type=Path, default=Path("data"), help="where the runs go (default ./data)")
    parser.add_argument(
        "--rate", type=positive, default=2000.0, metavar="HZ", help="hits per second (default %(default)g)"
    )
    parser.add_argument(
        "--chips", type=chips, default=4, metavar="N", help="chips in the chain, 1 to 31 (default %(default)d)"
    )
    parser.add_argument("--duration", type=float, metavar="S", help="end by itself after so many seconds")


def demo_main(args: argparse.Namespace) -> int:
    """Start daemon, sanity checker, page and monitor; end them in reverse when the monitor ends or Ctrl-C comes.

    They end with the demo in any case, also where it is killed by SIGKILL.
    """
    with (
        tempfile.TemporaryDirectory(prefix="astropix-demo-", dir=directory_for_sockets()) as folder,
        _life_line() as descriptor,
    ):
        demo = _Demo(args, Path(folder), descriptor)
        with noted_signals(demo.interrupt, demo.signals):
            return demo.run()


class _Demo:
    def __init__(self, args: argparse.Namespace, folder: Path, life_line: int) -> None:
        self._args = args
        self._life_line = life_line
        self._parent = os.getppid()
        # nohup: it is to outlive terminal and shell.
        self.signals = [
            each for each in END_SIGNALS if each.name != "SIGHUP" or signal.getsignal(each) != signal.SIG_IGN
        ]
        self._on_terminal = len(self.signals) == len(END_SIGNALS) and sys.stdin is not None and sys.stdin.isatty()
        self._folder = folder
        self._interrupted = False
        self._began = False
        self._alarms = f"ipc://{folder}/alarms.ipc"
        self._alarm_control = f"ipc://{folder}/sanity.ipc"
        self._config = folder / "demo.toml"
        self._configure(_DEFAULT_PORT)

    def _configure(self, port: int) -> None:
        """Write the configuration; a wrong --rate or --chips is told before anything starts."""
        args, folder = self._args, self._folder
        self._stream = f"tcp://127.0.0.1:{port}"
        template = (package_files("daqd.commands") / "demo.toml").read_text()
        self._config.write_text(
            template.format(
                runtime_dir=json.dumps(str(folder)),
                data_dir=json.dumps(str(args.data_dir.absolute())),
                bind=json.dumps(self._stream),
                rate_hz=float(args.rate),
                chips=args.chips,
            )
        )
        self._endpoint = load_config(self._config).control_endpoint

    def run(self) -> int:
        log_path = self._args.data_dir.absolute() / "demo.log"
        try:
            log_path.parent.mkdir(parents=True, exist_ok=True)
            log_file = log_path.open("a")
        except OSError as error:
            raise DaqError(f"--data-dir {self._args.data_dir} cannot be used: {reason_of(error)}") from error
        with log_file as log:
            daemon = self._start_daemon(log)
            if daemon is None:
                print(f"daqd demo: the daemon did not start; {log_path} says why", file=sys.stderr)
                return FAILED
            try:
                verdict = OK if self._interrupted else self._take_run(daemon, log)
            finally:
                code = self._stop(daemon)
        self._say_goodbye(verdict, log_path)
        return code if self._began else OK  # ended before it could do anything in order

    def _start_daemon(self, log: IO[str]) -> subprocess.Popen[bytes] | None:
        """The daemon, at the usual port of the stream or, where that is taken, at another; None where it fails."""
        for port in (_DEFAULT_PORT, _free_port(), _free_port()):
            self._configure(port)
            daemon = start_dependent(self._life_line, "daqd.cli", "run", "-c", str(self._config), log=log)
            if self._wait_for_stat(daemon, lambda _: True):
                return daemon
            self._stop(daemon)
        return None

    def _take_run(self, daemon: subprocess.Popen[bytes], log: IO[str]) -> int:
        """One run, with the sanity checker there from its first hit to its end; the checker's verdict."""
        sanity = start_dependent(self._life_line, "monitor.sanity.cli", "-c", str(self._write_sanity_config()), log=log)
        port = _PAGE_PORT if _is_free(_PAGE_PORT) else _free_port()
        address = f"http://127.0.0.1:{port}/"
        _tell(f"The page is at {address}")  # first of all, and on the terminal's screen
        page = self._start_page(port, log)
        alarms = ("--alarms", self._alarms, "--alarm-control", self._alarm_control)
        watch = ("watch", "--connect", self._stream, "--page", address, *alarms)
        monitor = start_dependent(self._life_line, "monitor.cli", *watch)
        try:
            self._wait_for_stat(daemon, lambda stat: stat.publisher.subscribers >= 3 or monitor.poll() is not None)
            if not self._interrupted:
                self._command("start", comment="demo")
                self._began = True
                self._wait_for(monitor, daemon)
                self._command("stop")
        finally:
            self._stop(monitor)
            verdict = self._stop(sanity)
            self._stop(page)
        return verdict

    def _write_sanity_config(self) -> Path:
        """The checker of the demo keeps its alarms to itself, and tells them to the page and the monitor."""
        path = self._folder / "sanity.toml"
        path.write_text(
            f'[sanity]\nname = "demo"\ndirectory = {json.dumps(str(self._folder / "sanity"))}\n'
            f"[stream]\nconnect = {json.dumps(self._stream)}\n"
            f"[publish]\nbind = {json.dumps(self._alarms)}\n"
            f"[control]\nendpoint = {json.dumps(self._alarm_control)}\n"
        )
        return path

    def _start_page(self, port: int, log: IO[str]) -> subprocess.Popen[bytes]:
        where = ("--connect", self._stream, "--alarms", self._alarms, "--port", str(port))
        return start_dependent(self._life_line, "monitor.cli", "serve", *where, log=log)

    def _command(self, command: str, **args: Any) -> None:
        with ControlClient(self._endpoint, timeout_s=_STOP_S) as client:
            client.call(command, **args)

    def interrupt(self, _: signal.Signals) -> None:
        """The end is asked for."""
        self._interrupted = True

    def _wait_for_stat(self, daemon: subprocess.Popen[bytes], good: Callable[[Stat], bool]) -> bool:
        """Wait until the daemon says so; False where it does not."""
        deadline = time.monotonic() + _START_S
        while time.monotonic() < deadline and daemon.poll() is None and not self._ending():
            with contextlib.suppress(UnreachableError), ControlClient(self._endpoint, timeout_s=1.0) as client:
                if good(Stat.model_validate(client.call("status")["status"])):
                    return True
            time.sleep(_ASK_S)  # between two questions to another process
        return self._ending()

    def _ending(self) -> bool:
        """Whether the end was asked for. Where a terminal's shell, or make, is gone, nobody will ask any more."""
        if self._on_terminal and os.getppid() != self._parent:
            self._interrupted = True
        return self._interrupted

    def _wait_for(self, monitor: subprocess.Popen[bytes], daemon: subprocess.Popen[bytes]) -> None:
        end = time.monotonic() + self._args.duration if self._args.duration else None
        while not self._ending() and daemon.poll() is None and (end is None or time.monotonic() < end):
            with contextlib.suppress(subprocess.TimeoutExpired):
                monitor.wait(0.2)
                return

    def _stop(self, process: subprocess.Popen[bytes]) -> int:
        if process.poll() is None:
            process.terminate()
        try:
            return process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()

    def _say_goodbye(self, verdict: int, log_path: Path) -> None:
        runs = sorted(self._args.data_dir.glob("run_*"))
        if not self._began or not runs:
            _tell(f"Ended before a run began. (log: {os.path.relpath(log_path)})")
            return
        files = sorted(runs[-1].glob("*.apx"))
        where = os.path.relpath(files[0]) if files else str(self._args.data_dir)
        content = {0: "is content", 1: "has findings"}.get(verdict, f"ended with {verdict}")
        _tell(f"The run is in {os.path.relpath(runs[-1])}; the sanity checker {content}.")
        _tell(f"Look at it with: apx info {where}    (log: {os.path.relpath(log_path)})")


def _tell(line: str) -> None:
    """To the user, where the terminal is still there."""
    try:
        print(line, flush=True)
    except OSError:
        drop_output()


@contextlib.contextmanager
def _life_line() -> Iterator[int]:
    """The end of a pipe for what is started; the other end is closed when this process ends, however it does."""
    reading, writing = os.pipe()
    try:
        yield reading
    finally:
        os.close(writing)
        os.close(reading)


def _is_free(port: int) -> bool:
    """Whether nobody listens there."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def _free_port() -> int:
    """A port that nobody has just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
