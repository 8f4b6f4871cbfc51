"""The daemon's side of its publisher: started, restarted, talked to, ended, whatever happens in between."""

import asyncio
import errno
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from daqd.children.child_process import ChildError
from daqd.children.messages import FromChild, PublisherState, RunDecoded
from daqd.children.programs import PublisherHandle
from daqd.configuration.config import StreamSection
from daqd.publishing.stream import Stream
from daqd.runs.run_store import RunStore
from protocol.wire.messages import LogLine, PublisherStat, Stat, Topic
from tests.daqd.listener import Collector
from tests.daqd.published import Published
from tests.daqd.run_on_disk import RunOnDisk
from tests.daqd.test_publish import READOUTS, decode, ended, unique
from tests.daqd.waiting import DEADLINE_S

pytestmark = pytest.mark.slow

Use = Callable[[PublisherHandle], Awaitable[Any]]


async def wait_until(what: str, condition: Callable[[], object]) -> None:
    async def wait() -> None:
        while not condition():  # noqa: ASYNC110 - what is waited for tells nobody
            await asyncio.sleep(0.002)

    try:
        await asyncio.wait_for(wait(), DEADLINE_S)
    except TimeoutError:
        pytest.fail(f"still not: {what}")


class Handled:
    """A publisher with the messages that it sent."""

    def __init__(self, store: RunStore, **section: Any) -> None:
        self.messages: list[FromChild] = []
        stream = StreamSection.model_validate({"bind": "tcp://127.0.0.1:*", **section})
        self.handle = PublisherHandle(stream, "bench", store.data_dir, 0, self.messages.append)

    @property
    def state(self) -> PublisherState:
        """The newest one; without subscribers and restarts before there is one."""
        states = [message for message in self.messages if isinstance(message, PublisherState)]
        return states[-1] if states else PublisherState(run=None, ledger={}, hits_hz=0.0, stat=PublisherStat())

    def decoded(self) -> list[RunDecoded]:
        return [message for message in self.messages if isinstance(message, RunDecoded)]

    async def __aenter__(self) -> PublisherHandle:
        await self.handle.start()
        return self.handle

    async def __aexit__(self, *_: object) -> None:
        await asyncio.wait_for(self.handle.stop(), DEADLINE_S)
        assert self.handle.pid is None


def test_from_start_to_stop(store: RunStore) -> None:
    async def use() -> None:
        handled = Handled(store)
        async with handled as handle:
            assert handle.endpoint.startswith("tcp://127.0.0.1:")
            assert handle.pid is not None
            with Collector(handle.endpoint) as collector:
                await wait_until("it is heard", lambda: handled.state.stat.subscribers == 1)
                RunOnDisk(store, 1).write_all([READOUTS])
                handle.wake()
                handle.send_stat(Stat(state="running", run=1))
                handle.send_log(LogLine(level="info", text="hello"))
                await wait_until("all has come", lambda: ended(1)(collector.messages))
                await wait_until("the state has come", lambda: Published(collector.messages).of(Topic.STAT))
                await wait_until("the line has come", lambda: Published(collector.messages).log == ["hello"])
                assert len(Published(collector.messages).hits) == len(decode(READOUTS)[0])
                await wait_until("the ledger is reported", handled.decoded)
        assert handle.restarts == 0

    asyncio.run(use())


def test_a_killed_publisher_is_replaced_at_the_same_address(store: RunStore, caplog: pytest.LogCaptureFixture) -> None:
    async def use() -> None:
        handled = Handled(store)
        async with handled as handle:
            endpoint, first = handle.endpoint, handle.pid
            with Collector(endpoint, ["hits", "run"]) as collector:
                await wait_until("it is heard", lambda: handled.state.stat.subscribers == 1)
                RunOnDisk(store, 1).write_all([READOUTS])
                handle.wake()
                await wait_until("something has come", lambda: collector.messages)
                assert first is not None
                os.kill(first, signal.SIGKILL)
                await wait_until("there is another", lambda: handled.state.stat.restarts == 1)
                assert handle.pid not in (None, first)
                assert handle.endpoint == endpoint
                await wait_until("the end has come", lambda: ended(1)(collector.messages))
                hits = unique(Published(collector.messages).hits)
        assert len(hits) == len(decode(READOUTS)[0])
        assert handle.restarts == 1

    with caplog.at_level(logging.WARNING):
        asyncio.run(use())
    assert "the publisher died (signal 9); another one starts in 0.05 s" in caplog.text


def test_who_was_well_for_long_is_replaced_at_once(
    store: RunStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("daqd.children.child_process._STABLE_S", 0.0)

    async def use() -> None:
        handled = Handled(store)
        async with handled as handle:
            for deaths in (1, 2):
                assert handle.pid is not None
                os.kill(handle.pid, signal.SIGKILL)
                await wait_until("there is another", lambda n=deaths: handled.state.stat.restarts == n)

    with caplog.at_level(logging.WARNING):
        asyncio.run(use())
    assert caplog.text.count("another one starts in 0.05 s") == 2


def test_killed_while_it_does_what_is_left(store: RunStore) -> None:
    """Another one does it."""

    async def use() -> None:
        handled = Handled(store)
        async with handled as handle:
            first = handle.pid
            assert first is not None
            os.kill(first, signal.SIGSTOP)
            RunOnDisk(store, 1).write_all([READOUTS])
            stopping = asyncio.create_task(handle.stop())
            await asyncio.sleep(0)  # its input is closed
            os.kill(first, signal.SIGKILL)
            await asyncio.wait_for(stopping, DEADLINE_S)
            assert handle.restarts == 1
        (end,) = handled.decoded()
        assert end.ledger is not None
        assert end.ledger["readouts"] == len(READOUTS)

    asyncio.run(use())


def test_one_that_always_fails_is_not_started_for_ever_at_the_end(
    store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def use() -> None:
        async with Handled(store) as handle:
            assert handle.pid is not None
            monkeypatch.setattr(handle, "module", "daqd.no_such_module")
            os.kill(handle.pid, signal.SIGSTOP)
            stopping = asyncio.create_task(handle.stop())
            await asyncio.sleep(0)
            os.kill(handle.pid, signal.SIGKILL)
            await asyncio.wait_for(stopping, DEADLINE_S)
            assert handle.restarts == 2

    asyncio.run(use())


def test_stop_while_the_next_one_is_awaited(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("daqd.children.child_process._BACKOFF_S", (1000.0,))

    async def use() -> None:
        async with Handled(store) as handle:
            assert handle.pid is not None
            os.kill(handle.pid, signal.SIGKILL)
            await wait_until("the death is noted", lambda: handle.restarts == 1)
            handle.wake()
            handle.send_log(LogLine(level="info", text="to nobody"))

    asyncio.run(use())


def test_stop_while_the_next_one_is_being_started(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    async def use() -> None:
        starting, go_on = asyncio.Event(), asyncio.Event()
        start_process = asyncio.create_subprocess_exec

        async def slow(*arguments: Any, **options: Any) -> asyncio.subprocess.Process:
            starting.set()
            await go_on.wait()
            return await start_process(*arguments, **options)

        handled = Handled(store)
        async with handled as handle:
            monkeypatch.setattr(asyncio, "create_subprocess_exec", slow)
            assert handle.pid is not None
            os.kill(handle.pid, signal.SIGKILL)
            await asyncio.wait_for(starting.wait(), DEADLINE_S)
            stopping = asyncio.create_task(handle.stop())
            await asyncio.sleep(0)
            go_on.set()
            await asyncio.wait_for(stopping, DEADLINE_S)
            assert handle.pid is None

    asyncio.run(use())


def refusing(monkeypatch: pytest.MonkeyPatch, times: float) -> list[int]:
    """The system starts no process, so many times; what it was asked for is counted."""
    start_process = asyncio.create_subprocess_exec
    asked: list[int] = []

    async def refuse(*arguments: Any, **options: Any) -> asyncio.subprocess.Process:
        asked.append(len(asked))
        if len(asked) <= times:
            raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")
        return await start_process(*arguments, **options)

    monkeypatch.setattr(asyncio, "create_subprocess_exec", refuse)
    return asked


def test_a_system_that_starts_no_process_for_a_while(
    store: RunStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("daqd.children.child_process._BACKOFF_S", (0.01,))

    async def use() -> None:
        async with Handled(store) as handle:
            killed = handle.pid
            assert killed is not None
            asked = refusing(monkeypatch, 3)
            os.kill(killed, signal.SIGKILL)
            await wait_until("another one runs", lambda: handle.pid not in (None, killed))
            assert len(asked) == 4

    asyncio.run(use())
    assert caplog.text.count("cannot be started: Resource temporarily unavailable; it is tried again") == 1


def test_stop_while_the_system_starts_no_process(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("daqd.children.child_process._BACKOFF_S", (0.01,))

    async def use() -> None:
        async with Handled(store) as handle:
            assert handle.pid is not None
            asked = refusing(monkeypatch, float("inf"))
            os.kill(handle.pid, signal.SIGKILL)
            await wait_until("another one is wanted", lambda: len(asked) > 1)
            await asyncio.wait_for(handle.stop(), DEADLINE_S)

    asyncio.run(use())


def test_a_system_that_starts_no_process_at_all(store: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    refusing(monkeypatch, float("inf"))

    async def use() -> None:
        handled = Handled(store)
        with pytest.raises(ChildError, match=r"^the publisher cannot be started: Resource temporarily unavailable$"):
            await handled.handle.start()
        await handled.handle.stop()

    asyncio.run(use())


def test_an_address_that_is_taken(store: RunStore, caplog: pytest.LogCaptureFixture) -> None:
    async def use() -> None:
        with Stream("tcp://127.0.0.1:*", "other", 10) as other:
            handled = Handled(store, bind=other.endpoint)
            with pytest.raises(ChildError, match=f"the publisher did not start at {other.endpoint}; its message is"):
                await handled.handle.start()
            assert handled.handle.pid is None

    asyncio.run(use())
    assert "cannot publish at" in caplog.text


@pytest.mark.parametrize(("times", "ready"), [(1, True), (3, True), (4, False)])
def test_what_is_sent_to_the_whole_group_may_end_one_that_is_just_being_started(
    store: RunStore, monkeypatch: pytest.MonkeyPatch, times: int, ready: bool
) -> None:
    """As Ctrl-C or a terminal that is closed, before it has a session of its own: another one is started."""
    start_process = asyncio.create_subprocess_exec
    pids: list[int] = []

    async def hit(*arguments: Any, **options: Any) -> asyncio.subprocess.Process:
        if len(pids) < times:
            arguments = (sys.executable, "-c", "import os, signal; os.kill(os.getpid(), signal.SIGHUP)")
        process = await start_process(*arguments, **options)
        pids.append(process.pid)
        return process

    monkeypatch.setattr(asyncio, "create_subprocess_exec", hit)

    async def use() -> None:
        handled = Handled(store)
        if ready:
            async with handled as handle:
                assert (handle.pid, handle.restarts) == (pids[-1], 0)
        else:
            with pytest.raises(ChildError, match="did not start"):
                await handled.handle.start()

    asyncio.run(use())
    assert len(pids) == times + ready


def test_a_publisher_that_is_too_slow(
    store: RunStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It has given no message that could be above, and nothing to finish that could be waited for."""
    monkeypatch.setattr("daqd.children.child_process._READY_S", 0.001)

    async def use() -> None:
        handled = Handled(store)
        with pytest.raises(ChildError, match=r"; it was not ready after 0\.001 s: is this computer too busy\?$"):
            await handled.handle.start()
        assert handled.handle.pid is None

    asyncio.run(use())
    assert caplog.text == ""


def test_a_publisher_that_takes_no_notices_costs_no_memory(store: RunStore) -> None:
    """It is stopped, as by a debugger, and told a million things; it misses most, and goes on when it can."""

    async def use() -> None:
        handled = Handled(store)
        async with handled as handle:
            assert handle.pid is not None
            os.kill(handle.pid, signal.SIGSTOP)
            try:
                for _ in range(200_000):
                    handle.send_log(LogLine(level="info", text="x" * 100))
                assert handle._input is not None
                assert len(handle._input._rest) < 200  # one line at most waits here
            finally:
                os.kill(handle.pid, signal.SIGCONT)
            RunOnDisk(store, 1).write_all([READOUTS[:10]])
            await wait_until("it goes on", handled.decoded)

    asyncio.run(use())


def test_a_publisher_that_does_not_end_is_ended(
    store: RunStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("daqd.children.child_process._STOP_S", 0.2)

    async def use() -> None:
        async with Handled(store) as handle:
            assert handle.pid is not None
            os.kill(handle.pid, signal.SIGSTOP)

    asyncio.run(use())
    assert "the publisher had more to do after 0 s and was ended" in caplog.text


def test_stop_without_start(store: RunStore) -> None:
    async def use() -> None:
        handle = Handled(store).handle
        handle.wake()
        await handle.stop()

    asyncio.run(use())
