"""The screen, without a terminal, on a real stream."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from textual.pilot import Pilot

from daqd.publishing.stream import Stream
from monitor.alarm_receiver import AlarmReceiver
from monitor.client import StreamClient
from monitor.control import AlarmActions
from monitor.detector import Geometry
from monitor.receiver import Receiver
from monitor.state.monitor_state import SILENT_S
from monitor.terminal.app import WatchApp
from monitor.terminal.graphs import Spectrum
from monitor.terminal.hit_map import HitMap
from protocol.astropix3_hit import ASTROPIX3_LAYER_HIT_DTYPE
from protocol.ledger import Ledger
from protocol.wire.alarms import Alarm, Alarms
from protocol.wire.messages import Header, Message, Topic, encode_body, encode_message
from tests.deadline import DEADLINE_S
from tests.key_ring import KeyRing
from tests.monitor.conftest import Bind
from tests.monitor.made_alarms import made_alarm
from tests.monitor.made_checker import made_checker
from tests.monitor.publishing import T0_NS, TestPublisher, make_apart, make_hits, run_record

pytestmark = pytest.mark.slow


def alarm_frames(*alarms: Alarm, seq: int = 0) -> list[bytes]:
    header = Header(daq="checker", pub=1, seq=seq, t=T0_NS)
    return encode_message(Message(topic=Topic.ALARM, header=header, payload=encode_body(Alarms(alarms=alarms))))


@contextmanager
def watching(publisher: TestPublisher) -> Iterator[WatchApp]:
    with Receiver(StreamClient(publisher.endpoint), Geometry()) as receiver:
        publisher.wait_for_subscription()
        yield WatchApp(receiver)


def play(app: WatchApp, script: Callable[[Pilot[None]], Awaitable[None]], size: tuple[int, int] = (80, 24)) -> None:
    async def run() -> None:
        async with app.run_test(size=size) as pilot:
            await script(pilot)

    asyncio.run(run())


def lines(app: WatchApp) -> list[str]:
    """The screen as text."""
    width, height = app.size
    return [
        "".join(segment.text for segment in strip).ljust(width)
        for strip in app.screen._compositor.render_strips()[:height]
    ]


async def until(pilot: Pilot[None], app: WatchApp, *texts: str) -> list[str]:
    """Wait until all of `texts` are on the screen."""
    async with asyncio.timeout(DEADLINE_S):
        while True:
            await pilot.pause(0.02)
            app.draw()
            await pilot.pause()
            screen = lines(app)
            if all(any(text in line for line in screen) for text in texts):
                return screen


def test_a_server_that_refuses_us(tmp_path: Path) -> None:
    ring = KeyRing(tmp_path / "keys")
    with Stream("tcp://127.0.0.1:*", "bench", 10, keys=ring.server, say=lambda text: None) as stream:
        client = StreamClient(stream.endpoint, server_key=ring.public("daq"), key=ring.secret("mallory"))
        with Receiver(client, Geometry()) as receiver:
            app = WatchApp(receiver)

            async def script(pilot: Pilot[None]) -> None:
                await until(pilot, app, "REFUSED", "does not know this key")

            play(app, script, size=(200, 24))


def send_run(publisher: TestPublisher, chips: int = 4) -> None:
    messages = publisher.messages
    hits = make_hits(
        [(readout, order) for readout in range(10) for order in range(3)],
        chip_id=[0, 0, 2] * 10,
        row=5,
        column=[7, 7, 15] * 10,
        tot_us=200.0,
    )
    ledger = Ledger(hit=240, idle=60, bytes_read=300, hits=30)
    publisher.send(
        messages.run("begin", run_record(1, comment="cosmics")),
        messages.hits(hits, (0, 9)),
        messages.stat(chips=chips, ledger=ledger, file="/data/run_000001_0000.apx.part", elapsed_s=61),
        messages.log("warning", "disk getting full\x1b[2J"),
    )


def test_a_terminal_that_gets_smaller_still_shows_all(publisher: TestPublisher) -> None:
    with watching(publisher) as app:

        async def script(pilot: Pilot[None]) -> None:
            send_run(publisher)
            await until(pilot, app, "RUNNING", "ToT", "hits per second")
            await pilot.resize_terminal(80, 24)
            await until(pilot, app, "ToT", "hits per second", "chip 0 of 4 · 20 hits")
            await pilot.resize_terminal(80, 17)
            await until(pilot, app, "─ chip 0 · 20 ─")

        play(app, script, size=(180, 50))


def test_everything_is_on_a_screen_of_80_by_24(publisher: TestPublisher) -> None:
    with watching(publisher) as app:

        async def script(pilot: Pilot[None]) -> None:
            await until(pilot, app, "waiting", publisher.endpoint)
            send_run(publisher)
            screen = await until(pilot, app, "RUNNING", "run 1", "disk getting full")
            assert "0:01:01" in screen[0]
            assert "run_000001_0000.apx.part" in screen[0]
            assert "gaps 0" in screen[2]
            assert "hit 80.0 %" in screen[3]
            assert "chip 0 of 4 · 20 hits" in screen[5]
            assert "\x1b" not in "".join(screen)
            assert any("median 20" in line for line in screen)
            assert "quit" in screen[23]
            assert app.query_one(HitMap).size.width == 3 + 16 * 2
            assert app.query_one(Spectrum).size.width >= 38

        play(app, script)


@pytest.mark.parametrize("size", [(40, 12), (80, 24), (200, 60), (300, 20)])
def test_any_size_is_drawn(publisher: TestPublisher, size: tuple[int, int]) -> None:
    with watching(publisher) as app:

        async def script(pilot: Pilot[None]) -> None:
            send_run(publisher)
            await until(pilot, app, "RUNNING")

        play(app, script, size)


def test_the_keys(publisher: TestPublisher) -> None:
    with watching(publisher) as app:

        async def script(pilot: Pilot[None]) -> None:
            send_run(publisher, chips=3)
            await until(pilot, app, "chip 0 of 3 · 20 hits")
            await pilot.press("c")
            await until(pilot, app, "chip 1 of 3 · 0 hits")
            await pilot.press("c")
            await until(pilot, app, "chip 2 of 3 · 10 hits")
            await pilot.press("c")
            await until(pilot, app, "chip 0 of 3")
            await pilot.press("C")
            await until(pilot, app, "chip 2 of 3")
            await pilot.press("l")
            await until(pilot, app, "ToT · chip 2 · log", "10 log")
            await pilot.press("m")
            await until(pilot, app, "chip 2 of 3 · 10 hits · 1 min")
            await pilot.press("t")
            await until(pilot, app, "hits per second · 1 h")
            await pilot.press("t")
            await until(pilot, app, "hits per second · 12 h")
            await pilot.press("t")
            await until(pilot, app, "hits per second · 10 min")
            await pilot.press("r")
            await until(pilot, app, "chip 2 of 3 · 0 hits · 1 min", "no hits")
            await pilot.press("m")
            screen = await until(pilot, app, "chip 2 of 3 · 0 hits", "no hits")
            assert not any("1 min" in line for line in screen)
            await pilot.press("f")
            await until(pilot, app, "FROZEN")
            publisher.send(publisher.messages.log("info", "seen later"))
            await pilot.press("f")
            screen = await until(pilot, app, "seen later")
            assert "FROZEN" not in screen[0]

        play(app, script)


@pytest.mark.parametrize(("height", "graphs"), [(24, 1), (40, 2)])
def test_rates_against_time(publisher: TestPublisher, height: int, graphs: int) -> None:
    """Ten seconds that were missed are dotted; readouts have a graph of their own where there is room."""
    with watching(publisher) as app:

        async def script(pilot: Pilot[None]) -> None:
            messages = publisher.messages
            for first in (0, 20):
                rows = [(first + number, order) for number in range(10) for order in range(20)]
                times = [T0_NS + readout * 10**9 for readout, _ in rows]
                publisher.send(messages.hits(make_hits(rows, timestamp=times), (first, first + 9)))
            screen = await until(pilot, app, "22:13:20", "22:13:50 UTC", "mean 20 Hz")
            assert sum("per second · 10 min" in line for line in screen) == graphs
            assert sum(" 0┤████" in line for line in screen) == graphs
            assert sum("·····" in line for line in screen) == graphs

        play(app, script, (120, height))


@pytest.mark.parametrize("key", ["q", "ctrl+c"])
def test_quitting_is_exit_code_0(publisher: TestPublisher, key: str) -> None:
    with watching(publisher) as app:

        async def script(pilot: Pilot[None]) -> None:
            await pilot.press(key)

        play(app, script)
        assert app.return_code == 0


def test_ending_by_a_signal_handler(publisher: TestPublisher) -> None:
    with watching(publisher) as app:

        async def script(pilot: Pilot[None]) -> None:
            app.end()
            await pilot.pause()

        play(app, script)
        assert app.return_code == 0


def test_losses_and_a_stream_gone_quiet_cannot_be_overlooked(publisher: TestPublisher) -> None:
    with watching(publisher) as app:

        async def script(pilot: Pilot[None]) -> None:
            send_run(publisher)
            publisher.messages.seq["hits"] += 2
            publisher.send(publisher.messages.hits(make_hits([(15, 0)], row=20), (15, 15)))
            await until(pilot, app, "gaps 2  missed readouts 5", "impossible 1")
            screen = await until(pilot, app, "NO DATA for 0:")
            shown = re.search(r"NO DATA for 0:(\d\d):(\d\d)", "\n".join(screen))
            assert shown is not None
            assert 60 * int(shown[1]) + int(shown[2]) >= SILENT_S

        play(app, script)


def test_rows_and_columns_in_layers(publisher: TestPublisher) -> None:
    """Another shape of the map, and chips by their layer."""
    with watching(publisher) as app:

        async def script(pilot: Pilot[None]) -> None:
            send_run(publisher)
            await until(pilot, app, "chip 0 of 4 · 20 hits")
            rows = [(0, 0, 0, 34, 10, 1010), (0, 1, 1, 33, 10, 1000), (0, 2, 0, 5, 90, 500)]
            hits = make_apart(rows, ASTROPIX3_LAYER_HIT_DTYPE, layer=2)
            messages = publisher.messages
            publisher.send(messages.run("begin", run_record(2, layers=2)), messages.hits(hits, (0, 0), run=2))
            await until(pilot, app, "layer 1 chip 0 of 8 · 0 hits", "unpaired 1")
            for _ in range(4):
                await pilot.press("c")
            await until(pilot, app, "layer 2 chip 0 of 8 · 1 hit ", "median 5.03 µs")
            assert app.query_one(HitMap).size.width == 3 + 35

        play(app, script, (100, 50))


def test_alarms_have_a_line_and_the_worst_of_them_one_each(publisher: TestPublisher, bind: Bind) -> None:
    checker = bind()
    made = made_alarm(id="hot:a", text="30 Hz\x1b[2J", value=30.0, limit=4.0, advice="mask it")
    others = [made_alarm(id=f"hot:{number}", acknowledged=True) for number in range(20)]

    async def script(pilot: Pilot[None]) -> None:
        await until(pilot, app, f"alarms  no sanity checker is connected ({checker.endpoint})")
        checker.send(alarm_frames())
        await until(pilot, app, "alarms  none")
        checker.send(alarm_frames(made, *others, seq=1))
        screen = await until(pilot, app, "alarms   1 warning ", " hot:a: 30 Hz [2J [30, limit 4] → mask it")
        assert sum("hot:" in line for line in screen) == 4, "an eighth of the screen, with the line above"
        checker.send(alarm_frames(*others, seq=2))
        await until(pilot, app, "alarms  20 acknowledged")

    with (
        Receiver(StreamClient(publisher.endpoint), Geometry()) as receiver,
        AlarmReceiver(StreamClient(checker.endpoint, [Topic.ALARM])) as alarms,
    ):
        checker.wait_for_subscription("alarm")
        app = WatchApp(receiver, alarms)
        play(app, script, (120, 40))


def test_alarms_are_acknowledged_and_silenced(publisher: TestPublisher, bind: Bind, tmp_path: Path) -> None:
    checker = bind()
    worse = made_alarm(id="data_age", level="critical", text="[b]no hits[/b]\x1b[2J for 12 s")

    async def script(pilot: Pilot[None]) -> None:
        await until(pilot, app, "no sanity checker")
        await pilot.press("a")
        await until_screen(pilot, app, "no sanity checker is connected")
        await pilot.press("a", "escape")
        checker.send(alarm_frames(worse, made_alarm()))
        await until(pilot, app, "1 critical, 1 warning", "a: look at them")
        await pilot.press("a")
        await until_screen(pilot, app, "data_age: [b]no hits[/b] [2J for 12 s", "hot:a: 30 Hz", "silence 1 h")
        await pilot.press("a")
        await until_screen(pilot, app, "no alarm is that: nothing was acknowledged")
        await pilot.press("down")
        # The list is told again, in another order: what was chosen stays chosen.
        checker.send(alarm_frames(made_alarm(), worse, made_alarm(id="new"), seq=1))
        await until_screen(pilot, app, "new: 30 Hz")
        for key, said in (("a", "is acknowledged"), ("s", "calls nobody for an hour"), ("u", "calls again")):
            await pilot.press(key)
            await until_screen(pilot, app, f"hot:a {said}")
        await pilot.press("escape")
        await until(pilot, app, "hits per second")
        assert made.asked[1:] == [
            ("ack", {"ids": ["hot:a"]}),
            ("silence", {"pattern": "hot:a", "for_s": 3600.0, "reason": "from a terminal"}),
            ("unsilence", {"pattern": "hot:a"}),
        ]

    with (
        made_checker(tmp_path) as made,
        Receiver(StreamClient(publisher.endpoint), Geometry()) as receiver,
        AlarmReceiver(StreamClient(checker.endpoint, [Topic.ALARM])) as alarms,
    ):
        checker.wait_for_subscription("alarm")
        app = WatchApp(receiver, alarms, AlarmActions(made.endpoint, "a terminal"))
        play(app, script, (120, 40))


async def until_screen(pilot: Pilot[None], app: WatchApp, *texts: str) -> None:
    """Wait until all of `texts` are on what stands in front."""
    async with asyncio.timeout(DEADLINE_S):
        while not all(any(text in line for line in lines(app)) for text in texts):
            await pilot.pause(0.05)
