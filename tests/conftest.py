"""What every test may use: the real recordings, where they are at hand."""

import os
import signal
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings

# No example fails for being slow: the machine may be, and nothing is measured here. The same examples every time: what
# is green stays green. `make soak` looks for new ones, and for more.
settings.register_profile("any machine", deadline=None, derandomize=True)
settings.register_profile("soak", deadline=None, max_examples=int(os.environ.get("FUZZ_EXAMPLES", "100")))
settings.register_profile("quick", deadline=None, derandomize=True, max_examples=10)
settings.load_profile(
    "soak" if "FUZZ_EXAMPLES" in os.environ else "quick" if "QUICK_TESTS" in os.environ else "any machine"
)

REPOSITORY = Path(__file__).resolve().parent.parent

# Tests have sockets in their folders, whose paths may be 107 bytes long; pytest needs 80 of them below this one.
if len(tempfile.gettempdir()) > 25 and Path("/tmp").is_dir():
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", "/tmp")

# Who runs the tests in the background, or under nohup, has them ignored; the programs of the tests are to be told.
for number, usual in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, usual)

os.umask(os.umask(0o022) | 0o022)  # keys that others may change are refused: those of the tests are not to be such


@pytest.fixture(scope="session")
def recordings() -> Path:
    """The folder of real AstroPix 4 recordings; the test is skipped where they are absent."""
    root = Path(os.environ.get("ASTROPIX_DATA", REPOSITORY.parent / "shared" / "data"))
    folder = root / "astropix4"
    if not folder.is_dir():
        pytest.skip(f"no recordings at {folder}: set ASTROPIX_DATA to the folder that holds astropix4/")
    return folder
