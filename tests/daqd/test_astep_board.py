"""The A-STEP driver against the emulated board: what it says, and what it does when the answer is wrong."""

from collections.abc import Callable
from typing import Any

import pytest

from daqd.boards import open_board
from daqd.boards.astep import AstepBoard
from daqd.boards.board import Board
from daqd.configuration.config import Config
from daqd.emulator.astep_model import AstepModel
from daqd.errors import BoardAnswerError, BoardError, BoardLost
from protocol.chips.chip_file import usual_chip_file
from protocol.chips.chip_setup import ChipSetup
from protocol.layer_readout import AstroPix4LayerReadout
from protocol.registers.astep import RegisterRead
from protocol.registers.astep_registers import LAYER_CTRL, Register
from tests.daqd.astep_bench import AstepBench

pytestmark = pytest.mark.slow

SAFE = [0x15, 0x14, 0x14]


def control(bench: AstepBench) -> list[int]:
    """What the control registers of all layers hold."""
    return [bench.model._values[register] for register in LAYER_CTRL]


def setup(layers: int = 1, chips: int = 1, **more: Any) -> ChipSetup:
    (chip,) = usual_chip_file(4).chips
    different = tuple(chip.with_pixel(number % 13, number, True) for number in range(layers * chips))
    return ChipSetup(chips=different, layers=layers, **more)


HOLD = ["011f010015", "0120010014", "0121010014"]
RESET = ["011f010017", "0120010016", "0121010016"]


def writes(said: list[str]) -> list[str]:
    """The writes among requests; every request was sent by itself."""
    assert all(len(each) == 8 for each in said if each.startswith("02"))
    return [each for each in said if each[:2] in ("01", "05")]


def test_from_power_up_to_data() -> None:
    bench = AstepBench(board={"layers": 2, "chips": 4, "poll_interval_ms": 1000.0}, emulator={"hits_limit": 1})
    bench.board.open()
    said = bench.take_said()
    assert {each.strip("0") for each in said[:66]} == {""}  # zeros, to end what an earlier session has begun
    assert sum(map(len, said[:66])) // 2 > 65_540
    assert said[66:74] == [f"020{byte}0004" for byte in (3, 2, 1, 0, 7, 6, 5, 4)]
    assert said[74:] == ["019f010003", *HOLD]
    bench.board.configure()
    said = writes(bench.take_said())
    assert said[:8] == [
        *("0108010004", "010901001a"),
        *("057602001000", "05af040050000000", "0578040001000000", "057602001300"),
        *("011d010013", "0190010008"),
    ]
    assert said[8:20] == [*HOLD, *HOLD, *RESET, *HOLD]
    flush = "128 zeros"
    assert [each if len(each) < 100 else flush for each in said[20:]] == [
        *("011f01001d", flush, flush, "011f010015", "012001001c", flush, flush, "0120010014"),
    ]
    bench.board.start()
    assert writes(bench.take_said()) == [*HOLD, "0121010014", "0120010008", "011f010008"]
    readout = bench.board.read_readout(2.0)
    assert readout is not None
    assert readout.data.rstrip(b"\xff").startswith(b"\x0d")
    assert len(readout.data) == 1024
    bench.take_said()
    bench.board.stop()
    assert writes(bench.take_said()) == ["019f010003", "011f010009", "0120010008", "0121010014", *HOLD]
    bench.board.close()
    assert bench.take_said() == []


def test_it_is_a_board_of_layer_frames() -> None:
    board: Board = AstepBench(board={"chips": 3, "layers": 2}).board
    assert board.readout_class is AstroPix4LayerReadout
    assert board.description.model_dump() == {
        "chips": 3, "layers": 2, "timestamp_bits": 32, "timestamp_order": "big", "full_readout_bytes": None
    }  # fmt: skip


@pytest.mark.parametrize("bits", [16, 32, 48, 64])
@pytest.mark.parametrize("order", ["little", "big"])
def test_all_hits_arrive_whatever_the_time_stamp(bits: int, order: str) -> None:
    bench = AstepBench({"layers": 3, "chips": 2}, astep={"timestamp_bits": bits, "timestamp_order": order})
    bench.run()
    table, decoder = bench.decode(bench.read_all())
    bench.compare(table)
    assert decoder.ledger.balanced
    assert (decoder.ledger.dropped, decoder.ledger.orphan) == (0, 0)
    assert sorted(set(table["layer"].tolist())) == [1, 2, 3]


@pytest.mark.parametrize("astep", [{"read": "fixed"}, {"packet_mode": False}, {"read": "fixed", "timestamp_bits": 16}])
@pytest.mark.parametrize("rate_hz", [2000.0, 500_000.0, "max"])
def test_all_hits_arrive_however_the_fifo_is_read(astep: dict[str, Any], rate_hz: float | str) -> None:
    bench = AstepBench({"readout_bytes": 100}, {"rate_hz": rate_hz, "hits_limit": 3000}, astep)
    bench.run()
    readouts = bench.read_all()
    table, decoder = bench.decode(readouts)
    bench.compare(table)
    assert decoder.ledger.rejoined_hits > 0 or rate_hz == 2000.0
    assert all(len(data) <= 100 for data in readouts)


def test_one_request_at_a_time() -> None:
    """The previous driver sent the next question behind a read: the firmware swallowed it."""
    bench = AstepBench({"layers": 3}, {"rate_hz": "max", "hits_limit": 5000})
    bench.run()
    bench.read_all()
    bench.board.stop()
    assert bench.model.host.swallowed_bytes == 0
    request = bytes.fromhex("02a30004")
    answer = AstepModel.exchange(bench.model, 2 * request)
    assert len(answer) == 1024


def test_a_queue_is_refused() -> None:
    with pytest.raises(ValueError, match=r"queue_ahead\n.*one request at a time"):
        AstepBench({"queue_ahead": 8})


def test_reads_grow_while_the_board_has_more_and_shrink_when_it_is_empty() -> None:
    bench = AstepBench({"readout_bytes": 8192}, {"rate_hz": "max", "hits_limit": 3000})
    bench.run()
    bench.take_said()
    readouts = bench.read_all()
    assert bench.board.read_readout(0) is None
    assert [len(data) for data in readouts][:5] == [1024, 2048, 4096, 8192, 8192]
    reads = [each for each in bench.take_said() if each.startswith("02a3")]
    assert reads[:4] == ["02a30004", "02a30008", "02a30010", "02a30020"]
    assert reads[-1] == "02a30004"
    assert {each[4:6] for each in reads} == {"00"}


def test_a_read_by_size_brings_no_padding() -> None:
    bench = AstepBench({"readout_bytes": 1400}, {"rate_hz": "max", "hits_limit": 10_000}, {"read": "size"})
    bench.run()
    readouts = bench.read_all()
    assert all(data[-1:] != b"\xff" or data[-4:] != b"\xff" * 4 for data in readouts)
    bench.compare(bench.decode(readouts)[0])


@pytest.mark.parametrize("astep", [{}, {"read": "size"}])
def test_an_unfinished_frame_in_the_fifo_is_empty_and_ends_everything(astep: dict[str, Any]) -> None:
    """The size register counts a frame that a stop has cut, for ever; the previous driver polled it for ever."""
    bench = AstepBench(emulator={"rate_hz": "max", "hits_limit": 0}, astep=astep)
    bench.run()
    bench.clock.sleep(0.01)
    AstepModel.exchange(bench.model, bytes.fromhex("011f010015"))  # a stop without waiting
    while bench.board.read_readout(0) is not None:
        pass
    assert bench.model.readout.size > 0
    assert bench.model.readout.decoding(0)
    bench.board.configure()
    assert not bench.model.readout.decoding(0)
    bench.board.start()
    assert bench.board.read_readout(1.0) is not None
    bench.board.stop()
    assert control(bench) == SAFE


def test_a_layer_that_never_finishes_its_frame_is_reset_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    bench = AstepBench()
    bench.board.open()
    bench.model.answer_filter = only(Register.LAYER_1_STATUS, lambda data: b"\x03" * len(data))
    bench.board.configure()
    assert "a layer was reset within a frame" in caplog.text
    assert control(bench) == SAFE


def test_a_stop_within_frames_loses_nothing() -> None:
    bench = AstepBench({"layers": 3}, {"rate_hz": "max", "hits_limit": 20_000, "fifo_bytes": 20_000})
    bench.run()
    readouts = []
    for _ in range(3):
        readout = bench.board.read_readout(1.0)
        assert readout is not None
        readouts.append(readout.data)
    bench.board.stop()
    assert not any(map(bench.model.readout.decoding, range(3)))
    while (readout := bench.board.read_readout(0)) is not None:
        readouts.append(readout.data)
    table, decoder = bench.decode(readouts)
    assert len(table) == bench.source.hits_sent
    assert decoder.ledger.dropped == 0


def test_what_was_read_before_a_stop_fails_is_given() -> None:
    bench = AstepBench({"layers": 3}, {"rate_hz": "max", "hits_limit": 0, "fifo_bytes": 20_000})
    bench.run()
    assert bench.board.read_readout(1.0) is not None
    fetch, fetched = bench.board._reader.fetch, []

    def hang_afterwards() -> None:
        fetch()
        fetched.append(sum(length for _, length in bench.model.taken))
        bench.model.host.hung = True

    bench.board._reader.fetch = hang_afterwards  # type: ignore[method-assign]
    taken = sum(length for _, length in bench.model.taken)
    with pytest.raises(BoardAnswerError, match="hangs"):
        bench.board.stop()
    readouts = []
    while (readout := bench.board.read_readout(0)) is not None:
        readouts.append(readout.data)
    assert len(fetched) == 1
    assert len(b"".join(readouts).rstrip(b"\xff")) == fetched[0] - taken > 0


def test_a_read_that_fails_leaves_what_was_read_before() -> None:
    bench = AstepBench(emulator={"rate_hz": "max", "hits_limit": 0})
    bench.run()
    reader = bench.board._reader
    bench.clock.sleep(0.01)
    reader.fetch()
    bench.model.host.hung = True
    with pytest.raises(BoardAnswerError, match="hangs"):
        for _ in range(3):
            reader.fetch()
    assert reader.take_kept() is not None


def test_late_bytes_are_kept_in_their_place() -> None:
    bench = AstepBench({"readout_bytes": 1024}, {"rate_hz": "max", "hits_limit": 2000, "fifo_bytes": 20_000})
    bench.run()
    readouts = []
    exchange, stalls = bench.link.model.exchange, iter([True])

    def stall(data: bytes) -> bytes:
        answer = exchange(data)
        if data[1:2] == b"\xa3" and next(stalls, False):
            bench.link._answers.append((bench.clock.now, answer[:100]))
            bench.link._answers.append((bench.clock.now + 0.35, answer[100:]))
            return b""
        return answer

    bench.link.model.exchange = stall  # type: ignore[method-assign]
    readouts = bench.read_all()
    bench.compare(bench.decode(readouts)[0])
    assert bench.board.status().counters["short_readouts"] == 1


def test_late_bytes_before_a_hang_are_kept() -> None:
    bench = AstepBench({"readout_bytes": 1024}, {"rate_hz": "max", "hits_limit": 2000, "fifo_bytes": 20_000})
    bench.run()
    exchange = bench.link.model.exchange
    sent = b""

    def stall_and_hang(data: bytes) -> bytes:
        nonlocal sent
        answer = exchange(data)
        if data[1:2] == b"\xa3":
            bench.link._answers.append((bench.clock.now, answer[:100]))
            bench.link._answers.append((bench.clock.now + 0.35, answer[100:]))
            bench.model.host.hung = True
            sent = answer
            return b""
        return answer

    bench.link.model.exchange = stall_and_hang  # type: ignore[method-assign]
    bench.clock.sleep(0.01)
    given = b""
    with pytest.raises(BoardAnswerError, match="hangs"):
        while (readout := bench.board.read_readout(0.1)) is not None:
            given += readout.data
    assert given == sent != b""


def test_a_firmware_that_hangs_is_reported_with_advice() -> None:
    bench = AstepBench(emulator={"rate_hz": 100.0})
    bench.run()
    AstepModel.exchange(bench.model, bytes.fromhex("02490100"))
    assert bench.model.host.hung
    with pytest.raises(BoardAnswerError, match=r"hangs.*load it again, or power the board off and on"):
        bench.board.read_readout(1.0)
    bench.board.close()
    bench.model.power_up()
    bench.run()
    bench.board.stop()
    assert control(bench) == SAFE


def test_an_empty_board_read_in_fixed_pieces_gives_nothing() -> None:
    bench = AstepBench(emulator={"hits_limit": 3, "rate_hz": "max"}, astep={"read": "fixed"})
    bench.run()
    readouts = bench.read_all()
    assert len(readouts) == 1
    assert bench.board.read_readout(1.0) is None


def test_fixed_reads_without_packet_mode_are_refused() -> None:
    with pytest.raises(ValueError, match="packet_mode"):
        AstepBench(astep={"read": "fixed", "packet_mode": False})


def test_counters_and_readings() -> None:
    bench = AstepBench({"layers": 2}, {"misbehave": {"garbage": 0.2}, "hits_limit": 400})
    bench.run()
    bench.decode(bench.read_all())
    bench.board.stop()
    status = bench.board.status()
    expected = bench.source.expected_hits(400)["layer"]
    counters = status.counters
    wrong = {layer: counters[f"layer_{layer}_wrong_length"] for layer in (1, 2)}
    assert sum(wrong.values()) > 20
    for layer in (1, 2):
        hits = int((expected == layer).sum())
        assert counters[f"layer_{layer}_frames"] == hits + wrong[layer]
        assert counters[f"layer_{layer}_idle_bytes"] == 5 * hits
    assert not {"layer_0_frames", "layer_3_frames"} & counters.keys()
    assert status.readings == {"fpga_temperature_c": pytest.approx(39.99), "fpga_vccint_v": pytest.approx(0.9998)}


def test_misbehaviour_is_in_the_ledger_and_no_other_hit_is_lost() -> None:
    bench = AstepBench({"layers": 2}, {"misbehave": {"garbage": 0.1, "padding": 0.1}, "hits_limit": 1000})
    bench.run()
    table, decoder = bench.decode(bench.read_all())
    bench.compare(table)
    bench.board.stop()
    counters = bench.board.status().counters
    # The firmware drops frames of a wrong length, and counts them.
    assert counters["layer_1_wrong_length"] + counters["layer_2_wrong_length"] > 50
    assert decoder.ledger.dropped_hits == 0
    assert decoder.ledger.padding > 100
    assert decoder.ledger.balanced


def test_a_full_fifo_loses_whole_hits() -> None:
    bench = AstepBench({"readout_bytes": 140}, {"rate_hz": 1e6, "fifo_bytes": 143, "hits_limit": 5000})
    bench.run()
    table, decoder = bench.decode(bench.read_all())
    assert bench.model.readout.lost_hits > 100
    assert len(table) + bench.model.readout.lost_hits == 5000
    assert (decoder.ledger.dropped, decoder.ledger.orphan) == (0, 0)


def test_stop_leaves_the_board_safe_and_start_brings_it_back() -> None:
    bench = AstepBench({"layers": 2}, {"rate_hz": "max", "hits_limit": 20_000})
    bench.run()
    assert control(bench) == [8, 8, 0x14]
    readouts = [readout.data for _ in range(3) if (readout := bench.board.read_readout(1.0))]
    bench.board.stop()
    bench.board.stop()
    assert control(bench) == SAFE
    while (readout := bench.board.read_readout(0)) is not None:
        readouts.append(readout.data)
    table, decoder = bench.decode(readouts)
    assert len(table) == bench.source.hits_sent
    assert decoder.ledger.dropped == 0
    bench.board.start()
    assert bench.board.read_readout(1.0) is not None
    bench.board.close()
    assert control(bench) == SAFE


def test_the_wrong_firmware_is_named() -> None:
    bench = AstepBench(emulator={"firmware_id": 0x1234})
    with pytest.raises(
        BoardAnswerError, match=r"FIRMWARE_ID.*0xAB0n \(Nexys with GECCO\).*0x00001234.*firmware"
    ) as caught:
        bench.board.open()
    assert caught.value.register == "0x00 (FIRMWARE_ID)"
    assert not bench.board.status().connected


Filter = Callable[[RegisterRead, bytes], bytes]


def only(register: Register, answer: Callable[[bytes], bytes]) -> Filter:
    return lambda request, data: answer(data) if request.register == register else data


@pytest.mark.parametrize(("register", "answer", "expected", "got"), [
    (Register.FIRMWARE_ID, lambda data: b"", "an answer after resynchronising", "none"),
    (Register.FIRMWARE_ID, lambda data: data[:2], "an answer after resynchronising", "none"),
    (Register.CHIP_VERSION, lambda data: b"\x03" * len(data), "4", "3"),
    (Register.LAYER_0_MOSI_SIZE, lambda data: b"\x09" * len(data), "nothing waiting", "9 bytes"),
])  # fmt: skip
def test_wrong_answers_are_named_and_the_board_is_left_safe(
    register: Register, answer: Callable[[bytes], bytes], expected: str, got: str
) -> None:
    bench = AstepBench()
    bench.model.answer_filter = only(register, answer)
    with pytest.raises(BoardAnswerError) as caught:
        bench.run()
    assert (caught.value.expected, caught.value.got) == (expected, got)
    assert register.name in str(caught.value)
    bench.model.answer_filter = None
    assert control(bench)[0] & 0x07 in (0x05, 0x07)  # on hold, no autoread


@pytest.mark.parametrize("begun", ["0191ffff00", "05", "0201", "0149ff0012"])
def test_a_board_that_was_left_in_the_middle_of_a_request(begun: str) -> None:
    bench = AstepBench()
    bench.model.exchange(bytes.fromhex(begun))
    bench.run()
    table, _ = bench.decode(bench.read_all())
    bench.compare(table)


def test_half_a_readout_is_given_and_the_rest_is_taken_up() -> None:
    bench = AstepBench({"readout_bytes": 140}, {"rate_hz": "max", "hits_limit": 100})
    bench.run()
    cut = iter([True])

    def half(request: RegisterRead, data: bytes) -> bytes:
        return data[:33] if request.register == Register.READOUT and next(cut, False) else data

    bench.model.answer_filter = half
    readouts = bench.read_all()
    table, decoder = bench.decode(readouts)
    assert bench.board.status().counters["short_readouts"] == 1
    # 107 bytes never came, and with them the frames they were of.
    assert len(table) == 100 - 8
    assert decoder.ledger.balanced
    assert decoder.ledger.dropped + decoder.ledger.orphan <= 14


def test_a_board_that_falls_silent_in_a_run() -> None:
    bench = AstepBench(emulator={"rate_hz": 100.0})
    bench.run()
    bench.link.model.exchange = lambda data: b""  # type: ignore[method-assign]
    with pytest.raises(BoardAnswerError, match="none"):
        bench.board.read_readout(1.0)
    with pytest.raises(BoardAnswerError):
        bench.board.stop()
    bench.board.close()


def test_a_lost_board_comes_back() -> None:
    bench = AstepBench(emulator={"rate_hz": "max", "hits_limit": 0})
    bench.run()
    assert bench.board.read_readout(1.0) is not None
    bench.link.cable.unplug()
    with pytest.raises(BoardLost):
        bench.board.read_readout(1.0)
    bench.board.close()
    bench.link.cable.plug_in()
    bench.run()
    assert bench.board.read_readout(1.0) is not None
    counters = bench.board.status().counters
    assert counters["layer_1_frames"] >= 0


def test_what_is_asked_in_the_wrong_order_is_refused() -> None:
    bench = AstepBench()
    for action in (bench.board.configure, bench.board.start, lambda: bench.board.read_readout(0)):
        with pytest.raises(BoardError, match="come in that order"):
            action()
    bench.board.stop()
    bench.board.close()


def test_the_configuration_makes_the_board() -> None:
    config = Config.model_validate({"board": {"kind": "astep", "transport": "emulated", "layers": 2}})
    board = open_board(config)
    assert isinstance(board, AstepBoard)
    assert board.status().kind == "astep"
    board.close()
