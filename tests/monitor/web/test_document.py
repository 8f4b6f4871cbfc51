"""docs/monitor.md: the plot in it works, its table of metrics is whole."""

import re
from pathlib import Path

import pytest
from bokeh.models import Model

from monitor.web.plot_context import Figures, Plot, PlotContext, PlotError
from monitor.web.plots import PLOTS
from monitor.web.program import own_plots
from protocol.ledger import Ledger
from protocol.run_record import Counts
from protocol.wire.alarms import Alarm, AlarmLevel
from protocol.wire.messages import Disk
from tests.conftest import REPOSITORY
from tests.monitor.publishing import TestPublisher, make_hits, run_record
from tests.monitor.web.serving import run, serving

pytestmark = pytest.mark.slow

DOCUMENT = REPOSITORY / "docs" / "monitor.md"


def example(folder: Path) -> Path:
    """The plot of the document, as a file."""
    found = re.search(r"```python my_plots\.py\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    assert found
    path = folder / "my_plots.py"
    path.write_text(found[1])
    return path


def test_the_plot_of_the_document(publisher: TestPublisher, tmp_path: Path) -> None:
    figures = Figures((*PLOTS, *own_plots(example(tmp_path))))

    async def script() -> None:
        async with serving(publisher, figures=figures) as served:
            hits = make_hits([(i, 0) for i in range(9)], column=[3, 3, 3, 3, 15, 15, 0, 0, 0])
            publisher.send(publisher.messages.hits(hits, (0, 8)))
            browser = await served.browser()
            await browser.until(lambda: browser.hits() == 9)
            columns = browser.latest["by_column@run"].columns
            assert columns["hits"].tolist() == [3, 0, 0, 4, *[0] * 11, 2]
            assert columns["column"].tolist() == list(range(16))
            assert b"by-column" in (await served.get("/")).body
            assert b"by-column" in (await served.get("/figures.json?scale=log&theme=dark&unit=rate")).body

    run(script)


def test_every_metric_is_in_the_document(publisher: TestPublisher) -> None:
    alarm = Alarm(
        id="a", check="a", level=AlarmLevel.WARNING, worst=AlarmLevel.WARNING, text="x", since_ns=1, last_ns=1
    )

    async def script() -> None:
        async with serving(publisher, alarms=(alarm,)) as served:
            messages = publisher.messages
            publisher.send(
                messages.run("begin", run_record(1)),
                messages.stat(
                    ledger=Ledger(), counts=Counts().model_dump(), disk=Disk(total_bytes=1, time_to_full_s=7.0)
                ),
            )
            browser = await served.browser()
            await browser.until(lambda: browser.latest and browser.latest["facts@"].about["state"]["run"] == 1)
            text = (await served.get("/metrics")).body.decode()
            assert 'astropix_alarms{level="warning"} 1.0' in text
            assert "astropix_disk_time_to_full_seconds 7.0" in text
            told = set(re.findall(r"^# TYPE (\w+)", text, re.MULTILINE))
            written = set(re.findall(r"`(astropix_\w+)(?:\{[\w,]+\})?`", DOCUMENT.read_text()))
            assert told == written

    run(script)


def fails_later(context: PlotContext) -> Model:
    source = context.source("fails", lambda view: {"hits": [["", "one"][view.histograms.hits]]})
    plot = context.figure("", "")
    plot.text(0, 0, text="hits", source=source)
    return plot


def test_a_plot_that_fails_takes_no_other_with_it(publisher: TestPublisher, caplog: pytest.LogCaptureFixture) -> None:
    figures = Figures((*PLOTS, Plot("fails", "", fails_later)))

    async def script() -> None:
        async with serving(publisher, figures=figures) as served:
            browser = await served.browser()
            for number in range(4):
                publisher.send(publisher.messages.hits(make_hits([(number, 0)]), (number, number)))
                await browser.until(lambda number=number: browser.hits() == number + 1)
            assert browser.latest["fails@run"].columns["hits"] == ["one"]

    run(script)
    assert [record.getMessage() for record in caplog.records] == ["the source 'fails' of a plot fails; said once"]


def wrong_name(context: PlotContext) -> object:
    return context.source("tot", lambda _: {})


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "AttributeError.*PLOTS"),
        ("PLOTS = [1]", "PLOTS must be a list"),
        ("syntax error", "SyntaxError"),
        ("import nothing_of_that_name", "ModuleNotFoundError"),
    ],
)
def test_files_that_have_no_plots(tmp_path: Path, text: str, what: str) -> None:
    path = tmp_path / "mine.py"
    path.write_text(text)
    with pytest.raises(PlotError, match=what):
        own_plots(path)
    with pytest.raises(PlotError, match="absent"):
        own_plots(tmp_path / "absent.py")


def test_plots_that_cannot_be_drawn_are_told_at_the_start() -> None:
    with pytest.raises(PlotError, match="two plots are called 'map'"):
        Figures((*PLOTS, Plot("map", "", wrong_name)))
    with pytest.raises(PlotError, match=r"'mine' cannot be drawn.*two plots have a source 'tot'"):
        Figures((*PLOTS, Plot("mine", "", wrong_name)))
