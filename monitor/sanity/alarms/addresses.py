"""Where `apx-sanity` may listen: at addresses that only this computer can reach, unless somebody means it otherwise."""

from protocol.wire.endpoints import only_this_machine


def check_publish_address(endpoint: str, *, insecure: bool) -> str:
    """`endpoint`; `ValueError` where it cannot be bound, or others can read the alarms there and nobody meant it."""
    if not only_this_machine(endpoint) and not insecure:
        raise ValueError(
            f'"{endpoint}" lets every machine on the network read the alarms: use tcp://127.0.0.1:PORT, '
            "or write insecure = true in [publish] if that is meant"
        )
    return endpoint


def check_control_address(endpoint: str) -> str:
    """`endpoint`; `ValueError` where it cannot be bound, or others could command the checker."""
    if not only_this_machine(endpoint):
        raise ValueError(f'"{endpoint}" lets other machines silence alarms: use ipc://PATH or tcp://127.0.0.1:PORT')
    return endpoint
