"""The keys of the daemon's TCP sockets, out of its configuration."""

from pathlib import Path

from astropix_runtime.sockets.key_files import ServerKeys, read_server_keys
from daqd.errors import ConfigError


def load_server_keys(server_key: Path | str, client_keys: Path | str, where: str = "[security]") -> ServerKeys:
    """The keys in these places, all of them looked at; `ConfigError` with every mistake, beginning with `where`."""
    keys, mistakes = read_server_keys(server_key, client_keys)
    if keys is None:
        raise ConfigError(mistakes, where)
    return keys
