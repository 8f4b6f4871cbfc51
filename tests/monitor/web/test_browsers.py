"""Browsers that stall, go, and come; other chips; alarms."""

import os
import time

import pytest

from monitor.alarm_receiver import AlarmReceiver
from monitor.client import StreamClient
from protocol.astropix3_hit import ASTROPIX3_LAYER_HIT_DTYPE
from protocol.wire.alarms import Alarm, AlarmLevel, Alarms
from protocol.wire.messages import Topic, encode_body
from tests.deadline import DEADLINE_S
from tests.monitor.publishing import TestPublisher, make_apart, make_hits
from tests.monitor.web.reading import parts
from tests.monitor.web.serving import run, serving

pytestmark = pytest.mark.slow

BALLAST_BYTES = 3_000_000
COMMON = {"update@", "facts@", "chips@run", "chips@minute", "map@run", "tot@run", "hit_rate@12h", "selection@"}


def test_who_stalls_gets_the_latest_and_nobody_notices(publisher: TestPublisher) -> None:
    ballast = {"ballast": lambda: {"bytes": os.urandom(BALLAST_BYTES // 2).hex()}}

    async def script() -> None:
        async with serving(publisher, words=ballast) as served:
            stalled = await served.narrow_browser(1 << 16)
            await stalled.read()
            good = await served.browser()
            # The client reads one update ahead; what the system takes besides, at the server's end, is less than these.
            for number in range(12):
                publisher.send(publisher.messages.hits(make_hits([(number, 0)]), (number, number)))
                await good.until(lambda number=number: good.hits() == number + 1)
            (handler,) = (each for each in served.hub._browsers if each._whole)
            assert handler.ws_connection is not None
            assert 0 < len(handler.ws_connection.stream._write_buffer) < 1.5 * BALLAST_BYTES
            latest = good.latest["update@"].about["number"]
            before = stalled.latest["update@"].about["number"]
            await stalled.until(lambda: stalled.latest["update@"].about["number"] >= latest)
            assert len(stalled.messages) < stalled.latest["update@"].about["number"] - before
            assert stalled.hits() == 12
            wholes = [message for message in stalled.messages[1:] if parts(message).keys() >= COMMON]
            assert wholes

    run(script)


def test_who_goes_is_forgotten(publisher: TestPublisher) -> None:
    async def script() -> None:
        async with serving(publisher) as served:
            leaving = [await served.browser() for _ in range(5)]
            staying = await served.browser()
            for browser in leaving:
                await browser.read()
            assert served.hub.browsers == 6
            for browser in leaving:
                browser.connection.close()
            await staying.until(lambda: served.hub.browsers == 1)

    run(script)


def test_layers_of_another_chip(publisher: TestPublisher) -> None:
    """AstroPix 3 in layers: more pixels, more chips, other bins; after a run of AstroPix 4."""

    async def script() -> None:
        async with serving(publisher) as served:
            browser = await served.browser()
            publisher.send(publisher.messages.hits(make_hits([(0, 0)], row=12, column=15), (0, 0)))
            await browser.until(lambda: browser.hits() == 1)
            await browser.connection.write_message('{"layer": 2, "chip": 1, "row": 34, "column": 33}')
            rows = [(0, 0, 0, 34, 7, 500), (0, 1, 1, 33, 7, 500)]
            hits = make_apart(rows, ASTROPIX3_LAYER_HIT_DTYPE, layer=2, chip_id=1)
            publisher.send(publisher.messages.hits(hits, (0, 0), run=2))
            await browser.until(lambda: browser.latest["detector@"].about["rows"] == 35)
            await browser.until(lambda: browser.latest["selection@"].about["pixel"] == [34, 33])
            assert browser.latest["chips@run"].columns["hits"].shape[1:] == (35, 35)
            assert browser.latest["map@run"].columns["hits"][0, 34, 33] == 1
            assert browser.latest["selection@"].about["chip_name"] == "layer 2 chip 1"

    run(script)


def test_alarms_come_and_go(publisher: TestPublisher) -> None:
    now = time.time_ns()
    alarm = Alarm(
        id="noisy_pixel:0", check="noisy_pixel", level=AlarmLevel.CRITICAL, worst=AlarmLevel.CRITICAL,
        text="<b>pixel</b> 5, 7 is noisy", since_ns=now, last_ns=now,
    )  # fmt: skip
    with AlarmReceiver(StreamClient(publisher.endpoint, [Topic.ALARM])) as receiver:
        assert receiver.present is None
        assert receiver.words() == {
            "trouble": f"no sanity checker is connected ({publisher.endpoint})",
            "alarms": [],
        }
        publisher.wait_for_subscription("alarm")
        publisher.send(publisher.messages._frames(Topic.ALARM, None, encode_body(Alarms(alarms=(alarm,)))))

        deadline = time.monotonic() + DEADLINE_S
        while not receiver.present:
            assert time.monotonic() < deadline, "no alarms have come"
            time.sleep(0.01)
        words = receiver.words()
        assert words["trouble"] == ""
        assert words["alarms"][0]["text"] == "<b>pixel</b> 5, 7 is noisy"
        assert words["alarms"][0]["level"] == "critical"
