"""Runs that were left open become whole: nothing lost, nothing invented, and that through a kill at any step."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from astropix_runtime.storage.run_repair import RunRepair, plan_run_repair
from protocol.readout import RECORD_MARKER
from protocol.run_record import Cut, Gap
from tests.astropix_runtime.killed_repair import KilledRepairs, mend_run, repair_run
from tests.astropix_runtime.run_left_open import (
    BEGIN_NS,
    RunLeftOpen,
    record_bytes,
    records,
)

pytestmark = pytest.mark.slow

TORN = record_bytes(99)[:-3]


@pytest.fixture(scope="module")
def repairs() -> Iterator[KilledRepairs]:
    with KilledRepairs() as repairs:
        yield repairs


@pytest.fixture
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk of the tests that kill is not waited for."""
    monkeypatch.setattr(os, "fsync", lambda _: None)


@pytest.fixture
def run(tmp_path: Path) -> RunLeftOpen:
    return RunLeftOpen(tmp_path / "data")


def repair(run: RunLeftOpen, *, thorough: bool = False) -> RunRepair:
    """Repair it, and see that there is nothing to do then."""
    before = run.snapshot()
    plan = plan_run_repair(run.directory, thorough=thorough)
    assert run.snapshot() == before, "planning changed something"
    if plan.needed:
        plan.carry_out()
    assert not plan_run_repair(run.directory, thorough=thorough).needed
    return plan


def test_what_a_kill_leaves(run: RunLeftOpen) -> None:
    gap = Gap(from_ns=5, to_ns=6, reason="cable")
    run.write_record(run.finish_file(0), run.finish_file(1), gaps=(gap,))
    run.open_file(2, 3, TORN)
    (run.directory / ".reserve").write_bytes(bytes(100))
    (run.directory / f"{run.record_path.name}.new").write_bytes(b'{"half')
    plan = repair(run)
    assert plan.describe() == (
        f"run_000007_0002.apx is finished, 3 readouts, {len(TORN)} bytes put aside in run_000007_0002.apx.cut;"
        f" the record says interrupted, 13 readouts, {run.record.counts.file_bytes} bytes in 3 files"
    )
    assert plan.remarks == ()

    record = run.check_whole()
    assert record.state == "interrupted"
    assert run.path(2).read_bytes() == run.content(2, 3)
    assert run.path(2, ".cut").read_bytes() == TORN
    (cut,) = record.cuts
    assert (cut.file, cut.kept_as) == ("run_000007_0002.apx", "run_000007_0002.apx.cut")
    assert (cut.offset, cut.size_bytes) == (len(run.content(2, 3)), len(TORN))
    assert record.end_ns == BEGIN_NS + 10 * 12 == record.files[2].end_ns
    assert record.files[2].begin_ns == BEGIN_NS + 10 * 10
    assert record.gaps == (gap,)
    assert (record.counts.empty_readouts, record.counts.board_bytes, record.counts.padding_bytes) == (None, None, None)
    assert record.end_reason == (
        f"the daemon did not live to close it: 13 readouts in 3 files;"
        f" {len(TORN)} bytes that are no whole readout put aside"
    )
    assert (record.comment, record.ledger, record.chips) == ("beam", None, 4)


def _nothing_but_its_directory(run: RunLeftOpen) -> None:
    pass


def _no_file(run: RunLeftOpen) -> None:
    run.write_record()


def _empty_part(run: RunLeftOpen) -> None:
    run.path(0, ".part").touch()
    (run.directory / ".reserve").write_bytes(bytes(100))


def _half_a_header(run: RunLeftOpen) -> None:
    run.path(0, ".part").write_bytes(run.header(0)[:-1])
    (run.directory / ".reserve").write_bytes(bytes(100))


def _no_record(run: RunLeftOpen) -> None:
    run.open_file(0, 0)


def _only_a_draft_of_the_record(run: RunLeftOpen) -> None:
    run.write_record(gaps=(Gap(from_ns=1, reason="cable"),))
    run.record_path.rename(f"{run.record_path}.new")
    run.path(0, ".part").write_bytes(b"")


def _next_file_not_begun(run: RunLeftOpen) -> None:
    run.write_record(run.finish_file(0))
    run.path(1, ".part").write_bytes(bytes(20))


def _finished_and_not_in_the_record(run: RunLeftOpen) -> None:
    run.finish_file(1)
    run.write_record(run.finish_file(0))


def _many_cuts(run: RunLeftOpen) -> None:
    run.path(0, ".part").write_bytes(run.content(0, 2) + b"?" + records(2, 2) + bytes(9) + records(4, 1) + TORN)
    run.write_record()


def _failed_with_a_part(run: RunLeftOpen) -> None:
    known = run.finish_file(0)
    run.open_file(1, 2, TORN)
    run.write_record(known, state="failed", end_ns=5, end_reason="disk full")


def _all_closed_but_for_the_record(run: RunLeftOpen) -> None:
    run.finish_file(1)
    run.write_record(run.finish_file(0))


SCENES: list[Callable[[RunLeftOpen], None]] = [
    _nothing_but_its_directory,
    _no_file,
    _empty_part,
    _half_a_header,
    _no_record,
    _only_a_draft_of_the_record,
    _next_file_not_begun,
    _finished_and_not_in_the_record,
    _many_cuts,
    _failed_with_a_part,
    _all_closed_but_for_the_record,
]


@pytest.mark.usefixtures("no_waiting")
@pytest.mark.parametrize("scene", SCENES)
def test_killed_at_every_step_and_repaired_again(
    run: RunLeftOpen, scene: Callable[[RunLeftOpen], None], tmp_path: Path, repairs: KilledRepairs
) -> None:
    """Whatever step is the last, the next repair comes to the same end as one that was let alone."""
    scene(run)
    original = tmp_path / "original"
    shutil.copytree(run.directory, original)
    repair(run)
    wanted = run.snapshot()
    step = 0
    killed = True
    while killed:
        shutil.rmtree(run.directory)
        shutil.copytree(original, run.directory)
        killed = repairs.killed_at(step, repair_run, run.directory)
        step += 1
        repair(run)
        assert run.snapshot() == wanted
    if wanted.keys() != {path.name for path in original.iterdir()}:
        assert step > 3


def test_every_byte_is_still_there(run: RunLeftOpen) -> None:
    """What is in the middle of a file can be put back from what the record says."""
    _many_cuts(run)
    original = run.path(0, ".part").read_bytes()
    repair(run)
    record = run.check_whole()
    assert record.counts.readouts == 5
    assert [cut.size_bytes for cut in record.cuts] == [1, 9, len(TORN)]
    content, aside = run.path(0).read_bytes(), run.path(0, ".cut").read_bytes()
    for cut in record.cuts:
        content = content[: cut.offset] + aside[: cut.size_bytes] + content[cut.offset :]
        aside = aside[cut.size_bytes :]
    assert (content, aside) == (original, b"")
    assert "; 49 bytes" not in record.end_reason
    assert f"; {10 + len(TORN)} bytes that are no whole readout put aside" in record.end_reason


IMAGES = st.lists(
    st.sampled_from([bytes(1), bytes(600), b"\xff" * 40, TORN, TORN[:9], RECORD_MARKER])
    | st.builds(record_bytes, st.integers(0, 12))
    | st.builds(records, st.integers(0, 9), st.integers(1, 4))
    | st.binary(max_size=50),
    max_size=8,
).map(b"".join)


@pytest.mark.usefixtures("no_waiting")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(IMAGES, st.integers(0, 400), st.booleans())
@example(TORN + b"\xff" * 40, 400, False)
def test_whatever_a_power_cut_leaves_no_byte_is_lost(run: RunLeftOpen, image: bytes, header: int, two: bool) -> None:
    for path in run.directory.iterdir():
        path.unlink()
    original = run.header(0)[:header] + image
    run.path(0, ".part").write_bytes(original)
    if two:
        run.path(1, ".part").write_bytes(image)
    run.write_record()
    repair(run)
    record = run.check_whole()
    content = run.path(0).read_bytes() if run.path(0).exists() else b""
    kept = [cut for cut in record.cuts if cut.file == run.path(0).name]
    aside = (run.directory / kept[0].kept_as).read_bytes() if kept else b""
    for cut in kept:
        content = content[: cut.offset] + aside[: cut.size_bytes] + content[cut.offset :]
        aside = aside[cut.size_bytes :]
    assert (content, aside) == (original, b"")


def test_a_run_of_which_only_its_directory_is_there_stays(run: RunLeftOpen) -> None:
    assert not repair(run).needed
    assert run.snapshot() == {}


def test_a_record_is_made_from_the_header_where_there_is_none(run: RunLeftOpen) -> None:
    run.open_file(0, 2)
    repair(run)
    record = run.check_whole()
    assert (record.state, record.daq, record.comment, record.run) == ("interrupted", "bench", "beam", 7)
    assert (record.begin_ns, record.end_ns, record.chips) == (BEGIN_NS, BEGIN_NS + 10, 4)
    assert (record.configuration, record.software) == ({"a": 1}, {"name": "test"})


def test_a_header_that_does_not_say_enough_for_a_record(run: RunLeftOpen) -> None:
    run.open_file(0, 2).write_bytes(RunLeftOpen(run.directory / "elsewhere", 8).content(0, 2))
    shutil.rmtree(run.directory / "elsewhere")
    plan = repair(run)
    assert plan.remarks == ("there is no run record, and the files do not say enough to make one",)
    assert list(run.snapshot()) == ["run_000007_0000.apx"]


def test_no_whole_header_and_nothing_is_lost(run: RunLeftOpen) -> None:
    run.write_record(run.finish_file(0))
    begun = run.header(1)[:40] + bytes(5)
    run.path(1, ".part").write_bytes(begun)
    plan = repair(run)
    assert "run_000007_0001.apx.part has no whole header: 45 bytes put aside in run_000007_0001.apx.cut" in (
        plan.describe()
    )
    assert run.path(1, ".cut").read_bytes() == begun
    record = run.record
    assert [(cut.file, cut.offset, cut.size_bytes) for cut in record.cuts] == [("run_000007_0001.apx", 0, 45)]
    assert [file.index for file in record.files] == [0]


def test_what_was_put_aside_before_is_never_overwritten(run: RunLeftOpen) -> None:
    run.write_record()
    run.open_file(0, 2, TORN)
    run.path(0, ".cut").write_bytes(b"from another time")
    run.path(0, ".cut.2").write_bytes(b"and another")
    repair(run)
    assert run.path(0, ".cut").read_bytes() == b"from another time"
    assert run.path(0, ".cut.2").read_bytes() == b"and another"
    assert run.path(0, ".cut.3").read_bytes() == TORN
    assert [cut.kept_as for cut in run.record.cuts] == ["run_000007_0000.apx.cut.3"]


def test_ids_that_are_not_continuous_are_told(run: RunLeftOpen) -> None:
    run.write_record()
    run.path(0, ".part").write_bytes(run.header(0) + records(0, 2) + records(4, 1))
    run.path(1).write_bytes(run.header(1) + records(9, 2))
    plan = repair(run)
    assert plan.remarks == (
        "readout ids jump 1 time in run_000007_0000.apx, first from 1 to 4",
        "run_000007_0001.apx begins with readout 9, not 5",
    )
    assert run.check_whole().end_reason.endswith("; ".join(["5 readouts in 2 files", *plan.remarks]))


def test_finished_files_that_are_gone_or_changed_are_told(run: RunLeftOpen) -> None:
    known = [run.finish_file(index) for index in range(3)]
    run.write_record(*known)
    run.path(0).unlink()
    run.path(1).write_bytes(run.content(1, 4))
    plan = repair(run)
    assert plan.remarks[0] == "run_000007_0000.apx is missing"
    assert "run_000007_0001.apx had" in plan.remarks[1]
    record = run.record
    assert (record.state, record.files[0], record.files[2]) == ("interrupted", known[0], known[2])
    assert record.files[1].readouts == 4


def test_a_finished_file_that_is_damaged_is_told_and_left_alone(run: RunLeftOpen) -> None:
    damaged = run.content(0) + bytes(10)
    run.path(0).write_bytes(damaged)
    run.write_record()
    plan = repair(run)
    assert plan.remarks == ("run_000007_0000.apx was finished and is damaged; apx repair mends it",)
    assert run.path(0).read_bytes() == damaged
    assert run.record.files[0].size_bytes == len(damaged)
    repair(run, thorough=True)
    assert run.check_whole().state == "interrupted"
    assert run.path(0, ".cut").read_bytes() == bytes(10)


def test_files_that_the_record_knows_are_not_read_again(run: RunLeftOpen) -> None:
    known = run.finish_file(0).model_copy(update={"sha256": "ab" * 32})
    run.write_record(known)
    repair(run)
    assert run.record.files == (known,)


def test_a_failed_run_with_a_file_that_could_not_be_closed(run: RunLeftOpen) -> None:
    _failed_with_a_part(run)
    repair(run)
    record = run.check_whole()
    assert (record.state, record.end_ns) == ("failed", 5)
    assert record.end_reason == (
        f"disk full; repaired afterwards; {len(TORN)} bytes that are no whole readout put aside"
    )


def test_what_the_daemon_knew_of_padding_stays_where_the_files_agree(run: RunLeftOpen) -> None:
    known = run.finish_file(0)
    run.open_file(1, 2)
    counts = {"readouts": 7, "readout_bytes": 49, "empty_readouts": 3, "board_bytes": 100, "padding_bytes": 51}
    ledger = {"bytes_read": 49}
    run.write_record(known, state="failed", end_ns=5, end_reason="disk full", counts=counts, ledger=ledger)
    repair(run)
    assert run.record.ledger == ledger
    assert run.check_whole().counts.model_dump(exclude={"file_bytes"}) == counts


@pytest.mark.parametrize("text", ["", "{", '{"run": 7}', '{"format": 2}', "\0\0\0\0"])
def test_a_record_that_cannot_be_read_is_left_alone_and_the_files_are_finished(run: RunLeftOpen, text: str) -> None:
    run.open_file(0, 2, TORN)
    run.record_path.write_text(text)
    plan = repair(run)
    assert "run_000007.json is not a run record" in plan.remarks[0]
    assert "it was left as it is" in plan.remarks[0]
    assert run.record_path.read_text() == text
    assert run.path(0).read_bytes() == run.content(0, 2)
    assert run.path(0, ".cut").read_bytes() == TORN


def test_readouts_of_a_kind_that_is_not_known_are_left_to_another_version(run: RunLeftOpen) -> None:
    run.write_record(readout_uid=4999)
    run.open_file(0, 2, TORN)
    before = run.snapshot()
    plan = repair(run)
    assert not plan.needed
    assert plan.remarks == ("readout uid 4999 is not known here; the run is left to a version that knows it",)
    run.write_record()
    run.path(0, ".part").write_bytes(run.content(0, 2).replace(b"4000", b"4999") + TORN)
    part = run.path(0, ".part").read_bytes()
    plan = repair(run)
    assert "unknown readout uid 4999" in plan.remarks[0]
    assert run.path(0, ".part").read_bytes() == part
    assert before.keys() == run.snapshot().keys()


def test_a_part_beside_a_finished_file_of_its_name(run: RunLeftOpen) -> None:
    known = run.finish_file(0)
    part = run.open_file(0, 2)
    run.write_record(known)
    plan = repair(run)
    assert plan.remarks == ("run_000007_0000.apx exists; run_000007_0000.apx.part keeps its name",)
    assert part.exists()
    assert run.path(0).read_bytes() == run.content(0)
    assert run.record.files == (known,)


def test_a_closed_run_is_not_touched(run: RunLeftOpen) -> None:
    run.write_record(run.finish_file(0), state="finished", end_ns=5, end_reason="enough")
    (run.directory / "notes.txt").write_text("mine")
    before = run.snapshot()
    assert not repair(run).needed
    assert not repair(run, thorough=True).needed
    assert run.snapshot() == before


@pytest.mark.usefixtures("no_waiting")
@pytest.mark.parametrize("thorough", [False, True])
def test_a_finished_file_is_mended_only_where_that_was_asked_for(
    run: RunLeftOpen, thorough: bool, repairs: KilledRepairs
) -> None:
    """And through a kill at every step, in a run that was closed long ago."""
    earlier = Cut(file=run.path(0).name, offset=332, size_bytes=3, kept_as=run.path(0, ".cut").name)
    run.path(0, ".cut").write_bytes(b"old")
    files = run.finish_file(0), run.finish_file(1)
    run.write_record(
        *files, state="finished", end_ns=5, end_reason="enough", cuts=(earlier,), ledger={"bytes_read": 70}
    )
    damaged = bytearray(run.content(0))
    start = len(run.header(0)) + 2 * len(record_bytes(0))
    damaged[start : start + 4] = b"????"
    run.path(0).write_bytes(damaged)
    before = run.snapshot()
    if not thorough:
        assert not repair(run).needed
        assert run.snapshot() == before
        return
    repair(run, thorough=True)
    wanted = run.snapshot()
    record = run.check_whole()
    assert (record.state, record.end_ns, record.counts.readouts) == ("finished", 5, 9)
    assert (record.cuts[0], record.ledger) == (earlier, None)
    assert run.path(0, ".cut.2").read_bytes() == bytes(damaged[start : start + len(record_bytes(0))])
    assert "enough; repaired afterwards; 29 bytes" in record.end_reason
    step, killed = 0, True
    while killed:
        shutil.rmtree(run.directory)
        run.directory.mkdir()
        for name, content in before.items():
            (run.directory / name).write_bytes(content)
        killed = repairs.killed_at(step, mend_run, run.directory)
        step += 1
        repair(run, thorough=True)
        assert run.snapshot() == wanted
    assert step > 8


def test_a_disk_that_refuses_leaves_what_can_be_repaired_later(
    run: RunLeftOpen, monkeypatch: pytest.MonkeyPatch
) -> None:
    run.write_record(run.finish_file(0))
    part = run.open_file(1, 2, TORN)
    content = part.read_bytes()

    def refuse(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", refuse)
        with pytest.raises(OSError, match="No space left"):
            plan_run_repair(run.directory).carry_out()
    assert part.read_bytes() == content
    repair(run)
    run.check_whole()


def test_a_directory_of_another_name(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is not the directory of a run: those are called run_000000"):
        plan_run_repair(tmp_path)


def test_the_record_is_json_that_anybody_can_read(run: RunLeftOpen) -> None:
    _many_cuts(run)
    repair(run)
    content = json.loads(run.record_path.read_text())
    assert content["cuts"][0] == {
        "file": "run_000007_0000.apx",
        "offset": len(run.content(0, 2)),
        "size_bytes": 1,
        "kept_as": "run_000007_0000.apx.cut",
    }
    assert content["counts"]["padding_bytes"] is None


def test_what_is_cut_off_is_on_disk_before_the_file_is_cut(run: RunLeftOpen, monkeypatch: pytest.MonkeyPatch) -> None:
    """A power cut takes what was not synced, so the order of syncs and changes is what saves the tail."""
    run.write_record()
    run.open_file(0, 2, TORN)
    done: list[str] = []

    def note(name: str, target: Callable[..., str]) -> None:
        function = getattr(os, name)

        def call(*arguments: object) -> object:
            done.append(f"{name} {target(*arguments)}")
            return function(*arguments)

        monkeypatch.setattr(os, name, call)

    def opened(descriptor: int, *_: object) -> str:
        return Path(f"/proc/self/fd/{descriptor}").readlink().name

    note("fsync", opened)
    note("ftruncate", opened)
    for name in ("replace", "rename"):
        note(name, lambda _, target: Path(target).name)
    plan_run_repair(run.directory).carry_out()
    file, record, directory = "run_000007_0000.apx", "run_000007.json", "run_000007"
    assert done == [
        f"fsync {file}.cut.new", f"replace {file}.cut", f"fsync {directory}",
        f"fsync {record}.new", f"replace {record}", f"fsync {directory}",
        f"ftruncate {file}.part", f"fsync {file}.part",
        f"rename {file}", f"fsync {directory}",
        f"fsync {record}.new", f"replace {record}", f"fsync {directory}",
    ]  # fmt: skip
