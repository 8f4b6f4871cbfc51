"""`daqd-history`: the child process that answers for the past, from the files of the runs. Started by the daemon.

It keeps nothing: killed, another one takes its place, and clients ask on.
"""

import argparse
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import zmq

from daqd.catching_up.history_server import HistoryError, HistoryServer
from daqd.catching_up.missing_ledgers import missing_ledgers
from daqd.children.child_log import say
from daqd.children.child_start import add_key_options, keys_of, leave_signals_to_the_daemon
from daqd.children.notice_pipe import NoticePipe
from daqd.children.notices import Report, encode_line
from daqd.errors import ConfigError
from daqd.runs.run_store import RunStore

_NICE = 5
"""The acquisition and the stream go first where processors are short."""
_HOUSEKEEPING_MS = 1000


@dataclass(frozen=True)
class HistoryOptions:
    """What the daemon tells it at the start; see `--help` of `python -m daqd.catching_up.history`."""

    data_dir: Path
    bind: str
    after_run: int
    server_key: Path | None
    client_keys: Path | None


class HistoryProcess:
    """The loop of the child: answers requests, and between them completes records that have no ledger."""

    def __init__(self, options: HistoryOptions, server: HistoryServer, end: NoticePipe, reports: IO[bytes]) -> None:
        self._server = server
        self._end = end
        self._reports = reports
        self._ledgers = missing_ledgers(RunStore(options.data_dir), options.after_run)
        self._more_ledgers = True

    def run(self) -> None:
        """Until the daemon says finish, or is gone."""
        if not self._report(kind="ready", endpoint=self._server.endpoint):
            return
        poller = zmq.Poller()
        poller.register(self._end.source, zmq.POLLIN)
        poller.register(self._server.socket, zmq.POLLIN)
        while True:
            ready = dict(poller.poll(0 if self._server.busy or self._more_ledgers else _HOUSEKEEPING_MS))
            if self._end.source in ready:
                self._end.take()
            if self._end.ended:
                return
            self._server.take_requests()
            if self._server.busy:
                self._server.work()
            elif self._more_ledgers:
                self._look_for_ledgers()
            self._server.forget(time.monotonic())

    def _look_for_ledgers(self) -> None:
        try:
            found = next(self._ledgers)
        except StopIteration:
            self._more_ledgers = False
            return
        if found is not None:
            run, ledger = found
            self._more_ledgers = self._report(kind="run_ended", run=run, ledger=ledger)

    def _report(self, **values: Any) -> bool:
        try:
            self._reports.write(encode_line(Report.model_validate(values)))
            self._reports.flush()
        except OSError:
            return False  # the daemon is gone, and with it the end of our input
        return True


def parse_options(argv: list[str] | None = None) -> HistoryOptions:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="daqd-history", description=__doc__)
    parser.add_argument("--data-dir", type=Path, required=True, help="where the runs are")
    parser.add_argument("--bind", required=True, help="where to answer")
    parser.add_argument("--after-run", type=int, required=True, help="runs up to this one have no writer any more")
    add_key_options(parser)
    return HistoryOptions(**vars(parser.parse_args(argv)))


def main(argv: list[str] | None = None) -> int:
    """Run the child."""
    options = parse_options(argv)
    leave_signals_to_the_daemon()
    if hasattr(os, "nice"):
        os.nice(_NICE)
    try:
        keys = keys_of(options.server_key, options.client_keys)
        server = HistoryServer(options.bind, RunStore(options.data_dir), options.after_run, keys)
    except (HistoryError, ConfigError) as error:
        say(str(error), priority=3)
        return 1
    end = NoticePipe(sys.stdin.fileno())
    try:
        HistoryProcess(options, server, end, sys.stdout.buffer).run()
    finally:
        end.close()
        server.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
