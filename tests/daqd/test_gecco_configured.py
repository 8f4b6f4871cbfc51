"""A GECCO board with a set-up, from power-up to data: what chips, cards and injection are left with, whatever fails."""

from collections.abc import Callable
from pathlib import Path

import pytest

from daqd.emulator.recorded_readouts import RecordedReadouts
from daqd.errors import BoardAnswerError, BoardError, BoardLost
from protocol.apx import apx_open
from protocol.chips.astropix_chips import ASTROPIX4
from protocol.chips.chip_config import ChipConfig, ChipConfigError
from protocol.chips.chip_setup import ChipSetup, Injection
from protocol.chips.gecco_cards import GeccoCards
from protocol.registers.gecco import ReadRequest, Register
from tests.daqd.emulated_bench import EmulatedBench, ScriptedSource

OFF = ChipConfig.usual(ASTROPIX4)
SETUP = ChipSetup(
    (OFF.with_injection(1, 9).with_injection_mv(300),), GeccoCards().with_threshold_mv(40), Injection(0, 1, 9, 300.0)
)
SPI_OFF, CHIP_HELD = 0x80, 0x10


def power_up_to_data(bench: EmulatedBench, setup: ChipSetup = SETUP) -> None:
    bench.board.open()
    bench.board.configure(setup)
    bench.board.start()


def is_safe(bench: EmulatedBench) -> bool:
    """Injection off, SPI off, chips held in reset."""
    spi, chip = bench.model.exchange(bytes.fromhex("00150001 00000001"))
    return not bench.model.injection.running and spi & 0x80 == SPI_OFF and chip & 0x10 == CHIP_HELD


def test_everything_arrives() -> None:
    bench = EmulatedBench(ScriptedSource())
    power_up_to_data(bench)
    model = bench.model
    assert model.chips.chips() == (SETUP.chips[0].values,)
    assert model.chips.tdac_row() == (SETUP.chips[0].tdac_row(0),)
    assert model.cards.cards[4].codes == (0, 0, 6748, 6135, 0, 0, 4908, 6380)
    assert model.injection.on_chip
    assert model.injection.running
    assert (model.chips.loads, model.chips.tdac_loads, model.injection.starts) == (2, 1, 1)


def test_nothing_is_injected_before_the_start_or_after_the_stop() -> None:
    bench = EmulatedBench(ScriptedSource())
    bench.board.open()
    bench.board.configure(SETUP)
    assert not bench.model.injection.running
    bench.board.start()
    assert bench.model.injection.running
    bench.board.stop()
    assert is_safe(bench)


def test_the_injection_of_a_daemon_that_died_is_switched_off() -> None:
    bench = EmulatedBench(ScriptedSource())
    power_up_to_data(bench)
    bench.link.close()
    again = EmulatedBench(ScriptedSource())
    again.link.model = bench.model
    again.board.open()
    again.board.configure(ChipSetup((OFF,)))
    assert not bench.model.injection.running


@pytest.mark.parametrize(
    "begun",
    [
        *("00", "0009", "000900", "01", "0109", "010900"),  # a header
        *("01008610" + "04" * 1000, "0117000804", "0100ffff"),  # a write, as that of the chip's configuration
        *("010700015500", "0600040000"),  # after a request; what an A-STEP board is asked
        "ffffff",  # what an earlier driver ended requests with: a write of 65 280 bytes or more
    ],
)
def test_a_board_that_was_left_in_the_middle_of_a_request(begun: str) -> None:
    bench = EmulatedBench(ScriptedSource(b"hit"))
    bench.model.exchange(bytes.fromhex(begun))
    power_up_to_data(bench)
    assert bench.model.chips.chips() == (SETUP.chips[0].values,)
    assert bench.model.cards.cards[4].codes == (0, 0, 6748, 6135, 0, 0, 4908, 6380)
    readout = bench.board.read_readout(1.0)
    assert readout is not None
    assert readout.data.startswith(b"hit")


def test_several_chips() -> None:
    chips = tuple(OFF.with_value("idacs", "vn1", chip) for chip in range(4))
    bench = EmulatedBench(ScriptedSource(), board={"chips": 4})
    power_up_to_data(bench, ChipSetup(chips))
    assert bench.model.chips.chips(4) == tuple(chip.values for chip in chips)
    assert len(bench.model.chips.tdac_row(0, 4)) == 4
    assert not bench.model.injection.running


def test_a_second_run_is_configured_like_the_first() -> None:
    source = ScriptedSource(b"one")
    bench = EmulatedBench(source)
    power_up_to_data(bench)
    first = bench.board.read_readout(1)
    bench.board.stop()
    bench.board.start()
    source.pieces.append(b"two")
    assert bench.model.chips.chips() == (SETUP.chips[0].values,)
    assert bench.model.injection.running
    second = bench.board.read_readout(1)
    assert first is not None
    assert second is not None
    assert (first.data.rstrip(b"\xff"), second.data.rstrip(b"\xff")) == (b"one", b"two")


def test_another_setup_for_the_next_run() -> None:
    bench = EmulatedBench(ScriptedSource())
    power_up_to_data(bench)
    bench.board.configure(ChipSetup((OFF.with_all_pixels(True),)))
    assert not bench.model.injection.running
    bench.board.start()
    assert bench.model.chips.chips() == (OFF.with_all_pixels(True).values,)
    assert not bench.model.injection.running


def test_no_recorded_readout_is_thrown_away(recordings: Path) -> None:
    path = recordings / "20250723_092534_data.apx"
    bench = EmulatedBench(RecordedReadouts([path], 2048, "max"))
    power_up_to_data(bench)
    with apx_open(path) as file:
        recorded = [readout.data() for readout in file]
    assert [data.rstrip(b"\xff") for data in bench.read_all()] == recorded


def test_chips_that_are_not_configured_again_send_nothing() -> None:
    """The emulated board finds a driver out that forgets step 5."""
    bench = EmulatedBench(ScriptedSource(b"data"))
    bench.board.open()
    bench.board.configure(SETUP)
    bench.board._setup = None
    bench.board.start()
    assert bench.board.read_readout(0.1) is None
    with pytest.raises(ChipConfigError):
        bench.model.chips.chips()


Answer = Callable[[ReadRequest, bytes], bytes]


def silent_at(register: int, number: int) -> Answer:
    """A board that does not answer the `number`th read of a register, from 0, and nothing after it."""
    seen = 0

    def answer(request: ReadRequest, data: bytes) -> bytes:
        nonlocal seen
        if request.register == register:
            seen += 1
        return data if seen <= number else b""

    return answer


@pytest.mark.parametrize("number", [0, 1])
def test_silence_while_configuring(number: int) -> None:
    bench = EmulatedBench(ScriptedSource())
    bench.board.open()
    bench.model.answer_filter = silent_at(Register.CHIP, number)
    with pytest.raises(BoardAnswerError, match=r"0x00 \(CHIP\): expected 1 byte, got none"):
        bench.board.configure(SETUP)
    bench.model.answer_filter = None
    assert is_safe(bench)
    with pytest.raises(BoardError, match="is not configured"):
        bench.board.start()
    bench.board.configure(SETUP)
    bench.board.start()
    assert bench.model.injection.running


@pytest.mark.parametrize(
    ("register", "number"),
    [(Register.CHIP, 0), (Register.CHIP, 2), (Register.SPI_CONFIG, 0), (Register.SPI_CONFIG, 5), (0x15, 7)],
)
def test_silence_while_starting(register: int, number: int) -> None:
    bench = EmulatedBench(ScriptedSource())
    bench.board.open()
    bench.board.configure(SETUP)
    bench.model.answer_filter = silent_at(register, number)
    with pytest.raises(BoardAnswerError, match="got none"):
        bench.board.start()
    bench.model.answer_filter = None
    assert is_safe(bench)
    assert not bench.board.status().running


def test_a_hand_on_the_keyboard_leaves_it_safe() -> None:
    bench = EmulatedBench(ScriptedSource())
    bench.board.open()

    def interrupt(request: ReadRequest, answer: bytes) -> bytes:
        raise KeyboardInterrupt

    bench.board.configure(SETUP)
    bench.model.answer_filter = interrupt
    with pytest.raises(KeyboardInterrupt):
        bench.board.start()
    bench.model.answer_filter = None
    assert is_safe(bench)


def test_unplugged_while_configuring() -> None:
    bench = EmulatedBench(ScriptedSource(b"data"))
    bench.board.open()

    def pull_out(request: ReadRequest, answer: bytes) -> bytes:
        bench.link.cable.unplug()
        return answer

    bench.model.answer_filter = pull_out
    with pytest.raises(BoardLost, match="cable"):
        bench.board.configure(SETUP)
    bench.board.close()
    bench.model.answer_filter = None
    bench.link.cable.plug_in()
    power_up_to_data(bench)
    assert bench.model.chips.chips() == (SETUP.chips[0].values,)
    assert bench.board.read_readout(1) is not None
