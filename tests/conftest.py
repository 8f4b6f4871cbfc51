"""What every test may use: the real recordings, where they are at hand."""

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def recordings() -> Path:
    """The folder of real AstroPix 4 recordings; the test is skipped where they are absent."""
    root = Path(os.environ.get("ASTROPIX_DATA", REPOSITORY.parent / "shared" / "data"))
    folder = root / "astropix4"
    if not folder.is_dir():
        pytest.skip(f"no recordings at {folder}: set ASTROPIX_DATA to the folder that holds astropix4/")
    return folder
