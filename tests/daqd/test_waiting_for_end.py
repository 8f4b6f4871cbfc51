"""Waiting for the end: as long as something moves, and not for ever."""

import asyncio
import itertools

import pytest

from daqd.process.watchdog import Background, wait_for_end

FOREVER_S = 1000.0


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("daqd.process.watchdog._STUCK_S", 0.2)
    monkeypatch.setattr("daqd.process.watchdog._LOOK_S", 0.01)


async def never() -> None:
    await asyncio.sleep(FOREVER_S)


async def fail() -> None:
    raise OSError("no")


def test_what_ends_is_not_given_up() -> None:
    assert asyncio.run(wait_for_end(asyncio.sleep(0), lambda: {"writer": 0})) == ""


def test_what_stands_still_is_given_up_and_named() -> None:
    numbers = itertools.count()
    why = asyncio.run(wait_for_end(never(), lambda: {"reader": next(numbers), "writer": 0}))
    assert why == "writer: no answer from the disk or the board for 0.2 s"


def test_what_moves_without_end_is_given_up_at_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("daqd.process.watchdog.STOP_S", 0.5)
    numbers = itertools.count()
    why = asyncio.run(wait_for_end(never(), lambda: {"writer": next(numbers)}))
    assert why == "the disk is too slow: not done after 0.5 s"


def test_what_fails_says_so() -> None:
    with pytest.raises(OSError, match="no"):
        asyncio.run(wait_for_end(fail(), lambda: {"writer": 0}))


def test_work_in_the_background_is_waited_for_but_not_for_ever() -> None:
    async def main() -> None:
        background = Background()
        assert await background.wait_for_end() == ""
        done: list[int] = []

        async def work(number: int) -> None:
            await asyncio.sleep(0)
            done.append(number)

        for number in range(3):
            background.begin(work(number))
        assert await background.wait_for_end() == ""
        assert done == [0, 1, 2]
        background.begin(never())
        assert await background.wait_for_end() == "no answer from the disk for 0.2 s"

    asyncio.run(main())
