"""The keys that clients show (docs/wire.md, "Keys"), from files, or from the arguments of a program."""

import argparse
from pathlib import Path
from typing import Any

from astropix_runtime.errors import KeyFileError
from astropix_runtime.sockets.endpoints import is_tcp
from astropix_runtime.sockets.key_files import ClientKeys, KeyPair, PublicKey, checked_pair, read_client_keys
from monitor.errors import EndpointError, KeysError


def client_keys(
    server_key: Path | str | PublicKey | None, key: Path | str | KeyPair | None, endpoint: str = ""
) -> ClientKeys | None:
    """The keys of a client, from their files or as they are; None where none are given.

    `KeysError` where they cannot be used, `EndpointError` where they are for an `endpoint` that takes none.
    """
    if server_key is None and key is None:
        return None
    if server_key is None or key is None:
        raise KeysError("the server's key and the client's own go together: give --server-key and --key")
    try:
        keys = read_client_keys(server_key, key)
        checked_pair(keys.own)
    except KeyFileError as error:
        raise KeysError(str(error)) from None
    if endpoint and not is_tcp(endpoint):
        raise EndpointError(f"{endpoint} takes no keys: they are for tcp://host:port")
    return keys


def add_key_arguments(
    parser: argparse._ActionsContainer, whose: str = "public key of the daemon (NAME.key), where it takes only keys"
) -> None:
    """`--server-key` and `--key`, the same for every program that connects."""
    parser.add_argument("--server-key", type=Path, metavar="FILE", help=whose)
    parser.add_argument("--key", type=Path, metavar="FILE", help="secret key of yours (NAME.key_secret)")


def add_alarm_key_argument(parser: argparse._ActionsContainer) -> None:
    """`--alarms-server-key`: who shows alarms has one key of his own for both servers."""
    parser.add_argument(
        "--alarms-server-key",
        type=Path,
        metavar="FILE",
        help="public key of the sanity checker, where it takes only keys; goes with --key",
    )


def daemon_keys(arguments: argparse.Namespace) -> dict[str, Any]:
    """`server_key` and `key` for the daemon; a `--key` that is there for the checker alone is not shown to it."""
    checker_only = arguments.server_key is None and arguments.alarms_server_key is not None
    return {"server_key": arguments.server_key, "key": None if checker_only else arguments.key}
