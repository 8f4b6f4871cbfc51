"""What the children of the daemon have in common at their start."""

import argparse
import signal
from pathlib import Path

from astropix_runtime.sockets.key_files import ServerKeys
from daqd.server_keys import load_server_keys


def leave_signals_to_the_daemon() -> None:
    """Terminals and service managers signal the whole group; a child ends with its input, after its work."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):  # Windows has no SIGHUP
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)


def add_key_options(parser: argparse.ArgumentParser) -> None:
    """`--server-key` and `--client-keys`."""
    parser.add_argument("--server-key", type=Path, help="file of the daemon's secret key")
    parser.add_argument("--client-keys", type=Path, help="directory of the keys that are let in")


def keys_of(server_key: Path | None, client_keys: Path | None) -> ServerKeys | None:
    """The keys that those options name; None without them. `ConfigError` as of `load_server_keys`."""
    if server_key is None or client_keys is None:
        return None
    return load_server_keys(server_key, client_keys)
