"""The cable of an emulated board, pulled out by hand and by the clock."""

from daqd.emulator.board_model import Cable
from tests.daqd.emulated_bench import HandClock
from tests.daqd.usb_bench import CountingBoard, ask


def test_by_hand() -> None:
    board = CountingBoard()
    board.exchange(ask(5))
    cable = Cable(board)
    seen: list[bool] = []
    cable.on_change.append(lambda: seen.append(cable.plugged))
    cable.plug_in()
    assert (cable.plug, board.answered) == (1, 5)
    cable.unplug()
    cable.unplug()
    assert not cable.plugged
    cable.plug_in()
    assert (cable.plugged, cable.plug, board.answered) == (True, 2, 0)
    assert seen == [True, False, False, True]
    assert not cable.moves_by_itself


def test_by_the_clock_from_the_first_use_on() -> None:
    clock, board = HandClock(), CountingBoard()
    cable = Cable(board, every_s=2.0, for_s=0.5, clock=clock)
    clock.sleep(100.0)
    seen = []
    for _ in range(24):
        seen.append(cable.plugged)
        clock.sleep(0.25)
    # The first look after it is back puts it in; its time begins with the second, when somebody uses it.
    out = [False] * 2
    assert seen == [*[True] * 8, *out, *[True] * 9, *out, *[True] * 3]
    assert cable.plug == 3
    assert cable.moves_by_itself


def test_pulled_out_by_hand_it_stays_out() -> None:
    clock = HandClock()
    cable = Cable(CountingBoard(), every_s=2.0, for_s=0.5, clock=clock)
    assert cable.plugged
    cable.unplug()
    clock.sleep(100.0)
    assert not cable.plugged
    cable.plug_in()
    assert cable.plugged
