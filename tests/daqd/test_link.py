"""The link to an emulated board: answers in order, late, in part, never; and the cable."""

import threading

import pytest

from daqd.emulator.gecco_model import GeccoModel
from daqd.errors import BoardLost, LinkTimeout
from daqd.transports.emulated import EmulatedLink
from protocol.registers.gecco import ReadRequest, WriteRequest, encode_requests
from tests.daqd.emulated_bench import HandClock, ScriptedSource

ECHO = encode_requests(
    [WriteRequest(0x07, b"\x07"), ReadRequest(0x07, 3), WriteRequest(0x07, b"\x08"), ReadRequest(0x07)]
)


def link(latency_s: float = 0.0) -> tuple[EmulatedLink, HandClock]:
    clock = HandClock()
    made = EmulatedLink(GeccoModel(ScriptedSource(), clock=clock), latency_s, clock, clock.sleep)
    made.open()
    return made, clock


def test_answers_come_in_order_however_they_are_read() -> None:
    whole, _ = link()
    whole.write(ECHO)
    assert whole.read(4, 1) == b"\x07\x07\x07\x08"
    pieces, _ = link()
    for byte in ECHO:
        pieces.write(bytes((byte,)))
    assert [pieces.read(length, 1) for length in (1, 2, 1)] == [b"\x07", b"\x07\x07", b"\x08"]


def test_an_answer_takes_its_latency_and_no_longer() -> None:
    late, clock = link(latency_s=0.002)
    start = clock.now
    late.write(ECHO)
    assert len(late.read(4, 1)) == 4
    assert clock.now - start == pytest.approx(0.002)


def test_questions_queued_ahead_share_the_latency() -> None:
    late, clock = link(latency_s=0.002)
    start = clock.now
    for _ in range(10):
        late.write(ECHO)
    assert len(late.read(40, 1)) == 40
    assert clock.now - start == pytest.approx(0.002)


def test_a_time_out_says_what_came_and_keeps_none_of_it() -> None:
    slow, clock = link()
    start = clock.now
    slow.write(ECHO)
    with pytest.raises(LinkTimeout, match=r"4 of 9 bytes within 0.5 s") as caught:
        slow.read(9, 0.5)
    assert caught.value.partial == b"\x07\x07\x07\x08"
    assert clock.now - start == pytest.approx(0.5)
    with pytest.raises(LinkTimeout, match="0 of 1"):
        slow.read(1, 0.1)


def test_nothing_works_before_open_or_after_close() -> None:
    closed = EmulatedLink(GeccoModel(ScriptedSource()))
    for _ in range(2):
        with pytest.raises(BoardLost, match="not open"):
            closed.write(ECHO)
        closed.open()
        closed.close()
        closed.close()


def test_what_an_earlier_connection_left_is_not_read() -> None:
    used, _ = link()
    used.write(ECHO)
    used.close()
    used.open()
    with pytest.raises(LinkTimeout, match="0 of 1"):
        used.read(1, 0.1)


def test_unplugged_and_plugged_in_again() -> None:
    board, _ = link()
    board.write(ECHO)
    board.cable.unplug()
    for action in (lambda: board.read(4, 1), lambda: board.write(ECHO), board.open):
        with pytest.raises(BoardLost, match="cable"):
            action()
    board.cable.plug_in()
    with pytest.raises(BoardLost, match="not open"):
        board.write(ECHO)
    board.open()
    board.write(ReadRequest(0x30).encode())
    assert board.read(1, 1) == b"\x00"  # power-up: registers are zero


def test_unplugging_ends_a_read_that_waits() -> None:
    # On the real clock: the reader would wait for an hour, the unplugging has to wake it.
    waiting = EmulatedLink(GeccoModel(ScriptedSource()))
    waiting.open()
    unplug = threading.Thread(target=waiting.cable.unplug, name="unplug")
    unplug.start()
    with pytest.raises(BoardLost):
        waiting.read(1, 3600)
    unplug.join()
