"""`daqctl keygen`: makes a pair of keys, for a daemon or for a client."""

import argparse
import contextlib
import json
import os
import platform
import re
import sys
from pathlib import Path

from astropix_runtime.sockets.key_files import (
    PUBLIC_SUFFIX,
    SECRET_SUFFIX,
    KeyPair,
    format_key_pair,
    format_public_key,
    new_key_pair,
)
from daqd.errors import DaqError
from protocol.text import reason_of

EXAMPLES = """examples:
  daqctl keygen daq-pc                      a pair for the daemon, named after its machine
  daqctl keygen alice --dir ~/keys          a pair for a client, in another directory
  daqctl keygen --json | jq -r .public_file
"""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@-]{0,63}")


class KeygenError(DaqError, OSError):
    """The files of the keys cannot be made."""


class KeyNameError(KeygenError, ValueError):
    """No files can be named so."""


def add_keygen_arguments(parser: argparse.ArgumentParser) -> None:
    """What `daqctl keygen` takes."""
    parser.add_argument(
        "name", nargs="?", default=_host(), metavar="NAME", help="whose keys: name of the files (default %(default)s)"
    )
    parser.add_argument(
        "--dir", type=Path, default=default_key_dir(), help="where to put them; made if needed (default %(default)s)"
    )


def default_key_dir() -> Path:
    """`astropix-daq` in `$XDG_CONFIG_HOME`, or in `~/.config`."""
    given = os.environ.get("XDG_CONFIG_HOME", "")
    return (Path(given) if given else Path("~/.config").expanduser()) / "astropix-daq"


def make_keys(directory: Path, name: str) -> tuple[Path, Path, KeyPair]:
    """A new pair in `directory`: its public file, its secret file, the keys. Nothing is overwritten.

    `KeyNameError` where no file can have that name, `KeygenError` where they cannot be made. Others
    cannot read the secret file, from the moment on that it is there.
    """
    if not _NAME.fullmatch(name):
        raise KeyNameError(f"{name!r} is no name for keys: letters, digits, _ . @ - are, at most 64")
    public_path, secret_path = directory / f"{name}{PUBLIC_SUFFIX}", directory / f"{name}{SECRET_SUFFIX}"
    keys = new_key_pair()
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        _create(secret_path, format_key_pair(keys, name), 0o600)
        try:
            _create(public_path, format_public_key(keys, name), 0o644)
        except BaseException:
            secret_path.unlink()
            raise
    except FileExistsError as error:
        raise KeygenError(f"{error.filename} is there already and is kept: take another NAME or --dir") from None
    except OSError as error:
        raise KeygenError(f"cannot make {error.filename or directory}: {reason_of(error)}") from None
    return public_path, secret_path, keys


def _create(path: Path, text: str, mode: int) -> None:
    """A file that was not there before, on disk when this returns."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0), mode)
    try:
        with open(descriptor, "w", encoding="utf-8", newline="\n") as file:  # noqa: PTH123 - a descriptor
            if hasattr(os, "fchmod"):
                os.fchmod(descriptor, mode)  # whatever the umask is
            file.write(text)
            file.flush()
            os.fsync(descriptor)
    except BaseException:
        with contextlib.suppress(OSError):
            path.unlink()
        raise


def keygen_main(args: argparse.Namespace) -> int:
    """`daqctl keygen`."""
    public_path, secret_path, keys = make_keys(args.dir.expanduser().absolute(), args.name)
    if args.json:
        made = {"ok": True, "public_file": str(public_path), "secret_file": str(secret_path), "public_key": keys.public}
        print(json.dumps(made, indent=2), flush=True)
        return 0
    sys.stdout.write(_advice(public_path, secret_path))
    sys.stdout.flush()
    return 0


def _advice(public: Path, secret: Path) -> str:
    return f"""\
secret key  {secret}
            stays on this machine, readable by you alone
public key  {public}
            to give away

As the keys of a daemon, in its configuration, with a directory for the public keys of its clients:

  [security]
  server_key = "{secret}"
  client_keys = "{public.parent / "clients"}"

As the keys of a client: put {public.name} into the directory client_keys of the daemon, get the daemon's
public key from there, and say both keys wherever you connect to it (SERVER: name of the daemon's key):

  apx-monitor watch --connect tcp://HOST:5556 --server-key SERVER.key --key {secret}
"""


def _host() -> str:
    """The name of this machine, as far as it can name a file."""
    name = re.sub(r"[^A-Za-z0-9_.-]", "-", platform.node().split(".")[0])[:64]
    return name if _NAME.fullmatch(name) else "astropix"
