"""Counting who gets hits: requests repeated, connections closed without a name, descriptors given again."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from daqd.publishing.subscriptions import Subscriptions

PREFIXES = (b"", b"h", b"hits")


def counting(*said: tuple[bytes, int | None]) -> int:
    subscriptions = Subscriptions(b"hits")
    for message, connection in said:
        subscriptions.note(message, connection)
    return subscriptions.number


def test_what_is_none_of_ours() -> None:
    assert counting((b"", 1), (b"\2hits", 1), (b"hits", 1), (b"\1hitsss", 1), (b"\1log", 1), (b"\0hits", 1)) == 0


def test_transports_without_descriptors() -> None:
    assert counting((b"\1hits", None), (b"\1hits", None)) == 2
    assert counting((b"\1hits", None), (b"\1hits", None), (b"\0hits", None)) == 1
    assert counting((b"\1hits", None), (b"\0hits", None), (b"\0hits", None), (b"\1hits", None)) == 1


@given(st.lists(st.tuples(st.sampled_from(["open", "close"]), st.integers(0, 5), st.sampled_from(PREFIXES))))
def test_connections_come_and_go_with_the_lowest_free_descriptor(steps: list[tuple[str, int, bytes]]) -> None:
    subscriptions = Subscriptions(b"hits")
    is_open: dict[int, bytes] = {}
    for step, chosen, prefix in steps:
        if step == "open":
            descriptor = next(number for number in range(100) if number not in is_open)
            is_open[descriptor] = prefix
            subscriptions.note(b"\1" + prefix, descriptor)
        elif chosen in is_open:
            subscriptions.note(b"\0" + is_open.pop(chosen), None)
        assert subscriptions.number == len(is_open)


@given(
    st.lists(
        st.tuples(st.sampled_from(["ask", "stop"]), st.integers(0, 3), st.sampled_from(PREFIXES)),
    )
)
def test_each_prefix_of_a_connection_counts_once_however_often_it_is_asked_for(
    steps: list[tuple[str, int, bytes]],
) -> None:
    subscriptions = Subscriptions(b"hits")
    asked: Counter[tuple[int, bytes]] = Counter()
    for verb, connection, prefix in steps:
        if verb == "ask":
            asked[connection, prefix] = 1
            subscriptions.note(b"\1" + prefix, connection)
        elif asked.pop((connection, prefix), 0):  # ZeroMQ does not tell of an end without a beginning
            subscriptions.note(b"\0" + prefix, connection)
        assert subscriptions.number == len(asked)
    for _, prefix in list(asked):
        subscriptions.note(b"\0" + prefix, None)
    assert subscriptions.number == 0
