"""`apx-sanity --once` on what the emulated board sent, whole and misbehaving: report, page, reference, exit code."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from monitor.sanity.cli import main
from monitor.sanity.recorded.run_quality import RunQuality
from protocol.run_record import Gap
from tests.monitor.publishing import run_record
from tests.monitor.sanity.emulated_run import T0_NS, changes_at, emulated, write_file

pytestmark = pytest.mark.slow

S = 1_000_000_000


@pytest.fixture
def check(capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs `apx-sanity --json --once`: exit code, what was found by check and level, and the whole summary."""

    def run(*arguments: object) -> tuple[int, set[tuple[str, str]], dict[str, Any]]:
        code = main(["--json", "--once", *map(str, arguments)])
        summary = json.loads(capsys.readouterr().out)
        return code, {(found["check"], found["level"]) for found in summary["findings"]}, summary

    return run


def test_a_good_run_in_numbers(check: Any, tmp_path: Path) -> None:
    path = write_file(tmp_path / "a.apx", emulated(2, rate_hz=100), 120, chips=2)
    code, found, summary = check(path)
    assert (code, found) == (0, set())
    (run,) = summary["runs"]
    assert run["hits"] == summary["checked"]["hits"] == sum(chip["hits"] for chip in run["chips"])
    assert run["live_s"] == pytest.approx(119.5, abs=0.6)
    assert run["hits_hz"] == pytest.approx(100, abs=5)
    assert run["tot_median_us"] == pytest.approx(235, abs=2)
    assert [chip["pixels"] for chip in run["chips"]] == [208, 208]
    assert run["ledger"]["hits"] == run["hits"]


@pytest.mark.parametrize(
    ("misbehave", "finding"),
    [
        # Of a hit that lost its end, idles are taken for it.
        ({"cut_hits": 0.05}, "impossible_address"),
        ({"garbage": 0.05}, "orphan_bytes"),
        ({"lost_bytes": 0.05}, "impossible_address"),
    ],
)
def test_bytes_that_go_wrong(check: Any, tmp_path: Path, misbehave: dict[str, float], finding: str) -> None:
    path = write_file(tmp_path / "a.apx", emulated(1, rate_hz=300, misbehave=misbehave), 60, chips=1)
    code, found, _ = check(path)
    assert code == 1
    assert (finding, "warning") in found


def test_pixels_and_rates_that_go_wrong(check: Any, tmp_path: Path) -> None:
    quiet, loud = (emulated(2, rate_hz=rate, hot_pixels=[[1, 3, 7, 60]]) for rate in (100, 400))
    path = write_file(tmp_path / "a.apx", changes_at(300, quiet, loud), 420, chips=2)
    code, found, summary = check(path)
    assert (code, found) == (1, {("noisy_pixel", "warning"), ("rate_jump", "warning")})
    noisy = next(each for each in summary["findings"] if each["check"] == "noisy_pixel")
    assert "chip 1 pixel 3/7" in noisy["text"]
    assert noisy["count"] > 30  # looks


def test_what_is_configured_holds_for_files_too(check: Any, tmp_path: Path) -> None:
    path = write_file(tmp_path / "a.apx", emulated(2, rate_hz=100, hot_pixels=[[1, 3, 7, 60]]), 60, chips=2)
    config = tmp_path / "sanity.toml"
    config.write_text("[checks.noisy_pixel]\nfactor = 200.0\n")
    assert check(path, "-c", config)[:2] == (0, set())
    config.write_text("[checks.noisy_pixel]\nenabled = false\n")
    assert check(path, "-c", config)[:2] == (0, set())
    assert check(path)[0] == 1


def in_a_run(tmp_path: Path, **values: Any) -> Path:
    """A run of two minutes of data, a minute of silence, and two minutes of data, with its record."""
    directory = tmp_path / "run_000007"
    directory.mkdir()
    board, lost = emulated(1, rate_hz=100), 60.0
    path = directory / "run_000007_0000.apx"
    write_file(path, lambda s: b"" if 120 < s <= 120 + lost else board(min(s, s)), 300, run=7, file=0, begin_ns=T0_NS)
    record = run_record(7, begin_ns=T0_NS, state="finished", **values)
    (directory / "run_000007.json").write_text(record.to_json())
    return path


def test_gaps_of_the_record_are_no_live_time(check: Any, tmp_path: Path) -> None:
    gaps = (Gap(from_ns=T0_NS + 120 * S, to_ns=T0_NS + 180 * S, reason="cable"),)
    _, _, summary = check(in_a_run(tmp_path, gaps=gaps))
    (run,) = summary["runs"]
    assert (run["run"], run["gaps"]) == (7, 1)
    assert run["live_s"] == pytest.approx(240, abs=1)


def test_a_reference_out_of_files_and_runs_against_it(
    check: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = [
        write_file(tmp_path / f"good{seed}.apx", emulated(2, seed=seed, rate_hz=100), 120, chips=2) for seed in (1, 2)
    ]
    assert main(["--make-reference", *map(str, good), "-o", str(tmp_path / "ref.json")]) == 0
    alike = write_file(tmp_path / "alike.apx", emulated(2, seed=3, rate_hz=200), 60, chips=2)
    other = write_file(tmp_path / "other.apx", emulated(2, seed=3, rate_hz=200, tot_mean_us=300), 60, chips=2)
    reference = ("--reference", tmp_path / "ref.json")
    capsys.readouterr()
    assert check(alike, *reference)[:2] == (0, set())
    code, found, _ = check(other, *reference)
    assert (code, found) == (1, {("tot_reference", "warning"), ("spectrum_reference", "warning")})
    config = tmp_path / "sanity.toml"
    config.write_text('[sanity]\nreference = "ref.json"\n')
    assert check(other, "-c", config)[:2] == (code, found)


def test_a_reference_that_cannot_be_had_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_file(tmp_path / "a.apx", emulated(1, rate_hz=100), 5, chips=1)
    (tmp_path / "ref.json").write_text("{}")
    assert main(["--once", str(path), "--reference", str(tmp_path / "ref.json")]) == 1
    assert "is not a reference" in capsys.readouterr().err
    config = tmp_path / "sanity.toml"
    config.write_text('[sanity]\nreference = "nowhere.json"\n')
    assert main(["--once", str(path), "-c", str(config)]) == 2
    assert "sanity.reference" in capsys.readouterr().err
    empty = write_file(tmp_path / "empty.apx", lambda s: b"\xbc" * 4, 5)
    assert main(["--make-reference", str(empty), "-o", str(tmp_path / "new.json")]) == 1
    assert "no hits" in capsys.readouterr().err
    assert not (tmp_path / "new.json").exists()


def test_runs_of_different_chips_make_no_reference(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from protocol.astropix3_readout import AstroPix3Readout

    four = write_file(tmp_path / "4.apx", emulated(1, rate_hz=100), 20)
    three = write_file(tmp_path / "3.apx", emulated(1, version=3, rate_hz=100), 20, AstroPix3Readout)
    assert main(["--make-reference", str(four), str(three), "-o", str(tmp_path / "ref.json")]) == 1
    assert "different kinds" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["--html", "a.html"],
        ["--reference", "r.json"],
        ["-o", "r.json"],
        ["--make-reference", __file__],
        ["--once", __file__, "--make-reference", __file__, "-o", "r.json"],
        ["--once", __file__, "--html", "/nowhere/at/all.html"],
    ],
)
def test_arguments_that_make_no_sense_are_misuse(arguments: list[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(arguments)


class Page(HTMLParser):
    """What a page shows, and what it wants from elsewhere."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.images: list[str] = []
        self.links: list[str] = []
        self.words = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            if name == "src":
                self.images.append(value or "")
            elif name == "href":
                self.links.append(value or "")

    def handle_data(self, data: str) -> None:
        self.words += data


def test_the_page_has_figures_and_findings_and_needs_nothing_else(check: Any, tmp_path: Path) -> None:
    board = emulated(4, rate_hz=200, hot_pixels=[[1, 3, 7, 60]])
    path = write_file(
        tmp_path / "a.apx", board, 120, chips=4, run=3, file=0, begin_ns=T0_NS, **named("<script>beam</script>")
    )
    assert check(path, "--html", tmp_path / "page.html")[0] == 1
    page = Page((tmp_path / "page.html").read_text())
    assert len(page.images) == 4
    assert all(image.startswith("data:image/") for image in page.images)
    assert page.links == []
    assert not {"script", "link", "iframe", "object"} & set(page.tags)
    assert "<script>beam</script>" in page.words  # said, not run
    assert "chip 1 pixel 3/7" in page.words
    assert "url(" not in (tmp_path / "page.html").read_text()
    assert "Run 3" in page.words


def named(comment: str) -> dict[str, Any]:
    return {"daq": "bench", "comment": comment, "software": {}, "configuration": {}}


def test_the_page_of_nothing_and_of_a_recording_without_times(check: Any, tmp_path: Path, recordings: Path) -> None:
    empty = write_file(tmp_path / "empty.apx", lambda s: b"\xbc" * 4, 5)
    untimed = recordings / "threshold_40mV_20250722-094253.apx"
    assert check(empty, untimed, "--html", tmp_path / "page.html")[0] == 0
    page = Page((tmp_path / "page.html").read_text())
    assert "258" in page.words
    assert "nan" not in page.words


def test_the_memory_does_not_grow_with_the_files(tmp_path: Path) -> None:
    """Looks at runs of 2 and of 8 files: what is kept of a run is a last look, and not its hits."""
    import tracemalloc

    def peak(files: int) -> int:
        board = emulated(1, rate_hz=2000, seed=files)
        paths = []
        for index in range(files):
            path = tmp_path / f"run_{files:06d}_{index:04d}.apx"
            write_file(path, board, 20, run=files, file=index, begin_ns=T0_NS)
            paths.append(str(path))
        tracemalloc.start()
        try:
            main(["--once", *paths])
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    first = peak(2)
    assert peak(8) < 1.3 * first


@pytest.mark.parametrize(
    ("number", "words"), [(1, "1 hit, .*, 1 gap, 1 chip \\("), (2, "2 hits, .*, 2 gaps, 2 chips \\(")]
)
def test_one_is_not_counted_as_many(number: int, words: str) -> None:
    chip = {"layer": None, "chip": 0, "hits": 0, "pixels": 0, "hits_hz": None, "tot_median_us": None}
    quality = RunQuality.model_validate(
        {"run": 1, "file": None, "comment": "", "begin_ns": None, "live_s": 9.0, "gaps": number, "readouts": number}
        | {"hits": number, "hits_hz": 1.0, "tot_median_us": None, "chips": [chip] * number, "ledger": {}}
    )
    assert re.search(words, quality.line())
