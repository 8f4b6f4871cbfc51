"""docs/testing.md: its example is run as it is written, by a pytest of its own in an empty directory."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

DOCUMENT = (REPOSITORY / "docs" / "testing.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"^```python (\S+)\n(.*?)^```$", DOCUMENT, re.MULTILINE | re.DOTALL))


def run_pytest(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """pytest with warnings as errors, and nothing of ours to configure it."""
    (folder / "pytest.ini").write_text("[pytest]\n")
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "pytest", "-W", "error", "-p", "no:cacheprovider", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )


def test_the_example(tmp_path: Path) -> None:
    assert sorted(FILES) == ["hottest_pixel.py", "test_hottest_pixel.py"]
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    done = run_pytest(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"\b3 passed in", done.stdout)


def test_the_fixtures_are_listed_with_what_they_are_for(tmp_path: Path) -> None:
    done = run_pytest(tmp_path, "--fixtures")
    listed = re.findall(r"^(astropix_\w+) -- .*\n    (\S.*)$", done.stdout, re.MULTILINE)
    assert sorted(name for name, _ in listed) == ["astropix_daemon", "astropix_generate", "astropix_replay"]
    for name, _ in listed:
        assert f"| `{name}` |" in DOCUMENT


@pytest.mark.parametrize("name", ["write_config", "ReplaySource"])
def test_every_argument_is_described(name: str) -> None:
    import inspect

    from astropix_pytest.replay import ReplaySource
    from astropix_pytest.settings import write_config

    what = {"write_config": write_config, "ReplaySource": ReplaySource}[name]
    arguments = [each.name for each in inspect.signature(what).parameters.values() if each.kind is each.KEYWORD_ONLY]
    assert len(arguments) >= 4
    for argument in arguments:
        assert re.search(rf"^\| .*`{argument}`", DOCUMENT, re.MULTILINE), argument
