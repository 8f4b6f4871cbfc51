"""How long subscribers that are behind are waited for."""

import pytest

from daqd.publishing.send_budget import SendBudget
from tests.daqd.emulated_bench import HandClock


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


def test_without_a_reserve_every_message_may_wait(clock: HandClock) -> None:
    patience = SendBudget(10.0, clock=clock)
    for _ in range(100):
        assert patience.left_s() == 10.0
        patience.use(10.0)


def test_what_was_waited_comes_back_as_time_goes_by(clock: HandClock) -> None:
    patience = SendBudget(0.1, 0.25, 0.25, clock)
    assert patience.left_s() == pytest.approx(0.1)
    for left in (0.15, 0.05, 0.0):
        patience.use(0.1)
        assert patience.left_s() == pytest.approx(min(0.1, left))
    clock.sleep(0.2)
    assert patience.left_s() == pytest.approx(0.05)
    assert patience.left_s() == pytest.approx(0.05)
    clock.sleep(1000.0)
    assert patience.left_s() == pytest.approx(0.1)
    for left in (0.15, 0.05):  # no more than the reserve, however long nobody waited
        patience.use(0.1)
        assert patience.left_s() == pytest.approx(min(0.1, left))


def test_no_more_than_its_share_of_the_time_is_waited(clock: HandClock) -> None:
    patience = SendBudget(0.1, 1.0, 0.25, clock)
    waited_s = 0.0
    while clock.now < 1000.0:
        left_s = patience.left_s()
        clock.sleep(left_s + 0.001)
        patience.use(left_s)
        waited_s += left_s
    assert waited_s <= 1.0 + 0.25 * clock.now
