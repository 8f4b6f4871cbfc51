"""Who is stuck, and since when."""

from daqd.process.watchdog import Watchdog


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_what_grows_is_not_stuck() -> None:
    clock = Clock()
    watchdog = Watchdog(10.0, clock)
    for number in range(5):
        clock.now += 20.0
        assert watchdog.look({"reader": number, "writer": -number}) == {}


def test_what_stands_still_is_stuck_after_the_patience() -> None:
    clock = Clock()
    watchdog = Watchdog(10.0, clock)
    for seconds, stuck in ((0, {}), (9, {}), (10, {"reader": 10.0}), (25, {"reader": 25.0})):
        clock.now = 100.0 + seconds
        assert watchdog.look({"reader": 7, "writer": seconds}) == stuck
    assert watchdog.look({"reader": 8, "writer": 25}) == {}


def test_who_is_gone_is_forgotten() -> None:
    clock = Clock()
    watchdog = Watchdog(10.0, clock)
    watchdog.look({"reader of run 1": 7})
    clock.now += 20.0
    assert watchdog.look({}) == {}
    assert watchdog.look({"reader of run 1": 7}) == {}
    assert watchdog.look({"reader of run 2": 7}) == {}
