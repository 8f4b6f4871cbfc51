"""The emulated GECCO board at byte level: what the firmware's RTL does."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daqd.emulator.gecco_model import GeccoModel
from daqd.emulator.hit_sources import ByteSource, HitDelivery
from daqd.emulator.read_fifos import ReadFifo, WordFifo
from daqd.emulator.spi_readout import SLIPPED_BYTES
from protocol.registers.gecco import SPI_WORD_BYTES
from tests.daqd.emulated_bench import HandClock, ScriptedSource, without_padding

pytestmark = pytest.mark.slow

SPI_ON = "0116000128" + "0115000100"
ROUTING = "01170008 0400000000000000"
EMPTY_FIFO = "0115000108" + "0115000100"
RUN = SPI_ON + ROUTING + EMPTY_FIFO
IDLES = 16 * "bc"  # the routing command's 8 bytes, on two lines


def model(*pieces: bytes, fifo_bytes: int = 64) -> GeccoModel:
    return GeccoModel(ScriptedSource(*pieces), fifo_bytes, HandClock(), record=True)


def say(board: GeccoModel, *requests: str) -> str:
    return board.exchange(bytes.fromhex("".join(requests))).hex()


class BusyChip(ByteSource):
    """Always has something to say: the numbers from 0 on, two bytes each, and never `ff`."""

    def __init__(self, limit: int = 1 << 30) -> None:
        self.taken = 0
        self._limit = limit

    def take(self, elapsed_s: float, room: int, waiting: int) -> bytes:
        start, self.taken = self.taken, min(self.taken + room, self._limit)
        return bytes(
            number // 2 // 250 % 250 if number % 2 else number // 2 % 250 for number in range(start, self.taken)
        )

    @property
    def exhausted(self) -> bool:
        return self.taken >= self._limit

    @property
    def counters(self) -> dict[str, int]:
        return {}

    def sent(self) -> bytes:
        """All that it sent so far."""
        return BusyChip().take(0, self.taken, 0)


def busy(divider: int, fifo_bytes: int = 8192, limit: int = 1 << 30) -> tuple[GeccoModel, BusyChip, HandClock]:
    clock, chip = HandClock(), BusyChip(limit)
    board = GeccoModel(chip, fifo_bytes, clock)
    say(board, f"01160001{divider:02x}", "0115000100", ROUTING, EMPTY_FIFO)
    return board, chip, clock


# ---- registers


def test_identity_and_power_up() -> None:
    board = model()
    assert say(board, "00500004") == "abababab"
    assert say(board, "0150000155", "00500001") == "ab"
    assert say(board, "00150001") == "92"  # SPI in reset, both FIFOs empty
    assert say(board, "00460001") == "01"  # no interrupt
    assert say(board, "00160001") == "00"  # SPI would run at 50 MHz
    assert say(board, "0107000155", "00070001") == "55"
    board.power_up()
    assert say(board, "00070001") == "00"


@pytest.mark.parametrize("register", ["09", "30", "17", "ff"])
def test_a_register_that_does_not_exist_repeats_the_byte_read_before(register: str) -> None:
    board = model()
    assert say(board, f"01{register}000177", f"00{register}0002") == "0000"
    assert say(board, "00500001", f"00{register}0003") == "abababab"
    assert say(board, "010c000103", "000c0001", f"00{register}0001") == "0303"


def test_a_write_of_several_bytes_goes_into_one_register() -> None:
    assert say(model(), "01060003010203", "00060002", "00070001") == "030300"


def test_a_read_of_nothing_is_not_answered_and_a_write_of_nothing_takes_a_byte() -> None:
    assert say(model(), "00500000", "0107000011", "00070001") == "11"


# ---- the chips


def test_no_data_before_spi_is_on_routed_and_the_fifo_emptied() -> None:
    board = model(b"data")
    assert say(board, ROUTING, "00180002") == "ffff"
    board = model(b"data")
    assert say(board, ROUTING, "00150001") == "90"  # SPI is off: the routing command stays where it is
    assert say(board, "0115000101", "0115000100", "00150001") == "12"  # write FIFO emptied, SPI on
    assert say(board, ROUTING, "00150001", "00180010") == "02" + IDLES
    assert say(board, EMPTY_FIFO, "00460001", "00180008", "00460001") == "00" + b"data".hex() + 4 * "ff" + "01"


def test_no_data_while_the_chip_is_in_reset() -> None:
    board = model(b"", b"data")
    assert say(board, RUN, "0100000110", "00180002") == "ffff"
    assert say(board, "0100000100", "00180006") == "ffff" * 3  # the rest of the group
    assert say(board, "00180004") == b"data".hex()


def test_routing_is_lost_with_spi_off_and_what_the_fifo_holds_is_not() -> None:
    board = model(b"old", b"", b"new")
    assert say(board, RUN, "00150001", "0115000180", "00150001") == "0282"
    assert say(board, "00180008") == b"old".hex() + 5 * "ff"
    assert say(board, SPI_ON, EMPTY_FIFO, "00180008") == 8 * "ff"
    assert say(board, ROUTING, EMPTY_FIFO, "00180008", "00180008") == b"new".hex() + 13 * "ff"


def test_the_write_fifo_holds_1024_bytes_and_is_full_at_1019() -> None:
    board = model()
    assert say(board, "011703fa" + 1018 * "aa", "00150001") == "90"
    assert say(board, "01170001bb", "00150001") == "94"
    assert say(board, "011700ff" + 255 * "cc", "00150001") == "94"
    assert len(board._write_fifo) == 1024
    assert say(board, "0115000181", "0115000180", "00150001") == "92"


def test_the_read_fifo_reset_empties_it_and_keeps_it_empty() -> None:
    board = model(b"one", b"", b"two")
    assert say(board, RUN, "00150001", "0115000108", "00150001") == "021a"
    assert board.fifo.discarded_bytes == len(IDLES) // 2 + 3
    assert say(board, "0115000100", "00180003") == b"two".hex()


# ---- SPI


@pytest.mark.parametrize(("divider", "word_us"), [(40, 26.24), (2, 1.92), (255, 163.84), (0, 0.64)])
def test_spi_carries_a_word_in_32_clocks(divider: int, word_us: float) -> None:
    board, _, clock = busy(divider)
    clock.sleep(100.5 * word_us / 1e6)
    say(board, "00150001")
    assert len(board.fifo) == 100 * SPI_WORD_BYTES


def test_a_full_fifo_stops_spi_without_loss() -> None:
    board, chip, clock = busy(2, fifo_bytes=64)
    clock.sleep(1)
    assert say(board, "00150001") == "22"
    assert chip.taken == 64
    came = b""
    for _ in range(20):
        clock.sleep(0.001)
        came += without_padding(board.exchange(bytes.fromhex("00180040")))
    say(board, "0115000180")
    came += without_padding(board.exchange(bytes.fromhex("00180040")))
    assert came == chip.sent()[: len(came)]
    assert len(chip.sent()) - len(came) == board.fifo.lost_bytes <= SPI_WORD_BYTES


def test_the_last_word_is_filled_with_idles() -> None:
    board, _, clock = busy(40, limit=13)
    clock.sleep(1)
    assert say(board, "00180018") == BusyChip().take(0, 13, 0).hex() + 3 * "bc" + 8 * "ff"
    assert board.exhausted


def test_a_stop_loses_the_word_in_transfer() -> None:
    board, chip, clock = busy(40)
    clock.sleep(10.6 * 26.24e-6)
    say(board, "0115000180")
    assert (len(board.fifo), board.fifo.lost_bytes, chip.taken) == (80, 8, 88)


def test_lowering_the_divider_while_spi_is_on_shifts_the_bits() -> None:
    board, chip, clock = busy(40)
    say(board, "0116000102")
    clock.sleep(1)
    came = board.exchange(bytes.fromhex("00182000"))
    sent = chip.sent()
    bits = int.from_bytes(sent[:SLIPPED_BYTES], "big") >> 2
    assert came[:SLIPPED_BYTES] == bits.to_bytes(SLIPPED_BYTES, "big")
    assert came[SLIPPED_BYTES:] == sent[SLIPPED_BYTES:8192]


@pytest.mark.parametrize("before", ["0116000102", "0115000180" + "0116000102" + "0115000100" + ROUTING + EMPTY_FIFO])
def test_raising_it_or_changing_it_while_spi_is_off_does_not(before: str) -> None:
    board, chip, clock = busy(2 if before == "0116000102" else 40)
    say(board, "0116000128" if before == "0116000102" else before)
    clock.sleep(1)
    assert board.exchange(bytes.fromhex("00182000")) == chip.sent()[board.fifo.lost_bytes :][:8192]


# ---- padding


def test_words_that_come_during_a_read_come_behind_padding() -> None:
    board, chip, clock = busy(2)
    clock.sleep(10e-6)
    answer = board.exchange(bytes.fromhex("00180800"))
    groups = [answer[start : start + 8] for start in range(0, 2048, 8)]
    padding = [group == 8 * b"\xff" for group in groups]
    # Five words were there; in the 20 µs of the read ten came, at distances of 1.92 µs, or 24 groups.
    assert padding[:5] == [False] * 5
    words = [number for number, is_padding in enumerate(padding) if not is_padding]
    assert len(words) == 15
    assert {later - earlier for earlier, later in itertools.pairwise(words[5:])} == {24}
    assert (
        b"".join(group for group, is_padding in zip(groups, padding, strict=True) if not is_padding)
        == chip.sent()[:120]
    )


def test_at_divider_40_a_word_comes_within_most_reads() -> None:
    """In 77 % of the readouts of the RTL: a word takes 26.24 µs, a read of 2048 bytes 20.48 µs."""
    board, chip, clock = busy(40)
    came, within = b"", 0
    for _ in range(1000):
        clock.sleep(137e-6)
        answer = board.exchange(bytes.fromhex("00180800"))
        board.fetched(len(answer))
        came += without_padding(answer)
        within += without_padding(answer) != answer.rstrip(b"\xff")[: len(without_padding(answer))]
    assert came == chip.sent()[: len(came)]
    assert len(chip.sent()) - len(came) <= SPI_WORD_BYTES
    assert within == pytest.approx(780, abs=20)


@given(st.lists(st.one_of(st.integers(1, 40), st.binary(min_size=8, max_size=40)), max_size=40), st.data())
def test_groups_go_on_from_read_to_read(actions: list[int | bytes], data: st.DataObject) -> None:
    """Whatever the lengths of the reads, all of them together are words and groups of padding."""
    fifo = WordFifo(1 << 20)
    put, read = b"", b""
    for action in actions:
        if isinstance(action, bytes):
            words = bytes(byte & 0x7F for byte in action[: len(action) // 8 * 8])
            fifo.put(words)
            put += words
            continue
        offsets = sorted(data.draw(st.lists(st.integers(0, action + 8), max_size=3)))
        arriving = [(offset, bytes((number,)) * 8, 0) for number, offset in enumerate(offsets)]
        put += b"".join(word for _, word, _ in arriving)
        read += fifo.read(action, arriving)
    read += fifo.read(-len(read) % 8 + 8 * (len(fifo) // 8 + 2))
    assert without_padding(read) == put


def test_a_word_within_a_group_of_padding_waits_for_the_next() -> None:
    fifo = WordFifo(64)
    assert fifo.read(3) == b"\xff" * 3
    fifo.put(b"12345678")
    assert fifo.read(8) == b"\xff" * 5 + b"123"
    assert fifo.read(8) == b"45678" + b"\xff" * 3


# ---- the transmit FIFO


@pytest.mark.parametrize(("reads", "lost"), [(15, 0), (16, 1), (20, 5), (32, 17)])
def test_reads_that_end_while_the_transmit_fifo_is_full_lose_a_byte(reads: int, lost: int) -> None:
    """The RTL lost fewer, as the link took some away meanwhile; none with 15 reads of 2048 bytes."""
    board = model()
    answer = board.exchange(bytes.fromhex("00180800") * reads)
    assert len(answer) == 2048 * reads - lost
    assert board.counters["emulator_shortened_answers"] == lost
    board.fetched(len(answer))
    assert len(board.exchange(bytes.fromhex("00180800"))) == 2048


def test_a_single_read_that_is_longer_than_the_transmit_fifo_is_short() -> None:
    board = model()
    assert len(board.exchange(bytes.fromhex("0018ffff"))) == 65534


# ---- whatever comes


def test_answers_can_be_tampered_with() -> None:
    board = model()
    board.answer_filter = lambda request, answer: answer[: request.length // 2]
    assert say(board, "00070004", "00070001") == "0000"


@given(st.lists(st.binary(max_size=60), max_size=8))
def test_any_bytes_are_survived(noise: list[bytes]) -> None:
    board = model(b"data", b"more")
    for piece in noise:
        board.exchange(piece)


# ---- the FIFO of the A-STEP firmware


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


def test_readouts_of_a_test_come_as_they_are() -> None:
    assert ScriptedSource.delivery is HitDelivery.READOUTS
    board = model(b"0123456789", fifo_bytes=8)
    assert say(board, RUN, "00180010") == b"0123456789".hex() + 6 * "ff"
