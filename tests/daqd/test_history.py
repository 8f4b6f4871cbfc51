"""The process that answers for the past, with the test in the place of the daemon; and the daemon's side of it."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from daqd.catching_up.history import parse_options
from daqd.children.child_process import ChildError, ChildProcess
from daqd.children.messages import FromChild, RunDecoded
from daqd.children.programs import history_server
from daqd.runs.run_store import RunStore
from protocol.block import ReadoutBlock
from tests.daqd.asking import Asking
from tests.daqd.made_readouts import make_readouts
from tests.daqd.run_on_disk import RunOnDisk, number_readouts
from tests.daqd.test_history_server import expected, joined
from tests.daqd.test_past_run import put_on_disk
from tests.daqd.test_publisher_process import wait_until
from tests.daqd.waiting import DEADLINE_S

pytestmark = pytest.mark.slow

READOUTS = number_readouts(make_readouts(200))


class Handled:
    """A handle with the ledgers that it brought."""

    def __init__(self, store: RunStore, bind: str = "tcp://127.0.0.1:*", after_run: int = 0) -> None:
        self.ledgers: dict[int, dict[str, Any]] = {}
        self.handle = history_server(bind, store.data_dir, after_run, self._receive)

    def _receive(self, message: FromChild) -> None:
        if isinstance(message, RunDecoded):
            self.ledgers[message.run] = message.ledger

    async def __aenter__(self) -> ChildProcess:
        await self.handle.start()
        return self.handle

    async def __aexit__(self, *_: object) -> None:
        await asyncio.wait_for(self.handle.stop(), DEADLINE_S)
        assert self.handle.pid is None


def use(handled: Handled, what: Callable[[ChildProcess], Awaitable[None]]) -> None:
    async def all_of_it() -> None:
        async with handled as handle:
            await what(handle)

    asyncio.run(all_of_it())


def test_killed_it_is_back_at_the_same_address(store: RunStore) -> None:
    run = RunOnDisk(store, 3)
    run.write_all([READOUTS])

    async def ask(handle: ChildProcess) -> None:
        endpoint, first = handle.endpoint, handle.pid
        with Asking(endpoint) as client:
            np.testing.assert_array_equal(joined(await asyncio.to_thread(client.hits, 3)), expected(run))
        assert first is not None
        os.kill(first, signal.SIGKILL)
        await wait_until("there is another", lambda: handle.pid not in (None, first))
        with Asking(endpoint) as client:
            np.testing.assert_array_equal(joined(await asyncio.to_thread(client.hits, 3)), expected(run))
        assert (handle.endpoint, handle.restarts) == (endpoint, 1)

    use(Handled(store), ask)


def test_ledgers_that_are_missing(store: RunStore) -> None:
    """Of runs that have ended and will not be published any more, and of these only."""
    runs = {number: RunOnDisk(store, number) for number in range(1, 7)}
    runs[1].write_all([READOUTS])
    runs[2].write_all([READOUTS])
    runs[2].write_record("finished", ledger={"known": 1})
    runs[3].make_directory()  # claimed, not begun
    runs[4].write_all([READOUTS[:50], READOUTS[50:]])
    runs[4].write_record("interrupted")
    runs[5].make_directory()
    runs[5].write_record("running")
    runs[6].write_all([READOUTS])
    record = store.read_record(1)
    assert record is not None
    decoder = record.decoder()
    ids, timestamps, chunks = ([each[column] for each in READOUTS] for column in range(3))
    decoder.decode(ReadoutBlock.from_columns(chunks, ids, timestamps))
    decoder.flush()
    handled = Handled(store, after_run=5)

    async def wait(_: ChildProcess) -> None:
        await wait_until("both are there", lambda: len(handled.ledgers) == 2)

    use(handled, wait)
    assert handled.ledgers == {1: decoder.ledger.to_dict(), 4: decoder.ledger.to_dict()}


def test_it_ends_while_it_is_busy(store: RunStore) -> None:
    put_on_disk(store, [READOUTS])

    async def ask(handle: ChildProcess) -> None:
        with Asking(handle.endpoint) as client:
            for _ in range(8):
                client.send("hits", run=1, max_hits=1)

    use(Handled(store), ask)


def test_none_is_wanted(store: RunStore) -> None:
    async def look(handle: ChildProcess) -> None:
        assert (handle.pid, handle.endpoint) == (None, "")

    use(Handled(store, bind=""), look)


def test_an_address_that_is_taken(store: RunStore, caplog: pytest.LogCaptureFixture) -> None:
    async def start_two() -> None:
        async with Handled(store) as first:
            second = Handled(store, bind=first.endpoint)
            with pytest.raises(
                ChildError, match=f"the history server did not start at {first.endpoint}; its message is"
            ):
                await second.handle.start()
            assert second.handle.pid is None

    asyncio.run(start_two())
    assert "cannot answer at" in caplog.text


def test_it_goes_with_the_daemon(store: RunStore) -> None:
    """Its input ends when the daemon is gone, however that went."""
    command = [
        sys.executable,
        "-W",
        "error",
        "-m",
        "daqd.catching_up.history",
        f"--data-dir={store.data_dir}",
        "--after-run=0",
    ]
    with subprocess.Popen(
        [*command, "--bind=tcp://127.0.0.1:*"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=Path.cwd()
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert b"ready" in process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGINT)
        assert process.poll() is None
        process.stdin.close()
        assert process.wait(DEADLINE_S) == 0


def test_command_line() -> None:
    options = parse_options(["--data-dir=d", "--bind=tcp://127.0.0.1:*", "--after-run=4"])
    assert (options.data_dir, options.bind, options.after_run) == (Path("d"), "tcp://127.0.0.1:*", 4)
