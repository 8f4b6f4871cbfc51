"""What is said to an A-STEP board: bytes by hand, answers as a board would give them."""

import numpy as np
import pytest

from protocol.chips.chip_setup import Injection
from protocol.registers.astep_chip import (
    configuration_frame,
    routing_frame,
    set_up_injection,
    shift_bytes,
    start_injection,
)
from protocol.registers.astep_registers import ShiftPort
from protocol.registers.astep_sequence import (
    FRAME_POLLS,
    discard_readout,
    finish_frames,
    flush_layer,
    reset_chips,
    send_to_chips,
    start_readout,
    xadc_temperature_c,
    xadc_voltage_v,
)
from protocol.registers.steps import UnexpectedAnswerError
from tests.protocol.astep_steps import told


def test_chips_are_reset_for_half_a_second_and_stay_on_hold() -> None:
    # hold + reset + no autoread + no MISO; then without reset
    said = told(reset_chips(), {0x1F: [0x08], 0x20: [0x08], 0x21: [0x14], 0x23: [2, 1], 0xA3: [70, 0]})[0]
    statuses = ["02220100", "02230100", "02240100"]
    safe = ["011f010015", "0120010014", "0121010014"]
    assert said == [
        *("021f0100", "011f010009", "02200100", "0120010008", "02210100", "0121010014"),  # on hold, still read
        *statuses, "02a30010", *statuses,  # until no layer is within a frame; the FIFO must not be full
        *safe, "011f010017", "0120010016", "0121010016", "0.5 s", *safe,
    ]  # fmt: skip


def test_flush_until_the_chips_are_silent() -> None:
    said, silent = told(flush_layer(1), {0x4F: [5, 0, 0], 0x23: [0, 1]})
    flush = "014e8000" + 128 * "00"
    assert said == [
        "012001001c",  # selected; no autoread, no MISO
        flush, "064f0200", "0.001 s", "064f0200", "02230100",
        flush, "064f0200", "02230100",
        "0120010014",
    ]  # fmt: skip
    assert silent


def test_flush_gives_up_after_20_rounds() -> None:
    said, silent = told(flush_layer(0))
    assert sum(each.startswith("01498000") for each in said) == 20
    assert not silent
    assert (said[0], said[-1]) == ("011f01001d", "011f010015")


def test_more_bytes_than_the_fifo_holds_go_in_parts() -> None:
    said, _ = told(send_to_chips(0, bytes(300), "test"))
    assert said == ["01490001" + 256 * "00", "064a0200", "01492c00" + 44 * "00", "064a0200"]


def test_spi_that_does_not_run_is_named() -> None:
    with pytest.raises(UnexpectedAnswerError, match=r"LAYER_0_MOSI_SIZE.*7 bytes.*SPI does not run"):
        told(send_to_chips(0, b"1234567", "test"), {0x4A: [7]})


def test_a_layer_that_was_stopped_within_a_frame_is_read_on() -> None:
    said, finished = told(finish_frames(), {0x1F: [0x15], 0x24: [3]})
    assert "0121010008" in said
    assert said.count("02a30010") == FRAME_POLLS
    assert not finished


def test_the_readout_fifo_is_emptied_until_it_gives_padding_whatever_its_size_is() -> None:
    said, _ = told(discard_readout(), {0xA3: [4096, 904, 0], 0xA4: [7]})
    assert said == 3 * ["02a30010"]
    with pytest.raises(UnexpectedAnswerError, match=r"READOUT.*goes on sending"):
        told(discard_readout(), {0xA3: [1]})


def test_layer_0_which_holds_all_is_released_last() -> None:
    assert told(start_readout(3))[0] == ["0121010008", "0120010008", "011f010008"]
    assert told(start_readout(1))[0] == ["0121010014", "0120010014", "011f010008"]


def test_shift_register_bytes() -> None:
    one, zero = (
        "04" * 8 + "05" * 8 + "04" * 8 + "06" * 8 + "04" * 8,
        "00" * 8 + "01" * 8 + "00" * 8 + "02" * 8 + "00" * 8,
    )
    bits = np.array([1, 0, 1], np.uint8)
    assert shift_bytes(bits, ShiftPort.LOAD_0).hex() == one + zero + one + "0c" * 8 + "00" * 8
    assert shift_bytes(bits[:2], ShiftPort.LOAD_2).hex() == one + zero + "20" * 8 + "00" * 8
    assert shift_bytes(bits[:2], ShiftPort.TDAC_LOAD_1).hex() == one + zero + "80" * 8 + "00" * 8


def test_spi_frames() -> None:
    assert routing_frame(3).hex() == "40" + 6 * "00"
    assert routing_frame(1, first_id=4).hex() == "44" + 2 * "00"
    bits = np.array([1, 0, 1], np.uint8)
    assert configuration_frame(bits, 0x61, 0x03, 2).hex() == "61" + "010001" + 10 * "03" + 4 * "00"
    assert configuration_frame(bits, 0x7E, 0x06, 0).hex() == "7e" + "010001" + 10 * "06"


def setting(address: int, value: int) -> list[str]:
    return [f"01a00100{address:02x}", f"01a10100{value:02x}", "019f010013", "019f010003"]


def test_injection() -> None:
    injection = Injection(0, 1, 9, 300.0, period=100, divider=300, delay=257, cycle=2, pulses=3)
    said, _ = told(set_up_injection(injection), {0xA8: [0x18]})
    values = [(0, 1), (1, 3), *((address, 0) for address in range(2, 8)), (8, 100), (9, 0x14), (10, 0), (11, 2)]
    values += [(12, 1), (13, 1), (14, 1), (15, 44), (7, 3)]
    assert said == ["02a80100", "01a8010010", *(each for pair in values for each in setting(*pair))]
    assert told(start_injection())[0] == ["019f010003", "019f010000"]


def test_the_injection_card_is_switched_on_where_there_is_one() -> None:
    injection = Injection(0, 1, 9, 300.0, output="card")
    assert told(set_up_injection(injection), {0xA8: [0x10]})[0][:2] == ["02a80100", "01a8010018"]


def test_temperature_and_voltage() -> None:
    # 0x977 is 25 °C; 0x555 of 0xFFF is a third of 3 V
    assert xadc_temperature_c(0x9770) == pytest.approx(25.0, abs=0.1)
    assert xadc_voltage_v(0x5550) == pytest.approx(1.0, abs=1e-3)
    assert xadc_temperature_c(0xFFFF) == pytest.approx(230.7, abs=0.1)
