"""The server on a real stream: what browsers and programs get, and what they do not."""

import asyncio
import json
import re
from pathlib import Path

import pytest

from monitor.control import AlarmActions, Controller
from monitor.web.access import COOKIE, Access
from monitor.web.operator import Operator
from protocol.ledger import Ledger
from tests.monitor.made_checker import made_checker
from tests.monitor.publishing import TestPublisher, make_hits, run_record
from tests.monitor.web.serving import Served, run, serving

pytestmark = pytest.mark.slow

TOKEN = "a-token-that-is-long-enough"  # noqa: S105 - opens nothing


def send_run(publisher: TestPublisher, hits: int = 100, run: int = 1, comment: str = "") -> None:
    messages = publisher.messages
    chips = [i % 3 for i in range(hits)]
    table = make_hits([(i, 0) for i in range(hits)], chip_id=chips, row=5, column=7, tot_us=100.0)
    publisher.send(
        messages.run("begin", run_record(run, comment=comment)),
        messages.stat(run=run, chips=3, ledger=Ledger(), file="/data/run_1.apx.part"),
        messages.hits(table, (0, hits - 1), run=run),
    )


def test_complete_at_once_then_only_what_is_new(publisher: TestPublisher) -> None:
    async def script() -> None:
        async with serving(publisher) as served:
            send_run(publisher)
            first = await served.browser()
            await first.until(lambda: first.hits() == 100)
            second = await served.browser()
            whole = await second.read()
            assert whole["chips@run"].columns["hits"].sum() == 100
            assert whole["chips@run"].columns["hits"].shape == (3, 13, 16)
            assert whole["map@run"].columns["hits"][0, 5, 7] == 34
            assert whole["tot@run"].columns["hits"].sum() == 100
            assert whole["hits_per_readout@run"].columns["readouts"].tolist()[:2] == [0, 100]
            assert {"hit_rate@10min", "hit_rate@1h", "hit_rate@12h", "tot@minute", "facts@"} <= whole.keys()
            publisher.send(publisher.messages.log("warning", "<script>alert(1)</script>"))
            changed = await second.read()
            while "facts@" not in changed:
                changed = await second.read()
            assert "chips@run" not in changed
            assert changed["facts@"].about["log"][0]["text"] == "<script>alert(1)</script>"

    run(script)


def test_all_browsers_get_the_same_bytes(publisher: TestPublisher) -> None:
    async def script() -> None:
        async with serving(publisher) as served:
            browsers = [await served.browser() for _ in range(3)]
            send_run(publisher)
            for browser in browsers:
                await browser.until(lambda browser=browser: browser.hits() == 100)
            number = [browser.latest["update@"].about["number"] for browser in browsers]
            by_number = [
                {p: m for m in browser.messages for p in re.findall(rb'"number":(\d+)', m)} for browser in browsers
            ]
            assert by_number[0][str(number[0]).encode()] == by_number[1][str(number[0]).encode()]

    run(script)


def test_a_pixel_is_for_who_selected_it(publisher: TestPublisher) -> None:
    async def script() -> None:
        async with serving(publisher) as served:
            send_run(publisher)
            one, other = await served.browser(), await served.browser()
            await one.until(lambda: one.hits() == 100)
            await other.until(lambda: other.hits() == 100)
            await one.connection.write_message(json.dumps({"layer": None, "chip": 1, "row": 5, "column": 7}))
            await one.until(lambda: one.latest["selection@"].about["pixel"] == [5, 7])
            spectrum = one.latest["tot_pixel@run"].columns
            assert spectrum["hits"].sum() == 33
            at = int(spectrum["hits"].argmax())
            assert spectrum["left"][at] <= 100 < spectrum["right"][at]
            assert one.latest["map@run"].columns["hits"][0, 5, 7] == 33
            await other.read()
            assert other.latest["selection@"].about["pixel"] is None
            await one.connection.write_message(json.dumps({"chip": 31, "row": 200, "column": 200}))
            await one.until(lambda: one.latest["selection@"].about["pixel"] is None)
            assert one.latest["selection@"].about["chip"] == 0

    run(script)


@pytest.mark.parametrize(
    "nonsense", ["", "nonsense", "[]", '{"chip": -1}', '{"chip": "x"}', '{"row": 1e9}', '{"x": 1}']
)
def test_nonsense_from_a_browser_ends_its_connection_only(publisher: TestPublisher, nonsense: str) -> None:
    async def script() -> None:
        async with serving(publisher) as served:
            bad, good = await served.browser(), await served.browser()
            await bad.connection.write_message(nonsense)
            while await bad.connection.read_message() is not None:
                pass
            assert bad.connection.close_code == 1008
            send_run(publisher)
            await good.until(lambda: good.hits() == 100)

    run(script)


def test_another_run_begins_anew(publisher: TestPublisher) -> None:
    async def script() -> None:
        async with serving(publisher) as served:
            send_run(publisher)
            browser = await served.browser()
            await browser.until(lambda: browser.hits() == 100)
            before = browser.latest["update@"].about["epoch"]
            send_run(publisher, hits=7, run=2)
            await browser.until(lambda: browser.hits() == 7)
            assert browser.latest["update@"].about["epoch"] != before

    run(script)


def test_pages_of_others_may_not_look(publisher: TestPublisher) -> None:
    async def script() -> None:
        async with serving(publisher) as served:
            for headers in ({"Origin": "http://evil.example"}, {"Origin": f"http://127.0.0.1:{served.port + 1}"}):
                assert await served.knock(**headers) == 403
            for path in ("/", "/state.json", "/metrics", "/figures.json", "/snapshot.png", "/nothing"):
                # A name of another site that leads to this computer.
                assert (await served.get(path, Host="evil.example")).code == 403
            await (await served.browser(Origin=f"http://127.0.0.1:{served.port}")).read()
            assert (await served.get("/", Host=f"localhost:{served.port}")).code == 200

    run(script)


async def all_codes(served: Served, **headers: str) -> set[int]:
    paths = ("/", "/bokeh.js", "/page/page.js", "/figures.json", "/state.json", "/metrics", "/snapshot.png", "/health")
    return {(await served.get(path, **headers)).code for path in paths}


def test_the_token(publisher: TestPublisher) -> None:
    async def script() -> None:
        async with serving(publisher, access=Access(TOKEN, loopback=False, tls=False)) as served:
            assert await all_codes(served) == {403}
            assert await all_codes(served, Cookie=f"{COOKIE}=wrong") == {403}
            assert await all_codes(served, Authorization="Bearer wrong") == {403}
            assert (await served.get("/?token=wrong")).code == 403
            assert await served.knock() == 403
            answer = await served.get(f"/?token={TOKEN}")
            assert (answer.code, answer.headers["Location"]) == (302, "/")
            cookie = answer.headers["Set-Cookie"]
            assert {"HttpOnly", "SameSite=Strict"} <= {each.strip() for each in cookie.split(";")}
            assert await all_codes(served, Cookie=cookie.partition(";")[0]) == {200}
            assert await all_codes(served, Authorization=f"Bearer {TOKEN}") == {200}
            await (await served.browser(Cookie=cookie.partition(";")[0])).read()

    run(script)


def test_what_programs_ask_for(publisher: TestPublisher) -> None:
    async def script() -> None:
        async with serving(publisher) as served:
            empty = await served.get("/metrics")
            assert b"astropix_monitor_up 0.0" in empty.body
            send_run(publisher, comment="</script><script>alert(1)</script>")
            browser = await served.browser()
            await browser.until(lambda: browser.hits() == 100)
            state = json.loads((await served.get("/state.json")).body)
            assert (state["hits"], state["run"], len(state["chips"])) == (100, 1, 3)
            metrics = (await served.get("/metrics")).body.decode()
            assert "astropix_hits 100.0" in metrics
            assert 'astropix_chip_hits{chip="1",layer=""} 33.0' in metrics
            assert 'astropix_state{state="running"} 1.0' in metrics
            assert "astropix_monitor_browsers 1.0" in metrics
            pictures = await asyncio.gather(*(served.get("/snapshot.png") for _ in range(5)))
            assert {each.body[:8] for each in pictures} == {b"\x89PNG\r\n\x1a\n"}
            assert len({each.body for each in pictures}) == 1  # drawn once

    run(script)


def test_the_page_lets_no_script_of_others_in(publisher: TestPublisher) -> None:
    async def script() -> None:
        async with serving(publisher) as served:
            page = await served.get("/")
            policy = dict(each.strip().split(" ", 1) for each in page.headers["Content-Security-Policy"].split(";"))
            assert policy["script-src"] == "'self'"
            assert policy["default-src"] == "'none'"
            assert not re.search(rb"<script(?![^>]*(src=|application/json))", page.body)
            assert not re.search(rb"https?://", page.body)
            for name in ("page.js", "stream.js", "figures.js", "colours.js", "panels.js", "operator.js", "page.css"):
                asset = await served.get(f"/page/{name}")
                assert asset.code == 200
                assert not re.search(rb"innerHTML|insertAdjacentHTML|eval\(|https?://", asset.body)
            bokeh = await served.get("/bokeh.js")
            assert len(bokeh.body) > 100_000
            assert (await served.get("/bokeh.js", **{"If-None-Match": bokeh.headers["Etag"]})).code == 304
            for path in ("/page/index.html", "/page/../server.py", "/page/none.js", "/figures.json?scale=cubic"):
                assert (await served.get(path)).code in (400, 404)

    run(script)


def test_without_an_operator_nothing_can_be_commanded(publisher: TestPublisher) -> None:
    async def script() -> None:
        async with serving(publisher) as served:
            for path in ("/control/start", "/control/stop", "/control/shutdown", "/alarms/ack", "/alarms/silence"):
                assert (await served.post(path, "{}", **{"X-Operator-Token": TOKEN})).code in (404, 405)
            assert b'"operator": {"runs": false, "alarms": false}' in (await served.get("/")).body

    run(script)


def test_only_the_operator_commands(publisher: TestPublisher) -> None:
    operator = Operator(TOKEN, Controller("ipc:///nowhere/at-all.ipc"))

    async def script() -> None:
        async with serving(publisher, operator=operator) as served:
            token = {"X-Operator-Token": TOKEN}
            assert (await served.post("/control/start", "{}")).code == 403
            assert (await served.post("/control/start", "{}", **{"X-Operator-Token": "wrong"})).code == 403
            assert (await served.post("/control/start", "{}", **token, Origin="http://evil.example")).code == 403
            assert (await served.post("/alarms/ack", '{"id": "x"}', **token)).code in (404, 405)
            for body in ("nonsense", '{"comment": 1}', "[]", json.dumps({"comment": "x" * 2000})):
                assert (await served.post("/control/start", body, **token)).code == 400
            assert (await served.post("/control/shutdown", "{}", **token)).code == 404
            answer = await served.post("/control/start", '{"comment": "hello"}', **token)
            assert answer.code == 409
            assert "is daqd running?" in json.loads(answer.body)["message"]

    run(script)


def test_a_comment_with_half_a_character_is_refused_in_words(publisher: TestPublisher, tmp_path: Path) -> None:
    (tmp_path / "bench.ipc").touch()
    operator = Operator(TOKEN, Controller(f"ipc://{tmp_path}/bench.ipc"))

    async def script() -> None:
        async with serving(publisher, operator=operator) as served:
            body = '{"comment": "\\ud800"}'
            answer = await served.post("/control/start", body, **{"X-Operator-Token": TOKEN})
            assert answer.code == 409
            assert json.loads(answer.body)["message"].startswith("start: cannot be sent: ")

    run(script)


def test_only_the_operator_acknowledges(publisher: TestPublisher, tmp_path: Path) -> None:
    with made_checker(tmp_path) as checker:
        operator = Operator(TOKEN, None, AlarmActions(checker.endpoint, "the page"))

        async def script() -> None:
            async with serving(publisher, operator=operator) as served:
                token = {"X-Operator-Token": TOKEN}
                assert b'"operator": {"runs": false, "alarms": true}' in (await served.get("/")).body
                hot = '{"id": "hot:a"}'
                assert (await served.post("/alarms/ack", hot)).code == 403
                assert (await served.post("/alarms/ack", hot, **token, Origin="http://evil.example")).code == 403
                assert (await served.post("/control/start", "{}", **token)).code in (404, 405)
                for body in ("nonsense", "[]", "{}", '{"id": 1}', '{"id": ""}', json.dumps({"id": "x" * 200})):
                    assert (await served.post("/alarms/ack", body, **token)).code == 400
                assert checker.asked == []
                for command in ("ack", "silence", "unsilence"):
                    assert (await served.post(f"/alarms/{command}", hot, **token)).code == 200
                assert [command for command, _ in checker.asked] == ["ack", "silence", "unsilence"]
                assert checker.asked[1][1] == {"pattern": "hot:a", "for_s": 3600.0, "reason": "from the page"}
                answer = await served.post("/alarms/ack", '{"id": "cold"}', **token)
                assert (answer.code, json.loads(answer.body)["message"][:16]) == (409, "no alarm is that")

        run(script)


def test_no_checker_to_acknowledge_at(publisher: TestPublisher) -> None:
    operator = Operator(TOKEN, None, AlarmActions("ipc:///nowhere/at-all.ipc", "the page"))

    async def script() -> None:
        async with serving(publisher, operator=operator) as served:
            answer = await served.post("/alarms/ack", '{"id": "hot:a"}', **{"X-Operator-Token": TOKEN})
            assert answer.code == 409
            assert "no apx-sanity is at ipc:///nowhere/at-all.ipc" in json.loads(answer.body)["message"]

    run(script)
