"""Programs that end when the process that started them is gone, however that ended.

`start_dependent` starts one. It runs a module as `python -m` does:

    python -m daqd.commands.dependent DESCRIPTOR MODULE ARGUMENT...

`DESCRIPTOR`: the reading end of a pipe whose other end only the starting process has. The operating system closes that
end with the process, also if it is killed by SIGKILL.
"""

import os
import runpy
import signal
import subprocess
import sys
import threading
import time
from typing import IO

from astropix_runtime.command_line.program import FAILED

_END_WITHIN_S = 20.0


def start_dependent(
    descriptor: int, module: str, *arguments: str, log: IO[str] | None = None
) -> subprocess.Popen[bytes]:
    """Start `module`, which ends with `descriptor`. With a `log` it is detached from the terminal and its Ctrl-C.

    Without one, a Ctrl-C reaches it, but not while it is still being imported. Call this from the main thread, which
    gets afterwards the signals that come meanwhile.
    """
    quiet = log is not None
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        return subprocess.Popen(
            [sys.executable, "-m", "daqd.commands.dependent", str(descriptor), module, *arguments],
            pass_fds=[descriptor],
            stdin=subprocess.DEVNULL if quiet else None,
            stdout=log,
            stderr=subprocess.STDOUT if quiet else None,
            start_new_session=quiet,
        )
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def end_with(descriptor: int) -> None:
    """From now on, the end of that pipe is a SIGTERM, and the end of this process if it takes too long over it."""

    def end() -> None:
        os.read(descriptor, 1)
        # To the main thread: what it waits for is interrupted, and the handler runs at once.
        signal.pthread_kill(main_thread, signal.SIGTERM)
        time.sleep(_END_WITHIN_S)
        os._exit(FAILED)

    main_thread = threading.get_ident()
    # A daemon thread: nothing can end a read of a pipe but its other end, and it holds nothing that matters.
    threading.Thread(target=end, name="end with parent", daemon=True).start()


def main() -> None:
    """Parse the arguments and run the module."""
    if signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, []):
        # As `start_dependent` left it. A signal that comes before the module handles it is not for this process.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
    descriptor, module, *arguments = sys.argv[1:]
    end_with(int(descriptor))
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
