"""Where `apx-sanity` may listen: at addresses that only this computer can reach, unless somebody means it otherwise."""

from astropix_runtime.sockets.endpoints import only_this_machine


def check_publish_address(endpoint: str, *, insecure: bool, keys: bool) -> None:
    """`ValueError` where `endpoint` cannot be bound, or others can read the alarms there and nobody meant it."""
    if not only_this_machine(endpoint) and not keys and not insecure:
        raise ValueError(
            f'"{endpoint}" lets every machine on the network read the alarms: make keys (daqctl keygen) and name them '
            "in [security], use tcp://127.0.0.1:PORT, or write insecure = true in [publish] if that is meant"
        )


def check_control_address(endpoint: str, *, keys: bool) -> None:
    """`ValueError` where `endpoint` cannot be bound, or others could command the checker."""
    if not only_this_machine(endpoint) and not keys:
        raise ValueError(
            f'"{endpoint}" lets other machines silence alarms: use ipc://PATH or tcp://127.0.0.1:PORT, or make keys '
            "(daqctl keygen) and name them in [security]"
        )
