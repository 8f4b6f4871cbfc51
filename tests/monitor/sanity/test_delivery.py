"""Alarms that are sent: to a real server and to real programs, which take them, refuse them, or do not answer."""

import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from monitor.sanity.alarms.delivery import Command, Delivery, DeliveryError, Webhook
from tests.deadline import DEADLINE_S

pytestmark = pytest.mark.slow


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.005)


# ---- the queue


class Taker:
    """Takes what it is given, or fails as told; one thing at a time, when `gate` is open."""

    def __init__(self, *failures: Exception) -> None:
        self.failures = list(failures)
        self.taken: list[int] = []
        self.tries = 0
        self.gate = threading.Event()
        self.gate.set()

    def __call__(self, body: bytes) -> None:
        self.tries += 1
        assert self.gate.wait(DEADLINE_S)
        if self.failures:
            raise self.failures.pop(0)
        self.taken.append(json.loads(body)["t"])


@contextmanager
def delivering(taker: Taker, *, queue: int = 100, attempts: int = 3) -> Iterator[Delivery]:
    delivery = Delivery("webhook", taker, queue=queue, attempts=attempts, first_pause_s=0.01)
    try:
        yield delivery
    finally:
        taker.gate.set()
        delivery.close(DEADLINE_S)


def test_all_is_delivered_in_order_also_what_waits_at_the_end() -> None:
    taker = Taker()
    taker.gate.clear()
    with delivering(taker) as delivery:
        for t in range(5):
            delivery.put({"t": t})
        threading.Timer(0.05, taker.gate.set).start()
        assert delivery.close(DEADLINE_S) == 0
    assert taker.taken == [0, 1, 2, 3, 4]
    assert (delivery.sent, delivery.dropped, delivery.failure) == (5, 0, "")


def test_what_fails_is_tried_again_and_then_told_no_more() -> None:
    taker = Taker(DeliveryError("not now"), DeliveryError("nor now"))
    with delivering(taker) as delivery:
        delivery.put({"t": 1})
        wait_for(lambda: delivery.sent)
        assert (taker.tries, taker.taken, delivery.failure) == (3, [1], "")


def test_after_the_last_attempt_it_is_given_up_and_the_next_one_is_tried() -> None:
    taker = Taker(*[DeliveryError("no")] * 3)
    with delivering(taker) as delivery:
        delivery.put({"t": 1})
        wait_for(lambda: delivery.dropped)
        assert delivery.failure == "webhook: no; given up after attempt 3"
        delivery.put({"t": 2})
        wait_for(lambda: delivery.sent)
        assert (taker.taken, delivery.failure) == ([2], "")


def test_what_will_never_be_taken_is_not_tried_again() -> None:
    taker = Taker(DeliveryError("never", final=True))
    with delivering(taker) as delivery:
        delivery.put({"t": 1})
        delivery.put({"t": 2})
        wait_for(lambda: delivery.sent)
        assert (taker.tries, taker.taken, delivery.dropped) == (2, [2], 1)


def test_a_fault_of_ours_does_not_end_it(caplog: pytest.LogCaptureFixture) -> None:
    taker = Taker(KeyError("x"))
    with delivering(taker) as delivery:
        delivery.put({"t": 1})
        delivery.put({"t": 2})
        wait_for(lambda: delivery.sent)
        assert taker.taken == [2]
    assert "webhook failed" in caplog.text


def test_nobody_waits_and_the_oldest_are_dropped() -> None:
    taker = Taker()
    taker.gate.clear()
    with delivering(taker, queue=3) as delivery:
        delivery.put({"t": 0})
        wait_for(lambda: taker.tries)
        for t in range(1, 11):
            delivery.put({"t": t})
        assert delivery.dropped == 7
        assert delivery.failure == "webhook: more than 3 alarms wait, the oldest are dropped"
        taker.gate.set()
        wait_for(lambda: delivery.sent == 4)
        assert taker.taken == [0, 8, 9, 10]


def test_at_the_end_it_does_not_wait_for_who_does_not_answer() -> None:
    taker = Taker()
    taker.gate.clear()
    with delivering(taker) as delivery:
        for t in range(3):
            delivery.put({"t": t})
        wait_for(lambda: taker.tries)
        assert delivery.close(0.01) == 3


# ---- web


class Server(ThreadingHTTPServer):
    """Answers each POST with the next of `answers`, then with 204."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: list[int] = []
        self.requests: list[tuple[str, dict[str, str], bytes]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/alarms?to=me"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.requests.append((self.path, dict(self.headers), body))
        code = self.server.answers.pop(0) if self.server.answers else 204
        self.send_response(code)
        if code in (301, 302, 307):
            self.send_header("Location", self.path)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_GET(self) -> None:
        self.server.requests.append(("GET", {}, b""))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_alarms_are_posted_as_json(server: Server) -> None:
    Webhook(server.url, {"Authorization": "Bearer x"}, 5.0)('{"t": 1, "text": "µs"}'.encode())
    ((path, headers, body),) = server.requests
    assert path == "/alarms?to=me"
    assert json.loads(body) == {"t": 1, "text": "µs"}
    assert headers["Content-Type"] == "application/json; charset=utf-8"
    assert headers["Authorization"] == "Bearer x"
    assert headers["User-Agent"].startswith("apx-sanity/")


@pytest.mark.parametrize(
    ("code", "final"), [(500, False), (503, False), (429, False), (400, True), (404, True), (302, True), (307, True)]
)
def test_only_2xx_means_taken(server: Server, code: int, final: bool) -> None:
    server.answers = [code]
    with pytest.raises(DeliveryError, match=f"the server answers {code} ") as caught:
        Webhook(server.url, {}, 5.0)(b"{}")
    assert caught.value.final is final
    assert [path for path, _, _ in server.requests] == ["/alarms?to=me"]


def test_it_goes_on_when_the_server_is_well_again(server: Server) -> None:
    server.answers = [503, 500]
    delivery = Delivery("webhook", Webhook(server.url, {}, 5.0), queue=10, attempts=5, first_pause_s=0.01)
    delivery.put({"t": 1})
    delivery.put({"t": 2})
    wait_for(lambda: delivery.sent == 2)
    assert delivery.close(DEADLINE_S) == 0
    assert [json.loads(body)["t"] for _, _, body in server.requests] == [1, 1, 1, 2]


def test_a_server_that_is_not_there() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with pytest.raises(DeliveryError, match="refused"):
            Webhook(f"http://127.0.0.1:{unused.getsockname()[1]}/", {}, 5.0)(b"{}")


def test_a_server_that_does_not_answer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute, pytest.raises(DeliveryError, match="timed out"):
        Webhook(f"http://127.0.0.1:{mute.getsockname()[1]}/", {}, 0.05)(b"{}")


@pytest.mark.parametrize("answer", [b"", b"SSH-2.0-x\r\n\r\n", b"HTTP/1.1 abc\r\n\r\n"])
def test_a_server_that_speaks_something_else(answer: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:

        def serve() -> None:
            connection, _ = other.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        with pytest.raises(DeliveryError):
            Webhook(f"http://127.0.0.1:{other.getsockname()[1]}/", {}, 5.0)(b"{}")
        thread.join()


# ---- programs


def test_a_program_gets_the_json_and_no_shell(tmp_path: Path) -> None:
    out = tmp_path / "$HOME out"
    Command(["sh", "-c", 'cat > "$0"', str(out)], 5.0)(b'{"t": 1}')
    assert out.read_bytes() == b'{"t": 1}'


def test_a_program_that_does_not_read_is_no_failure() -> None:
    Command(["true"], 5.0)(b"x" * 1_000_000)


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["sh", "-c", "echo no mail >&2; exit 3"], "sh ended with 3: no mail"),
        (["/nowhere/at/all"], "/nowhere/at/all cannot be started: No such file or directory"),
        (["sh", "-c", "kill -9 $$"], "sh ended with -9"),
    ],
)
def test_a_program_that_fails(argv: list[str], said: str) -> None:
    with pytest.raises(DeliveryError) as caught:
        Command(argv, 5.0)(b"{}")
    assert str(caught.value) == said
    assert not caught.value.final


def _alive(pid_file: Path) -> bool:
    try:
        os.kill(int(pid_file.read_text()), 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{int(pid_file.read_text())}/stat")
    return not stat.exists() or stat.read_text().rsplit(")", 1)[1].split()[0] != "Z"


HANGING = 'sleep 600 & echo $! > "$0".new; mv "$0".new "$0"; wait'


def test_a_program_that_does_not_end_is_killed_and_its_children(tmp_path: Path) -> None:
    child = tmp_path / "child"
    patience_s = 0.25
    while not child.exists():  # killed before it had begun, on a very busy machine
        patience_s *= 2
        with pytest.raises(DeliveryError, match=rf"sh did not end within {patience_s:g} s, and was killed"):
            Command(["sh", "-c", HANGING, str(child)], patience_s)(b"{}")
    wait_for(lambda: not _alive(child))


def test_at_the_end_the_program_that_runs_is_killed(tmp_path: Path) -> None:
    child = tmp_path / "child"
    command = Command(["sh", "-c", HANGING, str(child)], 300.0)
    delivery = Delivery("command", command, queue=10, attempts=3, end=command.end)
    delivery.put({"t": 1})
    wait_for(child.exists)
    delivery.put({"t": 2})
    assert delivery.close(0.01) == 2
    wait_for(lambda: not _alive(child))
    with pytest.raises(DeliveryError, match="the program ends"):
        command(b"{}")
