"""The page in a browser, on the run of an emulated board that has a hot pixel; screenshots are left in `pictures/`."""

import os
import re
from pathlib import Path

from tests.conftest import REPOSITORY
from tests.system.laboratory import Laboratory
from tests.system.page import Page, chromium, needs_chromium, serve
from tests.system.programs import Program

HOT = (2, 5, 7)
ROWS, COLUMNS = 13, 16
SETTINGS = {
    "board": {"transport": "emulated", "chips": 4},
    "emulator": {"seed": 5, "rate_hz": 10000.0, "hits_limit": 20_000, "tot_mean_us": 300.0, "tot_sigma_us": 15.0},
}


def pictures() -> Path:
    """Where screenshots go, for people to look at."""
    folder = Path(os.environ.get("ASTROPIX_PICTURES", REPOSITORY / "pictures"))
    folder.mkdir(exist_ok=True)
    return folder


def number(text: str) -> int:
    return int(re.sub(r"\s", "", text))


@needs_chromium
def test_a_hot_pixel_is_found_and_looked_at(laboratory: Laboratory) -> None:
    settings = {**SETTINGS, "emulator": {**SETTINGS["emulator"], "hot_pixels": [[*HOT, 40.0]]}}
    daemon = laboratory.configure(settings).start()
    daemon.call("start", comment='Cd-109 <img src=x onerror="document.title=1">')
    daemon.wait_until_exhausted()
    program, address = serve(laboratory, "--connect", daemon.endpoint)
    with chromium() as page:
        desktop = page(1500, 1000).open(address)
        read_the_numbers(desktop)
        find_the_hot_pixel(desktop)
        the_colours_of_a_map(desktop)
        dark_mode_and_scales(desktop)
        what_is_under_the_pointer(desktop)
        freeze_and_reset(desktop)
        phone = page(390, 844, "dark", touch=True).open(address)
        phone.wait_for("all hits on the phone, too", lambda: number(phone.tile("hits")) == 20_000)
        assert phone.ask("document.documentElement.scrollWidth <= innerWidth")
        wall = page(2560, 1440).open(address)
        assert wall.ask("document.documentElement.scrollWidth <= innerWidth")
        assert phone.ask("document.documentElement.dataset.theme") == "dark"
        times_of_day_stand_apart(phone)
        controls_in_one_row(phone)
        phone.picture(pictures() / "phone.png")
        assert desktop.troubles == phone.troubles == []
        the_server_ends(desktop, program)


def controls_in_one_row(phone: Page) -> None:
    """What is seldom wanted is behind a button, by keyboard as by touch."""
    seldom = ("unit", "scale", "range", "span", "palette", "reset", "theme")
    height = phone.ask("document.querySelector('nav').offsetHeight")
    assert height < 50
    assert not any(phone.tab.locator(f"#{name}").is_visible() for name in seldom)
    phone.tab.focus("#more")
    phone.tab.keyboard.press("Enter")
    for name in seldom:
        phone.tab.keyboard.press("Tab")
        assert phone.ask("document.activeElement.id") == name
    phone.tab.tap("#more")
    phone.wait_for("they are away again", lambda: phone.ask("document.querySelector('nav').offsetHeight") == height)


def read_the_numbers(page: Page) -> None:
    """All hits of the run, though the page was opened after them."""
    page.wait_for("all hits", lambda: number(page.tile("hits")) == 20_000)
    assert page.tile("missed readouts") == "0"
    assert page.text("#state").lower() == "running"
    assert "run 1" in page.text("#run")
    assert page.text("#comment") == '“Cd-109 <img src=x onerror="document.title=1">”'
    assert "AstroPix" in page.tab.title()
    assert "no sanity checker is connected" in page.text("#alarms")
    assert sum(page.column("tot", "hits")) == 20_000
    assert len(page.column("hit_rate", "t")) == 600
    assert page.tab.locator(".plot canvas").count() >= 8
    page.picture(pictures() / "desktop.png")


def find_the_hot_pixel(page: Page) -> None:
    """In the map of all chips; click the chip, click the pixel, see its spectrum."""
    hits = page.column("chips", "hits")
    assert len(hits) == 4 * ROWS * COLUMNS
    at = hits.index(max(hits))
    assert (at // (ROWS * COLUMNS), at // COLUMNS % ROWS, at % COLUMNS) == HOT
    place = page.ask(f"astropix.figures.position('chips', ...astropix.tile({HOT[0]}))")
    page.tab.mouse.click(place["x"], place["y"])
    page.wait_for("the chip is selected", lambda: page.ask("astropix.stream.about('selection').chip") == HOT[0])
    page.wait_for("its map is shown", lambda: max(page.column("map", "hits")) == max(hits))
    page.click_pixel(HOT[1], HOT[2])
    page.wait_for(
        "the pixel is selected", lambda: page.ask("astropix.stream.about('selection').pixel") == [HOT[1], HOT[2]]
    )
    spectrum = page.wait_for("its spectrum", lambda: page.column("tot_pixel", "hits"))
    assert sum(spectrum) == max(hits)
    left = page.column("tot_pixel", "left")
    assert 280 <= left[spectrum.index(max(spectrum))] <= 310
    assert f"chip {HOT[0]}, row {HOT[1]}, column {HOT[2]}" in page.text("#plots")
    assert page.ask("document.getElementById('chip').selectedOptions[0].text") == f"chip {HOT[0]}"
    page.tab.focus("#map")
    page.tab.keyboard.press("ArrowDown")
    page.wait_for("the pixel below", lambda: page.ask("astropix.stream.about('selection').pixel") == [6, 7])
    page.tab.select_option("#chip", "1")
    page.wait_for("another chip", lambda: page.ask("astropix.stream.about('selection').chip") == 1)
    page.tab.select_option("#chip", str(HOT[0]))
    page.wait_for("that chip", lambda: page.ask("astropix.stream.about('selection').chip") == HOT[0])
    page.click_pixel(HOT[1], HOT[2])
    page.wait_for("that pixel", lambda: page.ask("astropix.stream.about('selection').pixel") == [HOT[1], HOT[2]])
    page.picture(pictures() / "pixel.png")


MAPPER = "astropix.figures._mappers.get('chips:colours').model"


def the_colours_of_a_map(page: Page) -> None:
    """One hot pixel leaves the others their colours, and is named; whoever wants, sees the full range."""
    hits = page.column("chips", "hits")
    usual = sorted(hits)[-2]
    assert page.ask(f"{MAPPER}.high") == usual
    assert page.text(".legend >> nth=0").endswith(f"1 pixel beyond {usual}, up to {max(hits)}")
    colours = page.ask(f"Array.from({MAPPER}.rgba_mapper.v_compute([{usual}, {max(hits)}]))")
    assert colours[:3] != colours[4:7]
    page.tab.select_option("#range", "full")
    page.wait_for("colours for all", lambda: page.ask(f"{MAPPER}.high") == max(hits))
    assert "beyond" not in page.text(".legend >> nth=0")
    page.tab.select_option("#range", "usual")


def what_is_under_the_pointer(page: Page) -> None:
    """Dark words on white paper would be a lamp at night."""
    page.tab.evaluate("scrollTo(0, 0)")
    at = page.ask("astropix.figures.position('map', 8, 3)")
    page.tab.mouse.move(at["x"], at["y"])
    tooltip = ".bk-Tooltip:popover-open"
    page.wait_for("a tooltip", lambda: page.tab.locator(tooltip).count())
    assert page.ask(f"getComputedStyle(document.querySelector('{tooltip}')).backgroundColor") == page.ask(
        "getComputedStyle(document.querySelector('.card')).backgroundColor"
    )
    assert "3, 8" in page.ask(f"document.querySelector('{tooltip}').shadowRoot.textContent")
    page.tab.mouse.move(1, 1)


def times_of_day_stand_apart(page: Page) -> None:
    """Labels of a time axis, from the first seconds of a run to half a day, on the narrowest screen.

    At 200 times of day, spread evenly: how many labels there are depends on where the axis begins.
    """
    spans_s = (15, 20, 33, 47, 60, 100, 150, 400, 540, 600, 1500, 3600, 7000, 9000, 20_000, 43_200)
    axes = page.tab.evaluate(
        """(spans) => {
            const view = astropix.figures._figures.get("hit-rate"), range = view.model.x_range;
            const day = 24 * 3600, midnight = Math.floor(range.end / 1000 / day) * day;
            const times = Array.from({length: 200}, (_, i) => midnight + Math.floor(i * 0.618034 % 1 * day));
            return spans.flatMap((span) => times.map((end) => {
                range.setv({start: (end - span) * 1000, end: end * 1000});
                const axis = view.axis_views.find((each) => each.dimension === 0), ticks = axis.tick_coords.major[0];
                const labels = axis.compute_labels(ticks);
                labels.visuals = axis.visuals.major_label_text.values();
                labels.base_font_size = view.base_font_size;
                const places = ticks.map((tick) => view.frame.x_scale.compute(tick));
                const apart = places.slice(1).map((place, i) => place - places[i]);
                // The first has the day below it, which is wider, and in nobody's way.
                const which = `${span} s until ${new Date(end * 1000).toISOString()}`;
                return [which, apart, labels.items.at(-1)?.size().width];
            }));
        }""",
        spans_s,
    )
    assert len(axes) == 200 * len(spans_s)
    for which, apart, width in axes:
        assert 1 <= len(apart) <= 5, which
        assert min(apart) > width + 4 > 20, which


def dark_mode_and_scales(page: Page) -> None:
    """Another theme and scale: figures come anew, with the same data in them."""
    paper = "getComputedStyle(document.querySelector('.card')).backgroundColor"
    light = page.ask(paper)
    page.tab.click("#theme")
    page.tab.select_option("#scale", "log")
    page.wait_for("a dark page", lambda: page.ask(paper) != light)
    page.wait_for("logarithmic figures", lambda: page.ask("astropix.figures.style?.scale") == "log")
    assert page.ask("astropix.figures.style.theme") == "dark"
    assert sum(page.column("tot", "hits")) == 20_000
    page.tab.select_option("#unit", "rate")
    page.wait_for("figures of rates", lambda: page.ask("astropix.figures.style.unit") == "rate")
    assert 0 < max(page.column("map", "hits")) < 1000
    page.picture(pictures() / "dark.png")
    page.tab.select_option("#unit", "counts")
    page.wait_for("figures of counts", lambda: page.ask("astropix.figures.style.unit") == "counts")
    assert page.ask("Bokeh.documents.length") == page.tab.locator(".plot").count(), "figures of before are kept"


def freeze_and_reset(page: Page) -> None:
    """A frozen page stands still while updates go on coming; after a reset it counts from nothing."""
    page.tab.click("#freeze")
    page.wait_for("frozen", lambda: page.text("#state").lower() == "frozen")
    updates = page.ask("astropix.stream.updates")
    page.wait_for("updates go on", lambda: page.ask("astropix.stream.updates") > updates + 2)
    assert page.text("#state").lower() == "frozen"
    page.tab.click("#freeze")
    page.wait_for("going on", lambda: page.text("#state").lower() == "running")
    page.tab.click("#reset")
    page.wait_for("nothing since the reset", lambda: sum(page.column("tot", "hits")) == 0)
    page.tab.select_option("#window", "run")
    assert sum(page.column("tot", "hits")) == 20_000


def the_server_ends(page: Page, program: Program) -> None:
    """The page says so at once, and goes on saying so until it is back."""
    page.tab.evaluate(
        """() => {
            const trouble = document.getElementById("trouble");
            window.said = [];
            new MutationObserver(() => said.push(trouble.textContent)).observe(trouble, {childList: true});
        }"""
    )
    assert program.end() == 0
    page.wait_for("vain attempts to connect", lambda: sum("REFUSED" in trouble for trouble in page.troubles) > 2)
    said = page.ask("said")
    assert re.fullmatch(r"no connection to the monitor since \d\d:\d\d:\d\d UTC: trying again", said[0])
    assert set(said) == {said[0]}
    assert page.text("#state").lower() == "disconnected"


@needs_chromium
def test_a_dead_daemon_and_its_alarm(laboratory: Laboratory) -> None:
    """The page does not go on saying "running"; the operator, and nobody else, acknowledges what the checker says."""
    stream, alarms, control = (
        f"ipc://{laboratory.runtime_dir}/{name}.ipc" for name in ("stream", "alarms", "x/sanity")
    )
    daemon = laboratory.configure({"stream": {"bind": stream, "catch_up": ""}}).start()
    (laboratory.folder / "operator.token").write_text("token-of-the-operator")
    (laboratory.folder / "sanity.toml").write_text(
        f'''
        sanity.directory = "{laboratory.folder}/kept"
        stream.connect = "{stream}"
        publish.bind = "{alarms}"
        control.endpoint = "{control}"
        [checks]
        silence = {{ max_s = 1.5, level = "critical" }}
        data_age = {{ enabled = false }}
        '''
    )
    laboratory.start("apx-sanity", "-c", "sanity.toml").wait_for_output("")
    operated = ("--operator-token-file", "operator.token", "--alarm-control", control)
    _, address = serve(laboratory, "--connect", stream, "--alarms", alarms, *operated)
    daemon.call("start")
    with chromium() as open_page:
        page = open_page(1440, 900).open(address)
        page.wait_for("a run", lambda: page.text("#state").lower() == "running")
        page.wait_for("no alarms", lambda: page.text("#alarms .said") == "no alarms")
        assert not page.tab.locator("#badge").is_visible()
        daemon.program.kill()
        page.wait_for("silence is told", lambda: page.text("#state").lower().startswith("no data for 0:00:"))
        assert page.text("#trouble") == "the daemon is silent; when it was last heard it was running"
        page.wait_for("an alarm", lambda: page.tab.locator("#alarms .alarm.critical").count() == 1)
        page.wait_for("the title tells it", lambda: page.tab.title().startswith("1 critical · no data for"))
        assert page.text("#worst").startswith("silence: no state for")
        assert page.tile("hit rate") == "-", "nobody knows it"
        page.tab.click("#badge")

        button = page.tab.locator("#alarms button.ack")
        assert not button.is_visible(), "before there is a token, nothing can be pressed"
        page.tab.fill("#token", "not-that-one")
        button.click()
        page.wait_for("a refusal", lambda: "not the operator's token" in page.text("#alarms .actions"))
        page.tab.fill("#token", "token-of-the-operator")
        button.focus()
        updates = page.ask("astropix.stream.updates")
        page.wait_for("updates", lambda: page.ask("astropix.stream.updates") > updates + 2)
        assert page.ask("document.activeElement.className") == "ack", "updates take the focus away"
        page.picture(pictures() / "alarm.png")
        page.tab.keyboard.press("Enter")
        page.wait_for("it is acknowledged", lambda: "acknowledged" in page.text("#alarms .alarm .quiet"))
        page.wait_for("nobody is called", lambda: not page.tab.locator("#badge").is_visible())
        assert not page.tab.locator("#worst").is_visible()
        page.tab.click("#alarms button.silence")
        page.wait_for("it is silenced", lambda: "silenced" in page.text("#alarms .alarm .quiet"))
        assert (
            page.ask(
                "[...document.querySelectorAll('button, select, input')].filter((each) => !each.labels?.length "
                "&& !each.textContent.trim() && !each.getAttribute('aria-label')).length"
            )
            == 0
        )
        # A browser says on its console what was refused.
        assert all("403" in trouble for trouble in page.troubles)
