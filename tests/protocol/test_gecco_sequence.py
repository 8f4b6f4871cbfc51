"""Sequences from power-up to data: every byte worked out by hand from the facts of the board."""

import itertools

import pytest

from protocol.errors import GeccoError
from protocol.registers.gecco import ReadRequest, Register
from protocol.registers.gecco_sequence import (
    Steps,
    check_identity,
    check_running,
    check_stopped,
    enable_spi,
    hold_chip,
    reset_chip,
    reset_fifos,
    send_routing,
)
from protocol.registers.steps import Pause, UnexpectedAnswerError


def carry_out(steps: Steps, answers: str = "") -> list[str]:
    """What `steps` sends, in hex, and its pauses, when the board answers `answers` byte for byte."""
    replies = iter(bytes.fromhex(answers))
    said = []
    answer = b""
    try:
        step = next(steps)
        while True:
            if isinstance(step, Pause):
                said.append(f"{step.seconds} s")
            else:
                said.append(step.encode().hex())
            answer = bytes(itertools.islice(replies, step.length)) if isinstance(step, ReadRequest) else b""
            step = steps.send(answer)
    except StopIteration:
        assert next(replies, None) is None, "the board was asked less than expected"
    return said


def test_identity() -> None:
    assert carry_out(check_identity(), "abababab") == ["00500004"]


@pytest.mark.parametrize("answer", ["00000000", "abababaa", "00500004"])
def test_another_identity_names_everything(answer: str) -> None:
    with pytest.raises(UnexpectedAnswerError) as caught:
        carry_out(check_identity(), answer)
    assert caught.value.register == 0x50
    assert (caught.value.expected, caught.value.got) == ("abababab", answer)
    assert "firmware" in caught.value.advice


def test_fifo_resets_change_only_their_bit() -> None:
    # 0xC2: readback enable, SPI module in reset, write FIFO empty; 0x13 has what a read-back FIFO says.
    assert carry_out(reset_fifos(), "c2 c3 c2 ca 12 13") == [
        *("00150001", "01150001c3", "00150001", "01150001c2"),
        *("00150001", "01150001ca", "00150001", "01150001c2"),
        *("003d0001", "013d000113", "003d0001", "013d000112"),
    ]


def test_chip_reset() -> None:
    assert carry_out(reset_chip(), "00 10") == ["00000001", "0100000110", "0.1 s", "00000001", "0100000100"]


def test_chip_on_hold() -> None:
    assert carry_out(hold_chip(), "20") == ["00000001", "0100000130"]


def test_enable_spi_after_the_divider() -> None:
    assert carry_out(enable_spi(40), "12 92 12 13 12 1a 12") == [
        *("00150001", "0115000192"),
        "0116000128",
        *("00150001", "0115000112"),
        *("00150001", "0115000113", "00150001", "0115000112"),
        *("00150001", "011500011a", "00150001", "0115000112"),
        *("00150001", "011700080400000000000000"),
    ]


def test_a_board_that_runs_as_it_was_started() -> None:
    assert carry_out(check_running(40), "12 28 60") == ["00150001", "00160001", "00000001"]


@pytest.mark.parametrize(
    ("answers", "register"), [("92 28 00", 0x15), ("1a 28 00", 0x15), ("12 00 00", 0x16), ("12 28 10", 0)]
)
def test_a_board_that_a_damaged_request_changed(answers: str, register: int) -> None:
    with pytest.raises(UnexpectedAnswerError) as caught:
        carry_out(check_running(40), answers)
    assert caught.value.register == register


def test_routing_waits_for_an_empty_write_fifo() -> None:
    said = carry_out(send_routing(), "10 14 12")
    assert said == ["00150001", "0.005 s", "00150001", "0.005 s", "00150001", "011700080400000000000000"]


def test_a_write_fifo_that_never_empties_is_an_error() -> None:
    with pytest.raises(UnexpectedAnswerError) as caught:
        carry_out(send_routing(), "14" * 20)
    assert caught.value.register is Register.SPI_CONFIG
    assert caught.value.got == "0x14"


def test_a_board_that_has_stopped() -> None:
    assert carry_out(check_stopped(), "92 10") == ["00150001", "00000001"]


@pytest.mark.parametrize(("answers", "register"), [("12 10", 0x15), ("92 00", 0)])
def test_a_stop_that_did_not_reach_the_board(answers: str, register: int) -> None:
    with pytest.raises(UnexpectedAnswerError) as caught:
        carry_out(check_stopped(), answers)
    assert caught.value.register == register


@pytest.mark.parametrize("divider", [0, 256, -1])
def test_impossible_divider(divider: int) -> None:
    with pytest.raises(GeccoError, match="divider"):
        carry_out(enable_spi(divider))
