"""Register replies as a bad cable, a wrong firmware or a dying board gives them: documented errors, and a board that
works again when its answers do."""

from contextlib import suppress

from hypothesis import given
from hypothesis import strategies as st

from daqd.boards.board import Board
from daqd.emulator.board_model import BoardModel
from daqd.errors import BoardError
from protocol.chips.chip_file import usual_chip_file
from protocol.chips.chip_setup import ChipSetup, Injection
from tests.daqd.astep_bench import AstepBench
from tests.daqd.emulated_bench import EmulatedBench
from tests.fuzz.damage import damaged, fuzzed

_READS = 8
_HIT = {"hits_limit": 200, "rate_hz": 20_000.0}

Damages = dict[int, tuple[str, bytes]]
"""What becomes of the answer to the nth exchange that has one."""

_damages = st.dictionaries(
    st.integers(0, 120),
    st.tuples(
        st.sampled_from(("instead", "before", "after", "cut", "nothing", "flip")),
        damaged((b"\0", b"\xff" * 4, b"\xac\x03\0\0", b"\x55", b"\xbc" * 64, b"\x0d\0" + bytes(12))),
    ),
    max_size=12,
)


class _BadCable:
    """Damages some of the answers of a model, as long as it is `bad`."""

    def __init__(self, model: BoardModel, damages: Damages) -> None:
        self.bad = True
        self._damages = damages
        self._answers = 0
        self._exchange = model.exchange
        model.exchange = self.exchange

    def exchange(self, data: bytes) -> bytes:
        answer = self._exchange(data)
        if not answer or not self.bad:
            return answer
        kind, odd = self._damages.get(self._answers, ("", b""))
        self._answers += 1
        match kind:
            case "instead":
                return odd
            case "before":
                return odd + answer
            case "after":
                return answer + odd
            case "cut":
                return answer[: len(odd) % len(answer)]
            case "nothing":
                return b""
            case "flip":
                return bytes(byte ^ 0x55 for byte in answer)
        return answer


def _use(board: Board, setup: ChipSetup | None) -> int:
    """A run of some readouts; how many came."""
    board.open()
    board.configure(setup)
    board.start()
    readouts = sum(board.read_readout(0.01) is not None for _ in range(_READS))
    board.stop()
    return readouts


def _survives(board: Board, cable: _BadCable, setup: ChipSetup | None) -> None:
    with suppress(BoardError):
        _use(board, setup)
    for use in (board.stop, lambda: board.read_readout(0)):
        with suppress(BoardError):
            use()
    board.status()
    board.close()
    assert not board.status().connected
    cable.bad = False
    # Configured in any case: what was written in answer to nonsense may have left something in the chips.
    assert _use(board, _SETUP) > 0, "the board does not work after its answers are right again"
    board.close()


_CHIP = usual_chip_file(4).chips[0]
_SETUP = ChipSetup(chips=(_CHIP.with_pixel(1, 9, True),), injection=Injection(0, 1, 9, amplitude_mv=300.0))


@fuzzed
@given(_damages, st.booleans(), st.sampled_from((0, 1, 8)))
def test_gecco(damages: Damages, configured: bool, ahead: int) -> None:
    bench = EmulatedBench(board={"queue_ahead": ahead, "readout_bytes": 64}, emulator={**_HIT, "hits_limit": 100_000})
    _survives(bench.board, _BadCable(bench.model, damages), _SETUP if configured else None)


@fuzzed
@given(_damages, st.booleans(), st.sampled_from(("size", "fixed")))
def test_astep(damages: Damages, configured: bool, read: str) -> None:
    bench = AstepBench(emulator={**_HIT, "hits_limit": 100_000}, astep={"read": read})
    _survives(bench.board, _BadCable(bench.model, damages), _SETUP if configured else None)
