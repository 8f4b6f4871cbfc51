"""The GECCO driver against the emulated board: what it says, and what it does when the answer is wrong."""

from collections.abc import Callable

import pytest

from daqd.boards import open_board
from daqd.boards.board import Board
from daqd.configuration.config import Config
from daqd.errors import BoardAnswerError, BoardError, BoardLost, LinkTimeout
from protocol.readout import AstroPix4Readout
from protocol.registers.gecco import RESYNC_ZEROS, ReadRequest, Register
from tests.daqd.emulated_bench import EmulatedBench, ScriptedSource
from tests.daqd.test_gecco_queue import deliver_late

CHIP_OUT_OF_RESET, CHIP_IN_RESET = 0x00, 0x10
Answer = Callable[[ReadRequest, bytes], bytes]


class Trace:
    """What went over the link to the board, in hex."""

    def __init__(self, bench: EmulatedBench) -> None:
        self._said: list[bytes] = []
        exchange = bench.model.exchange

        def listen(data: bytes) -> bytes:
            self._said.append(data)
            return exchange(data)

        bench.model.exchange = listen

    def take(self) -> list[str]:
        said = [data.hex() for data in self._said]
        self._said.clear()
        return said


def registers(bench: EmulatedBench) -> tuple[int, int]:
    """SPI configuration without the FIFO flags, and the chip's port."""
    spi, chip = bench.model.exchange(bytes.fromhex("00150001 00000001"))
    return spi & 0x89, chip


def test_from_power_up_to_data_every_byte() -> None:
    bench = EmulatedBench(ScriptedSource(b"hit"))
    trace = Trace(bench)
    bench.board.open()
    assert trace.take() == [
        "00500004",
        *("00150001", "0115000193", "00150001", "0115000192"),
        *("00150001", "011500019a", "00150001", "0115000192"),
        *("003d0001", "013d000111", "003d0001", "013d000110"),
    ]
    bench.board.configure()
    reset = ["00000001", "0100000110", "00000001", "0100000100"]
    assert trace.take() == [*reset, "00500004"]
    bench.board.start()
    assert trace.take() == [
        *reset,
        *("00150001", "0115000192"),
        "0116000128",
        *("00150001", "0115000112"),
        *("00150001", "0115000113", "00150001", "0115000112"),
        *("00150001", "011500011a", "00150001", "0115000112"),
        *("00150001", "011700080400000000000000"),
        *("00150001", "011500010a", "00150001", "0115000112"),
        *("00500004", "00150001", "00160001", "00000001"),
    ]
    readout = bench.board.read_readout(0)
    assert trace.take() == ["0050000100150001", "00180800"]
    assert readout is not None
    assert readout.data == b"hit" + 2045 * b"\xff"
    bench.board.stop()
    assert trace.take() == [
        "0050000100150001",
        *("0103000101", "0102000101", "0115000180", "0100000110"),
        *("00150001", "00000001"),
    ]
    bench.board.close()
    assert trace.take() == []


def test_it_is_a_board_of_astropix4_readouts() -> None:
    board: Board = EmulatedBench().board
    assert board.readout_class is AstroPix4Readout


def test_the_chip_is_reset_for_a_tenth_of_a_second() -> None:
    bench = EmulatedBench()
    bench.board.open()
    start = bench.clock()
    bench.board.configure()
    assert bench.clock() - start == pytest.approx(0.1)


def test_nothing_within_the_time_is_none() -> None:
    bench = EmulatedBench(ScriptedSource(), board={"poll_interval_ms": 30.0})
    bench.run()
    start, polls = bench.clock(), bench.board.status().counters["polls"]
    assert bench.board.read_readout(0.1) is None
    assert bench.clock() - start == pytest.approx(0.1)
    assert bench.board.status().counters["polls"] - polls == 5


def test_no_time_is_one_question() -> None:
    bench = EmulatedBench(source := ScriptedSource())
    bench.run()
    source.pieces += [b"", b"late"]
    assert bench.board.read_readout(0) is None
    assert bench.board.status().counters["polls"] == 1


def test_the_time_stamp_is_taken_after_the_read() -> None:
    bench = EmulatedBench(ScriptedSource(b"hit"), emulator={"link_latency_ms": 2.0})
    bench.run()
    start = bench.clock()
    readout = bench.board.read_readout(1)
    assert readout is not None
    # Two questions, two answers, 2 ms each.
    assert readout.timestamp_ns / 1e9 - start == pytest.approx(0.004)


def test_stop_leaves_the_board_safe_and_start_brings_it_back() -> None:
    bench = EmulatedBench(source := ScriptedSource(b"one"))
    bench.run()
    assert registers(bench) == (0, CHIP_OUT_OF_RESET)
    bench.board.stop()
    bench.board.stop()
    assert registers(bench) == (0x80, CHIP_IN_RESET)
    assert not bench.board.status().running
    left = bench.board.read_readout(0)
    assert left is not None
    assert left.data.rstrip(b"\xff") == b"one"
    bench.board.start()
    bench.board.start()
    assert registers(bench) == (0, CHIP_OUT_OF_RESET)
    source.pieces.append(b"two")
    following = bench.board.read_readout(1)
    assert following is not None
    assert following.data.rstrip(b"\xff") == b"two"


def test_close_stops_a_running_board() -> None:
    bench = EmulatedBench()
    bench.run()
    bench.board.close()
    assert registers(bench) == (0x80, CHIP_IN_RESET)
    status = bench.board.status()
    assert (status.connected, status.running) == (False, False)


def test_the_order_is_kept() -> None:
    board = EmulatedBench().board
    with pytest.raises(BoardError, match="is not open"):
        board.configure()
    with pytest.raises(BoardError, match="is not configured"):
        board.start()
    with pytest.raises(BoardError, match="is not open"):
        board.read_readout(0)
    board.stop()
    board.close()
    board.open()
    with pytest.raises(BoardError, match="is not configured"):
        board.start()


def test_another_identity() -> None:
    bench = EmulatedBench()
    bench.model.answer_filter = lambda request, answer: b"\xaa" * len(answer)
    with pytest.raises(BoardAnswerError) as caught:
        bench.board.open()
    error = caught.value
    assert (error.register, error.expected, error.got) == ("0x50 (IDENTITY)", "abababab", "aaaaaaaa")
    assert str(error) == (
        "GECCO board (emulated): register 0x50 (IDENTITY): expected abababab, got aaaaaaaa: is the bench firmware "
        "loaded? Power the board off and on, load the firmware again"
    )
    assert not bench.board.status().connected
    bench.model.answer_filter = None
    bench.board.open()
    assert bench.board.status().connected


def test_a_silent_board() -> None:
    bench = EmulatedBench()
    bench.model.answer_filter = lambda request, answer: b""
    start = bench.clock()
    with pytest.raises(BoardAnswerError, match=r"0x50 \(IDENTITY\): expected 4 bytes, got none: is the board powered"):
        bench.board.open()
    # A second; what the zeros take on a slow line; the questions; and one for an A-STEP firmware.
    assert bench.clock() - start == pytest.approx(1.0 + len(RESYNC_ZEROS) / 50_000 + 0.1 + 8 * 0.2 + 0.3, abs=0.01)


@pytest.mark.parametrize("register", [Register.CHIP, Register.SPI_CONFIG])
def test_a_board_that_falls_silent_on_the_way_is_left_safe(register: int) -> None:
    bench = EmulatedBench()
    bench.board.open()
    bench.board.configure()
    answers = iter([True, False])  # the second answer of that register is missing, the others are there

    def falter(request: ReadRequest, answer: bytes) -> bytes:
        return answer if request.register != register or next(answers, True) else b""

    bench.model.answer_filter = falter
    with pytest.raises(BoardAnswerError, match=f"0x{register:02X}"):
        bench.board.start()
    assert not bench.board.status().running
    assert registers(bench) == (0x80, CHIP_IN_RESET)


def test_spi_that_does_not_run() -> None:
    bench = EmulatedBench()
    bench.board.open()
    bench.board.configure()
    bench.model.answer_filter = lambda request, answer: b"\x10" if request.register == Register.SPI_CONFIG else answer
    with pytest.raises(BoardAnswerError, match="expected the SPI write FIFO empty"):
        bench.board.start()


def test_a_readout_that_comes_in_two_parts_is_one_readout() -> None:
    bench = EmulatedBench(ScriptedSource(b"", b"first half, last half"), board={"readout_bytes": 64})
    bench.run()
    late: list[bytes] = []

    def halve(request: ReadRequest, answer: bytes) -> bytes:
        if request.register == Register.SPI_READ_FIFO and not late:
            late.append(answer[11:])
            return answer[:11]
        return answer

    bench.model.answer_filter = halve
    deliver_late(bench, late)
    whole = bench.board.read_readout(1)
    assert whole is not None
    assert whole.data == b"first half, last half".ljust(64, b"\xff")
    # From here on, answers belong to questions again.
    bench.source.pieces.append(b"next")
    following = bench.board.read_readout(1)
    assert following is not None
    assert following.data.rstrip(b"\xff") == b"next"
    assert bench.board.status().counters["short_readouts"] == 1


def test_half_a_readout_before_the_cable_came_out_is_given() -> None:
    bench = EmulatedBench(ScriptedSource(b"", b"first half, last half"), board={"readout_bytes": 64})
    bench.run()
    read = bench.link.read

    def pull_out(length: int, timeout_s: float, under_way: int = 0) -> bytes:
        try:
            return read(length, timeout_s, under_way)
        except LinkTimeout:
            bench.link.cable.unplug()
            raise

    bench.link.read = pull_out
    bench.model.answer_filter = lambda request, answer: answer[:11] if request.register == 0x18 else answer
    half = bench.board.read_readout(1)
    assert half is not None
    assert half.data == b"first half,"
    with pytest.raises(BoardLost):
        bench.board.read_readout(1)


def test_no_readout_at_all() -> None:
    bench = EmulatedBench(ScriptedSource(b"", b"data"), board={"readout_bytes": 64})
    bench.run()
    bench.model.answer_filter = lambda request, answer: b"" if request.register == Register.SPI_READ_FIFO else answer
    with pytest.raises(BoardAnswerError, match=r"0x18 \(SPI_READ_FIFO\): expected 64 bytes, got none"):
        bench.board.read_readout(1)
    bench.board.stop()
    assert registers(bench) == (0x80, CHIP_IN_RESET)


def test_silence_in_a_run_and_a_board_that_comes_back() -> None:
    bench = EmulatedBench(source := ScriptedSource())
    bench.run()
    bench.model.answer_filter = lambda request, answer: b""
    for _ in range(2):
        with pytest.raises(BoardAnswerError, match="got none"):
            bench.board.read_readout(1)
    bench.model.answer_filter = None
    source.pieces += [b"", b"", b"", b"data"]
    # The first call brings board and driver into step, which takes longer than it was given.
    assert bench.board.read_readout(1) is None
    readout = bench.board.read_readout(1)
    assert readout is not None
    assert readout.data.rstrip(b"\xff") == b"data"
    assert bench.board.status().counters["resyncs"] == 3


def test_unplugged_in_a_run_and_plugged_in_again() -> None:
    bench = EmulatedBench(source := ScriptedSource(b"one"))
    bench.run()
    assert bench.board.read_readout(1) is not None
    bench.link.cable.unplug()
    with pytest.raises(BoardLost, match="cable"):
        bench.board.read_readout(1)
    with pytest.raises(BoardLost):
        bench.board.stop()
    bench.board.close()
    with pytest.raises(BoardLost):
        bench.board.open()
    bench.link.cable.plug_in()
    bench.run()
    source.pieces.append(b"two")
    readout = bench.board.read_readout(1)
    assert readout is not None
    assert readout.data.rstrip(b"\xff") == b"two"


def test_errors_are_of_the_kinds_that_people_catch() -> None:
    assert issubclass(BoardError, OSError)
    assert issubclass(LinkTimeout, TimeoutError)


def test_the_factory_makes_the_board_and_touches_nothing() -> None:
    board = open_board(Config.model_validate({"board": {"transport": "emulated"}}))
    assert not board.status().connected
    board.open()
    board.open()
    assert board.status().connected
    board.close()
