"""The emulated GECCO board at byte level."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daqd.emulator.gecco_model import GeccoModel
from daqd.emulator.read_fifo import ReadFifo
from tests.daqd.emulated_bench import HandClock, ScriptedSource

SPI_ON = "0115000100" + "0116000128"
ROUTING = "01170008 0400000000000000"


def model(*pieces: bytes, fifo_bytes: int = 64) -> GeccoModel:
    return GeccoModel(ScriptedSource(*pieces), fifo_bytes, HandClock(), record=True)


def say(board: GeccoModel, *requests: str) -> str:
    return board.exchange(bytes.fromhex("".join(requests))).hex()


def test_scratch_register_and_power_up() -> None:
    board = model()
    assert say(board, "0109000155", "00090001") == "55"
    assert say(board, "00150001") == "92"  # SPI in reset, both FIFOs empty
    assert say(board, "00460001") == "01"  # no interrupt
    board.power_up()
    assert say(board, "00090001") == "00"


def test_a_write_of_several_bytes_goes_into_one_register() -> None:
    assert say(model(), "01300003010203", "00300002", "00310001") == "030300"


def test_no_data_before_spi_is_on_clocked_and_routed() -> None:
    board = model(b"data")
    assert say(board, ROUTING, "00180002") == "ffff"
    assert say(board, "0115000101", "0115000100", "00150001") == "12"  # write FIFO emptied, SPI on
    assert say(board, ROUTING, "00150001", "00180001") == "10ff"  # no divider: the routing command stays where it is
    assert say(board, "0116000128", "00150001") == "02"  # now it has left, and data came
    assert say(board, "00460001", "00180006", "00460001") == "00" + b"data".hex() + "ffff" + "01"


def test_no_data_while_the_chip_is_in_reset() -> None:
    board = model(b"", b"data")
    assert say(board, SPI_ON, ROUTING, "0100000110", "00180002") == "ffff"
    assert say(board, "0100000100", "00180004") == b"data".hex()


def test_routing_is_lost_with_spi_off_and_what_the_fifo_holds_is_not() -> None:
    board = model(b"old", b"", b"new")
    assert say(board, SPI_ON, ROUTING, "00150001", "0115000180", "00150001", "00180003") == "0282" + b"old".hex()
    assert say(board, SPI_ON, "00180003") == "ffffff"
    assert say(board, ROUTING, "00180003") == b"new".hex()


def test_the_write_fifo_holds_sixteen_bytes() -> None:
    board = model()
    assert say(board, "0117000f" + 15 * "aa", "00150001") == "90"
    assert say(board, "01170002bbbb", "00150001") == "94"  # full: one byte is lost
    assert say(board, "0115000181", "0115000180", "00150001") == "92"


def test_the_read_fifo_reset_empties_it_and_keeps_it_empty() -> None:
    board = model(b"one", b"", b"two")
    assert say(board, SPI_ON, ROUTING, "00150001", "0115000108", "00150001") == "021a"
    assert board.fifo.discarded_bytes == 3
    assert say(board, "0115000100", "00180003") == b"two".hex()


def test_a_full_fifo_loses_the_newest_bytes_and_counts_them() -> None:
    board = model(bytes(range(60)), bytes(range(60, 70)), b"\xaa\xbb", fifo_bytes=64)
    assert say(board, SPI_ON, ROUTING, "00150001", "00150001") == "0222"  # data; then full
    assert say(board, "00150001") == "22"
    assert say(board, "00180043") == bytes(range(64)).hex() + "ffffff"
    assert board.counters["emulator_lost_bytes"] == 8
    assert board.counters["emulator_offered_bytes"] == 72
    assert board.fifo.record is not None
    assert board.fifo.record.losses == [(64, 70), (70, 72)]
    assert bytes(board.fifo.record.data) == bytes(range(64))


def test_answers_can_be_tampered_with() -> None:
    board = model()
    board.answer_filter = lambda request, answer: answer[: request.length // 2]
    assert say(board, "00090004", "00090001") == "0000"


@given(st.lists(st.binary(max_size=60), max_size=8))
def test_any_bytes_are_survived(noise: list[bytes]) -> None:
    board = model(b"data", b"more")
    for piece in noise:
        board.exchange(piece)


@given(st.lists(st.one_of(st.binary(max_size=20), st.integers(1, 20)), max_size=30))
def test_what_a_fifo_takes_in_comes_out_or_is_counted(actions: list[bytes | int]) -> None:
    fifo = ReadFifo(32, record=True)
    assert fifo.record is not None
    out = b""
    for action in actions:
        if isinstance(action, bytes):
            fifo.put(action)
        else:
            out += fifo.read(action)[: fifo.record.reads[-1]]
    assert out + fifo.read(32)[: fifo.record.reads[-1]] == bytes(fifo.record.data)
    assert len(fifo.record.data) + fifo.lost_bytes == fifo.offered_bytes
    assert sum(stop - start for start, stop in fifo.record.losses) == fifo.lost_bytes


@pytest.mark.parametrize("length", [1, 5])
def test_reading_past_the_end_gives_padding(length: int) -> None:
    assert ReadFifo(16).read(length) == b"\xff" * length
