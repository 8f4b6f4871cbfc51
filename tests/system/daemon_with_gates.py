"""`daqd`, but a call to the board or to the disk does not come back while a file of that name is in the folder.

python -m tests.system.daemon_with_gates FOLDER run -c CONFIG …
"""

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from daqd import cli
from daqd.boards.gecco import GeccoBoard
from daqd.runs.run_files import RunFiles

_POLL_S = 0.02


def _behind(gate: Path, call: Callable[..., Any]) -> Callable[..., Any]:
    def wait_and_call(*args: Any, **options: Any) -> Any:
        while gate.exists():
            time.sleep(_POLL_S)
        return call(*args, **options)

    return wait_and_call


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    GeccoBoard.read_readout = _behind(folder / "board", GeccoBoard.read_readout)
    RunFiles.append = _behind(folder / "disk", RunFiles.append)
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    sys.exit(cli.main(sys.argv[2:]))
