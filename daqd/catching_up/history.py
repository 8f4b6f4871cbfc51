"""`daqd-history`: the child process that answers for the past, from files. Started by the daemon, or by a replay.

It keeps nothing: killed, another one takes its place, and clients ask on.
"""

import argparse
import contextlib
import math
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import zmq

from astropix_runtime.sockets.endpoints import is_tcp
from daqd.catching_up.archive import Archive, DataDirectory, ReplayArchive
from daqd.catching_up.history_server import HistoryServer, HistoryServerError
from daqd.catching_up.past_run import missing_ledgers
from daqd.children.child_end import (
    DaemonPipe,
    add_key_options,
    keys_of,
    leave_signals_to_the_daemon,
    log_to_daemon,
)
from daqd.children.messages import HistoryRequested, Ready, RunDecoded
from daqd.errors import ConfigError
from daqd.following.replay_progress import ReplayView
from daqd.runs.run_store import RunStore
from protocol.ledger import LedgerCounts

Ledgers = Iterator[tuple[int, LedgerCounts] | None]

_NICE = 5
"""The acquisition and the stream go first where processors are short."""
_HOUSEKEEPING_MS = 1000
_REPORT_S = 0.2


@dataclass(frozen=True)
class HistoryOptions:
    """The command line of the history server; see `--help` of `python -m daqd.catching_up.history`."""

    data_dir: Path | None
    replay: Path | None
    bind: str
    any_port: bool
    after_run: int
    server_key: Path | None
    client_keys: Path | None


class HistoryProcess:
    """The loop of the child: answers requests, and between them completes records that have no ledger."""

    def __init__(self, server: HistoryServer, ledgers: Ledgers, daemon: DaemonPipe) -> None:
        self._server = server
        self._daemon = daemon
        self._ledgers = ledgers
        self._more_ledgers = True
        self._request_reported = -math.inf

    def run(self) -> None:
        """Run until the daemon has ended the input, or is gone."""
        if not self._daemon.send(Ready(endpoint=self._server.endpoint)):
            return
        poller = zmq.Poller()
        poller.register(self._daemon.source, zmq.POLLIN)
        poller.register(self._server.socket, zmq.POLLIN)
        while True:
            ready = dict(poller.poll(0 if self._server.busy or self._more_ledgers else _HOUSEKEEPING_MS))
            if self._daemon.source in ready:
                self._daemon.receive()
            if self._daemon.ended:
                return
            before = self._server.requests
            self._server.take_requests()
            if (self._server.requests > before or self._server.busy) and not self._report_request(time.monotonic()):
                return
            if self._server.busy:
                self._server.work()
            elif self._more_ledgers:
                self._look_for_ledgers()
            self._server.forget(time.monotonic())

    def _report_request(self, now: float) -> bool:
        """Report now and then that a client asks for history; False if the daemon is gone."""
        if now < self._request_reported + _REPORT_S:
            return True
        self._request_reported = now
        return self._daemon.send(HistoryRequested())

    def _look_for_ledgers(self) -> None:
        try:
            found = next(self._ledgers)
        except StopIteration:
            self._more_ledgers = False
            return
        if found is not None:
            run, ledger = found
            self._more_ledgers = self._daemon.send(RunDecoded(run=run, ledger=ledger))


def parse_options(argv: list[str] | None = None) -> HistoryOptions:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="daqd-history", description=__doc__)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--data-dir", type=Path, help="where the runs are")
    source.add_argument("--replay", type=Path, help="where a replay tells how far it is")
    parser.add_argument("--bind", required=True, help="where to answer")
    parser.add_argument("--any-port", action="store_true", help="where that port is taken, at any other")
    parser.add_argument("--after-run", type=int, default=0, help="runs up to this one have no writer any more")
    add_key_options(parser)
    return HistoryOptions(**vars(parser.parse_args(argv)))


def main(argv: list[str] | None = None) -> int:
    """Run the child."""
    options = parse_options(argv)
    leave_signals_to_the_daemon()
    if hasattr(os, "nice"):
        os.nice(_NICE)
    with contextlib.ExitStack() as opened:
        try:
            archive, ledgers = _archive_of(options, opened)
            server = _serve(options, archive)
        except (HistoryServerError, ConfigError) as error:
            log_to_daemon(str(error), priority=3)
            return 1
        opened.callback(server.close)
        daemon = DaemonPipe(sys.stdin.fileno(), sys.stdout.fileno())
        opened.callback(daemon.close)
        HistoryProcess(server, ledgers, daemon).run()
    return 0


def _archive_of(options: HistoryOptions, opened: contextlib.ExitStack) -> tuple[Archive, Ledgers]:
    if options.data_dir is not None:
        store = RunStore(options.data_dir)
        return DataDirectory(store, options.after_run), missing_ledgers(store, options.after_run)
    assert options.replay is not None  # noqa: S101 - one of both is required
    try:
        view = opened.enter_context(ReplayView(options.replay))
    except (OSError, ValueError) as error:
        raise HistoryServerError(f"nothing is known of the replay: {error}") from error
    return ReplayArchive(view), iter(())


def _serve(options: HistoryOptions, archive: Archive) -> HistoryServer:
    keys = keys_of(options.server_key, options.client_keys)
    try:
        return HistoryServer(options.bind, archive, keys)
    except HistoryServerError:
        if not options.any_port or not is_tcp(options.bind):
            raise
    return HistoryServer(f"{options.bind.rpartition(':')[0]}:*", archive, keys)


if __name__ == "__main__":
    sys.exit(main())
