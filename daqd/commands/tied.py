"""Programs that end when whoever started them is gone, however that came about.

`start_tied` starts one. It runs a module as `python -m` does:

    python -m daqd.commands.tied DESCRIPTOR MODULE ARGUMENT...

`DESCRIPTOR`: the reading end of a pipe whose other end nobody but the one that starts this has. The operating system
closes it for him, also where he is killed by SIGKILL.
"""

import os
import runpy
import signal
import subprocess
import sys
import threading
import time
from typing import IO

from daqd.exit_codes import FAILED

_END_WITHIN_S = 20.0


def start_tied(descriptor: int, module: str, *arguments: str, log: IO[str] | None = None) -> subprocess.Popen[bytes]:
    """Start `module`, tied to `descriptor`. With a `log` it has nothing to do with the terminal, nor with its Ctrl-C.

    Without one, a Ctrl-C reaches it, too, but not while it is still being imported. To be called from the main thread,
    which gets what comes meanwhile afterwards.
    """
    quiet = log is not None
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        return subprocess.Popen(
            [sys.executable, "-m", "daqd.commands.tied", str(descriptor), module, *arguments],
            pass_fds=[descriptor],
            stdin=subprocess.DEVNULL if quiet else None,
            stdout=log,
            stderr=subprocess.STDOUT if quiet else None,
            start_new_session=quiet,
        )
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def tie_to(descriptor: int) -> None:
    """From now on, the end of that pipe is a SIGTERM; and the end of this process, where it takes too long over it."""

    def end() -> None:
        os.read(descriptor, 1)
        # To the main thread: what it waits for is interrupted, and the handler runs at once.
        signal.pthread_kill(main_thread, signal.SIGTERM)
        time.sleep(_END_WITHIN_S)
        os._exit(FAILED)

    main_thread = threading.get_ident()
    # A daemon thread: nothing can end a read of a pipe but its other end, and it holds nothing that matters.
    threading.Thread(target=end, name="tied", daemon=True).start()


def main() -> None:
    """Take the arguments apart, run the module."""
    if signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, []):
        # As `start_tied` left it. What has come until here, and until the module takes it, is not for this process.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
    descriptor, module, *arguments = sys.argv[1:]
    tie_to(int(descriptor))
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
