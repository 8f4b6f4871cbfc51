"""Keys for one test: a server, a client that it allows, a stranger; every one made anew."""

import shutil
from pathlib import Path

from astropix_runtime.sockets.key_files import (
    ClientKeys,
    ServerKeys,
    format_key_pair,
    format_public_key,
    new_key_pair,
    read_client_keys,
)
from daqd.server_keys import load_server_keys


class KeyRing:
    """Key files below `folder`: `daq`, `alice` (whom the server allows) and `mallory` (whom it does not)."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.client_keys = folder / "clients"
        self.client_keys.mkdir(parents=True)
        self.client_keys.chmod(0o755)
        for name in ("daq", "alice", "mallory"):
            self.make(name)
        self.allow("alice")

    def make(self, name: str) -> None:
        """A new pair."""
        keys = new_key_pair()
        self.public(name).write_text(format_public_key(keys, name))
        self.public(name).chmod(0o644)
        self.secret(name).touch(mode=0o600)
        self.secret(name).write_text(format_key_pair(keys, name))

    def allow(self, name: str) -> None:
        """Let the server know that client."""
        shutil.copy(self.public(name), self.client_keys)

    def public(self, name: str) -> Path:
        """The file to give away."""
        return self.folder / f"{name}.key"

    def secret(self, name: str) -> Path:
        """The file to keep."""
        return self.folder / f"{name}.key_secret"

    @property
    def server(self) -> ServerKeys:
        """What the server has."""
        return load_server_keys(self.secret("daq"), self.client_keys)

    def client(self, name: str = "alice", server: str = "daq") -> ClientKeys:
        """What a client has."""
        return read_client_keys(self.public(server), self.secret(name))

    @property
    def section(self) -> dict[str, str]:
        """`[security]` of a configuration."""
        return {"server_key": str(self.secret("daq")), "client_keys": str(self.client_keys)}
