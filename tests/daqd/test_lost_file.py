"""A file that is removed or moved while it is written comes back with all that is in it."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from daqd.errors import DiskError
from daqd.runs.lost_file import bring_back, is_in_place
from daqd.runs.run_files import create_file
from tests.daqd.refusing_disk import file_size_limit

CONTENT = os.urandom(3_000_000)
SHARED_MEMORY = Path("/dev/shm")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the file belongs."""
    (tmp_path / "data" / "run").mkdir(parents=True)
    return tmp_path / "data" / "run" / "file"


@pytest.fixture
def opened(path: Path) -> Iterator[int]:
    """The file, written."""
    descriptor = create_file(path)
    os.write(descriptor, CONTENT)
    yield descriptor
    os.close(descriptor)


def test_a_file_in_its_place(opened: int, path: Path) -> None:
    assert is_in_place(opened, path)


def _remove(path: Path) -> None:
    path.unlink()


def _remove_run(path: Path) -> None:
    path.unlink()
    path.parent.rmdir()


def _remove_data(path: Path) -> None:
    _remove_run(path)
    path.parent.parent.rmdir()


@pytest.mark.parametrize("damage", [_remove, _remove_run, _remove_data])
def test_what_was_removed_is_written_once_more(opened: int, path: Path, damage: Callable[[Path], None]) -> None:
    damage(path)
    assert not is_in_place(opened, path)
    assert bring_back(opened, path) == "file was removed; what had been written was written once more"
    assert path.read_bytes() == CONTENT
    assert [each.name for each in path.parent.iterdir()] == ["file"]


@pytest.mark.parametrize("what", ["file", "run", "data"])
def test_what_was_moved_gets_its_old_name_again(opened: int, path: Path, what: str, tmp_path: Path) -> None:
    moved = {"file": path, "run": path.parent, "data": path.parent.parent}[what]
    moved.rename(moved.with_name("elsewhere"))
    assert not is_in_place(opened, path)
    (now,) = [each for each in tmp_path.rglob("*") if each.is_file()]
    assert bring_back(opened, path) == f"file was moved to {now}; it has its old name again, too"
    assert is_in_place(opened, path)
    assert path.read_bytes() == CONTENT


def test_what_was_moved_to_nobody_knows_where_is_written_once_more(
    opened: int, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the system does not tell the place of an open file."""
    monkeypatch.setattr("daqd.runs.lost_file._place_of", lambda _: "")
    path.rename(path.with_name("elsewhere"))
    assert bring_back(opened, path) == "file was moved; what had been written was written once more"
    assert path.read_bytes() == CONTENT


def test_a_file_that_has_the_name_now_is_not_touched(opened: int, path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.write_text("somebody's")
    assert not is_in_place(opened, path)
    with pytest.raises(DiskError, match=r"file was moved to \S+/elsewhere and cannot .*File exists\): it is left"):
        bring_back(opened, path)
    assert path.read_text() == "somebody's"


def test_what_was_removed_is_kept_beside_what_has_its_name_now(opened: int, path: Path) -> None:
    path.unlink()
    path.write_text("somebody's")
    with pytest.raises(
        DiskError, match=r"^file was removed; its name is taken, what had been written is in file\.kept$"
    ):
        bring_back(opened, path)
    assert path.read_text() == "somebody's"
    assert path.with_name("file.kept").read_bytes() == CONTENT


def test_a_directory_that_is_a_file_now(opened: int, path: Path) -> None:
    _remove_run(path)
    path.parent.write_text("somebody's")
    assert not is_in_place(opened, path)
    with pytest.raises(DiskError, match=r"file was removed and cannot be brought back \(.*\): what was in it is lost"):
        bring_back(opened, path)


def test_no_half_of_it_stays_on_a_full_disk(opened: int, path: Path) -> None:
    path.unlink()
    with file_size_limit(2_000_000), pytest.raises(DiskError, match=r"removed .*File too large\): what was in it is"):
        bring_back(opened, path)
    assert list(path.parent.iterdir()) == []


@pytest.mark.skipif(not SHARED_MEMORY.is_dir(), reason="needs a second file system")
def test_what_was_on_a_file_system_that_is_gone_is_not_written_to_the_one_below(tmp_path: Path) -> None:
    elsewhere = SHARED_MEMORY / f"{tmp_path.name}-{os.getpid()}"
    if SHARED_MEMORY.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("the directory for temporary files is on that file system, too")
    descriptor = create_file(elsewhere)
    try:
        with pytest.raises(DiskError, match="another file system is in the place of its own"):
            bring_back(descriptor, tmp_path / "data" / "run" / "file")
    finally:
        os.close(descriptor)
        elsewhere.unlink()
    assert list(tmp_path.iterdir()) == []
