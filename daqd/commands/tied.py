"""Runs a module as `python -m` does, and ends it when whoever started it is gone, however that came about.

    python -m daqd.commands.tied DESCRIPTOR MODULE ARGUMENT...

`DESCRIPTOR`: the reading end of a pipe whose other end nobody but the one that starts this has. The operating system
closes it for him, also where he is killed by SIGKILL.
"""

import os
import runpy
import signal
import sys
import threading
import time

from daqd.exit_codes import FAILED

_END_WITHIN_S = 20.0


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
    descriptor, module, *arguments = sys.argv[1:]
    tie_to(int(descriptor))
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
