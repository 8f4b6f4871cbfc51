"""Files, directories of runs and whole data directories, as programs take them."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from apx.cli import main as apx_main
from astropix_runtime.storage.run_directory import recordings_in
from monitor.sanity.cli import main as sanity_main
from protocol.errors import NoRecordingsError
from tests.astropix_runtime.run_left_open import RunLeftOpen


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """Runs 9 and 1000000, each of two files and one that is being written; and what belongs to nobody."""
    for number in (9, 1_000_000):
        run = RunLeftOpen(tmp_path / "data", number)
        for index in (0, 1):
            run.finish_file(index)
        run.path(2, ".part").write_bytes(run.content(2))
        run.path(0, ".cut").write_bytes(b"cut off")
    (tmp_path / "data" / "notes").mkdir()
    return tmp_path / "data"


def names(paths: list[Path]) -> list[str]:
    return [path.name for path in paths]


def test_a_run_is_its_files_in_order(data_dir: Path) -> None:
    assert names(recordings_in([data_dir / "run_000009"])) == [
        "run_000009_0000.apx", "run_000009_0001.apx", "run_000009_0002.apx.part",
    ]  # fmt: skip


def test_a_data_directory_is_its_runs_in_order(data_dir: Path) -> None:
    assert [name.split("_")[1] for name in names(recordings_in([data_dir]))] == ["000009"] * 3 + ["1000000"] * 3


def test_a_folder_of_recordings(tmp_path: Path) -> None:
    for name in ("b.apx", "a.apx", "a.txt"):
        (tmp_path / name).touch()
    assert names(recordings_in([tmp_path])) == ["a.apx", "b.apx"]


def test_files_are_what_they_are(tmp_path: Path) -> None:
    """Whoever opens them says what is wrong with them."""
    assert recordings_in([tmp_path / "not there", tmp_path / "b"]) == [tmp_path / "not there", tmp_path / "b"]


def test_nothing_in_it(data_dir: Path) -> None:
    with pytest.raises(
        NoRecordingsError, match=r"notes holds no recordings: give \.apx files, or the directory of a run"
    ):
        recordings_in([data_dir / "notes"])


@pytest.mark.parametrize(
    ("main", "arguments"),
    [(apx_main, ["info"]), (apx_main, ["dump"]), (apx_main, ["convert", "--format", "csv"]), (sanity_main, ["--once"])],
)
def test_programs_say_so(
    data_dir: Path, capsys: pytest.CaptureFixture[str], main: Callable[[list[str]], int], arguments: list[str]
) -> None:
    try:
        code = main([*arguments, str(data_dir / "notes")])
    except SystemExit as end:
        code = int(end.code or 0)
    said = capsys.readouterr().err.strip().splitlines()
    assert code == 2
    assert f"{data_dir / 'notes'} holds no recordings: give .apx files, or the directory of a run" in said[-1]


def test_info_and_convert_of_a_run(data_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert apx_main(["info", "--json", str(data_dir / "run_000009")]) == 0
    said = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [summary["readouts"] for summary in said] == [RunLeftOpen.per_file] * 3
    tables = tmp_path / "tables"
    tables.mkdir()
    assert apx_main(["convert", "--format", "csv", "-o", str(tables), str(data_dir)]) == 0
    assert len(list(tables.iterdir())) == 6


def test_the_quality_of_a_run(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sanity_main(["--json", "--once", str(data_dir / "run_000009")])
    summary = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert summary["checked"]["readouts"] == 3 * RunLeftOpen.per_file
