"""Output files: complete or not there, and nothing replaced by accident."""

import os
from pathlib import Path

import pytest

from apx.new_file import new_file, output_paths
from apx.subcommand import MisuseError, ToolError


def test_it_appears_when_it_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    with new_file(path, force=False) as file:
        file.write(b"content")
        assert not path.exists()
    assert path.read_bytes() == b"content"
    assert list(tmp_path.iterdir()) == [path]
    umask = os.umask(0)
    os.umask(umask)
    assert path.stat().st_mode & 0o777 == 0o666 & ~umask


def test_it_does_not_appear_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), new_file(tmp_path / "x.csv", force=False) as file:
        file.write(b"content")
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


def test_an_error_keeps_the_file_that_force_would_have_replaced(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError), new_file(path, force=True):
        raise ZeroDivisionError
    assert path.read_text() == "old"


@pytest.mark.parametrize("links", [True, False])
def test_a_file_that_came_up_meanwhile_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool) -> None:
    if not links:

        def no_links(*_: object) -> None:
            raise PermissionError("no hard links here")

        monkeypatch.setattr(Path, "hardlink_to", no_links)
    path = tmp_path / "x.csv"
    with pytest.raises(ToolError, match="--force"), new_file(path, force=False) as file:
        file.write(b"content")
        path.write_text("other")
    assert path.read_text() == "other"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_system_without_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_links(*_: object) -> None:
        raise PermissionError("no hard links here")

    monkeypatch.setattr(Path, "hardlink_to", no_links)
    with new_file(tmp_path / "x.csv", force=False) as file:
        file.write(b"content")
    assert [path.name for path in tmp_path.iterdir()] == ["x.csv"]


def test_what_is_no_regular_file_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "x.csv").mkdir()
    with pytest.raises(ToolError, match="no regular file"), new_file(tmp_path / "x.csv", force=True):
        pass


def test_a_missing_directory(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match="is no directory"), new_file(tmp_path / "a" / "x.csv", force=False):
        pass


@pytest.mark.parametrize(
    ("name", "output"),
    [
        ("run.apx", "run.csv"),
        ("run_000001_0000.apx.part", "run_000001_0000.csv"),
        ("scan.log.xz", "scan.csv"),
        ("scan.txt", "scan.txt.csv"),
        (".apx", ".apx.csv"),
        ("2025.07.23.apx", "2025.07.23.csv"),
    ],
)
def test_names(tmp_path: Path, name: str, output: str) -> None:
    assert output_paths([tmp_path / name], None, ".csv") == [tmp_path / output]
    other = tmp_path / "out"
    other.mkdir()
    assert output_paths([tmp_path / name], other, ".csv") == [other / output]


def test_a_name_of_its_own(tmp_path: Path) -> None:
    assert output_paths([tmp_path / "a.apx"], tmp_path / "b.txt", ".csv") == [tmp_path / "b.txt"]


def test_several_need_a_directory(tmp_path: Path) -> None:
    with pytest.raises(MisuseError, match="is no directory"):
        output_paths([tmp_path / "a.apx", tmp_path / "b.apx"], tmp_path / "c", ".csv")
