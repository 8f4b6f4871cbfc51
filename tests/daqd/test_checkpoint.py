"""Where a killed publisher goes on: far enough back, and never from a file that is damaged."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from daqd.following.follower import Position
from daqd.publishing.checkpoint import OVERLAP_S, Checkpoint, CheckpointFile
from protocol.decode import StreamDecoder

COUNTS = st.integers(0, (1 << 63) - 1)
CHECKPOINTS = st.builds(
    Checkpoint,
    last_run=COUNTS,
    position=st.none() | st.builds(Position, COUNTS, COUNTS, COUNTS),
    readout_uid=COUNTS,
    decoder=st.none() | st.just(StreamDecoder(3).state()),
    next_readout=st.none() | COUNTS,
    subscribers=COUNTS,
)


def place(number: int, subscribers: int = 0) -> Checkpoint:
    return Checkpoint(
        last_run=1,
        position=Position(1, 0, number),
        readout_uid=4000,
        decoder=None,
        next_readout=number,
        subscribers=subscribers,
    )


@given(CHECKPOINTS)
def test_there_and_back(checkpoint: Checkpoint) -> None:
    assert Checkpoint.from_json(checkpoint.to_json()) == checkpoint


WHOLE: dict[str, Any] = json.loads(place(5).to_json())


@pytest.mark.parametrize(
    "text",
    [
        "", "null", "[]", "5", "{}", "nonsense", '{"last_run": 1}', "[" * 100_000,
        *(json.dumps({**WHOLE, **wrong}) for wrong in (
            {"last_run": -1}, {"last_run": "1"}, {"last_run": 1.5}, {"last_run": None}, {"last_run": True},
            {"last_run": 1 << 70}, {"last_run": float("inf")}, {"position": [1, 0]}, {"position": [1, 0, -5]},
            {"position": 5}, {"position": "abc"}, {"position": [1, 0, 5, 9]}, {"decoder": [1]}, {"decoder": "x"},
            {"next_readout": "7"}, {"next_readout": -7}, {"readout_uid": None}, {"subscribers": -1},
        )),
    ],
)  # fmt: skip
def test_what_is_no_checkpoint_is_none(tmp_path: Path, text: str) -> None:
    path = tmp_path / "checkpoint"
    path.write_text(text)
    assert CheckpointFile(path).load() is None
    with pytest.raises(ValueError, match=r"checkpoint|JSON|Expecting"):
        Checkpoint.from_json(text)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=60))
def test_no_file_is_an_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "checkpoint").write_bytes(content)
    assert CheckpointFile(tmp_path / "checkpoint").load() is None


def test_there_may_be_no_file(tmp_path: Path) -> None:
    file = CheckpointFile(tmp_path / "checkpoint")
    assert file.load() is None
    file.forget()
    (tmp_path / "checkpoint").mkdir()
    assert file.load() is None


def test_the_first_is_kept_at_once_and_until_there_is_one_old_enough(tmp_path: Path) -> None:
    file = CheckpointFile(tmp_path / "checkpoint")
    file.passed(place(0), 100.0)
    assert file.load() == place(0)
    file.passed(place(1), 100.0 + OVERLAP_S / 2)
    file.passed(place(2), 100.0 + OVERLAP_S * 0.99)
    assert file.load() == place(0)


def test_the_kept_one_is_the_youngest_that_is_old_enough(tmp_path: Path) -> None:
    file = CheckpointFile(tmp_path / "checkpoint")
    times = [0.25 * number for number in range(60)]
    for number, now in enumerate(times):
        file.passed(place(number), now)
        old_enough = [other for other, then in enumerate(times[: number + 1]) if then <= now - OVERLAP_S]
        assert file.load() == place(old_enough[-1] if old_enough else 0)


def test_after_a_long_silence_the_last_one_counts(tmp_path: Path) -> None:
    """Nothing was passed for a while: what was passed last is long enough ago."""
    file = CheckpointFile(tmp_path / "checkpoint")
    file.passed(place(0), 0.0)
    file.passed(place(1), 1.0)
    file.passed(place(2), 1000.0)
    assert file.load() == place(1)


def test_who_listens_is_as_of_now(tmp_path: Path) -> None:
    file = CheckpointFile(tmp_path / "checkpoint")
    file.passed(place(0, subscribers=0), 0.0)
    file.passed(place(1, subscribers=3), 0.1)
    assert file.load() == place(0, subscribers=3)
    file.passed(place(2, subscribers=1), 0.2)
    assert file.load() == place(0, subscribers=1)


def test_it_is_written_only_where_it_changes(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint"
    file = CheckpointFile(path)
    file.passed(place(0), 0.0)
    before = path.stat()
    for number in range(1, 100):
        file.passed(place(0), 0.25 * number)
    after = path.stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


def test_what_could_not_be_written_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    file = CheckpointFile(tmp_path / "checkpoint")
    file.passed(place(0), 0.0)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", fail)
        with pytest.raises(OSError, match="No space left"):
            file.passed(place(0, subscribers=1), 1.0)
    assert file.load() == place(0)
    file.passed(place(0, subscribers=1), 1.1)
    assert file.load() == place(0, subscribers=1)


def test_what_an_earlier_daemon_left_is_removed(tmp_path: Path) -> None:
    CheckpointFile(tmp_path / "checkpoint").passed(place(5), 0.0)
    file = CheckpointFile(tmp_path / "checkpoint")
    assert file.load() == place(5)
    file.forget()
    assert file.load() is None
    assert list(tmp_path.iterdir()) == []


def test_the_decoder_goes_on_from_its_state(tmp_path: Path) -> None:
    decoder = StreamDecoder(2)
    decoder.carry_over(bytes.fromhex("e05042"))
    file = CheckpointFile(tmp_path / "checkpoint")
    file.passed(replace(place(0), decoder=decoder.state()), 0.0)
    loaded = file.load()
    assert loaded is not None
    assert loaded.decoder is not None
    assert StreamDecoder.from_state(loaded.decoder).state() == decoder.state()
