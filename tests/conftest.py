"""What every test may use: the real recordings, where they are at hand."""

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings

# No example fails for being slow: the machine may be, and nothing is measured here.
settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")

REPOSITORY = Path(__file__).resolve().parent.parent

# Tests have sockets in their folders, whose paths may be 107 bytes long; pytest needs 80 of them below this one.
if len(tempfile.gettempdir()) > 25 and Path("/tmp").is_dir():
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", "/tmp")


@pytest.fixture(scope="session")
def recordings() -> Path:
    """The folder of real AstroPix 4 recordings; the test is skipped where they are absent."""
    root = Path(os.environ.get("ASTROPIX_DATA", REPOSITORY.parent / "shared" / "data"))
    folder = root / "astropix4"
    if not folder.is_dir():
        pytest.skip(f"no recordings at {folder}: set ASTROPIX_DATA to the folder that holds astropix4/")
    return folder
