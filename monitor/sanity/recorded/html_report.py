"""The report as one HTML page that needs nothing else: no network, no other files, no scripts."""

from collections.abc import Iterable
from datetime import UTC, datetime
from html import escape

from monitor.sanity.check import CheckInput
from monitor.sanity.checks.reference import ReferenceCounts
from monitor.sanity.findings import Finding, Place, severity
from monitor.sanity.recorded import report_plots
from monitor.sanity.recorded.run_quality import RunQuality
from monitor.sanity.report import Summary
from protocol.ledger import ByteCount
from protocol.text import counted
from protocol.version import __version__
from protocol.wire.alarms import AlarmLevel

MAX_RUNS = 20
"""Runs with figures, of which a page does not become too large; all are in the tables."""

_BYTE_CLASSES: tuple[ByteCount, ...] = ("hit", "idle", "padding", "carried", "orphan", "dropped")

_CSS = """
:root { color-scheme: light dark; --ink: #1d2530; --soft: #5b6675; --line: #dfe4ea; --page: #f4f6f8; --card: #fff;
  --good: #00714f; --warning: #a45a00; --critical: #b3261e; }
@media (prefers-color-scheme: dark) { :root { --ink: #e7ebf0; --soft: #a2adba; --line: #38414d; --page: #14181d;
  --card: #1d232b; --good: #4fc79b; --warning: #f0a94a; --critical: #ff8a80; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
main { max-width: 1200px; margin: 0 auto; padding: 24px 20px 60px; }
h1 { font-size: 24px; margin: 0; } h2 { font-size: 19px; margin: 36px 0 10px; } h3 { font-size: 14px; margin: 0 0 8px; }
p { margin: 4px 0; } .soft { color: var(--soft); }
header { display: flex; gap: 16px; align-items: center; flex-wrap: wrap; }
.badge { color: #fff; border-radius: 999px; padding: 3px 14px; font-weight: 600; }
.badge.good { background: #00714f; } .badge.warning { background: #a45a00; } .badge.critical { background: #b3261e; }
.facts { display: flex; flex-wrap: wrap; gap: 10px; margin: 16px 0; padding: 0; list-style: none; }
.facts li { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 8px 14px;
  min-width: 104px; }
.facts b { display: block; font-size: 19px; font-variant-numeric: tabular-nums; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 14px 16px; margin: 0;
  overflow-x: auto; }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(460px, 100%), 1fr)); gap: 14px; }
.plots .wide { grid-column: 1 / -1; }
.plots img { display: block; width: 100%; max-width: 1100px; margin: 0 auto; background: #fff; border-radius: 4px; }
.plots .one img { max-width: 560px; }
table { border-collapse: collapse; width: 100%; font-size: 14px; }
th { text-align: left; color: var(--soft); font-weight: 600; } th, td { padding: 5px 10px 5px 0; vertical-align: top; }
tr + tr td { border-top: 1px solid var(--line); } .number { text-align: right; font-variant-numeric: tabular-nums; }
.level { font-weight: 700; white-space: nowrap; } .level.info { color: var(--soft); }
.level.warning { color: var(--warning); } .level.critical { color: var(--critical); } code { font-size: 13px; }
"""


class HtmlReport:
    """Collects runs as they have been checked, and makes the page. `reference`: shown in the spectra."""

    def __init__(self, reference: ReferenceCounts | None = None) -> None:
        self._reference = reference
        self._sections: list[str] = []
        self._runs = 0

    def add_run(self, place: Place, quality: RunQuality, seen: CheckInput) -> None:
        """A run has been checked; `seen`: the last look at it."""
        self._runs += 1
        figures = "" if self._runs > MAX_RUNS else self._figures(seen)
        self._sections.append(
            f"<section><h2>{escape(_name(place))}</h2>{_facts_of(quality)}"
            f'<div class="plots">{figures}{_ledger(quality)}{_chips(quality)}</div></section>'
        )

    def _figures(self, seen: CheckInput) -> str:
        rates = report_plots.rates(seen)
        one = "" if len(seen.chips) > 2 else " one"
        cards = [
            _card("Hits per pixel", report_plots.hit_maps(seen), f"wide{one}"),
            _card("Time over threshold", report_plots.spectrum(seen, self._reference)),
            _card("Rates", rates) if rates else "",
            _card("Hits per readout", report_plots.hits_per_readout(seen)),
        ]
        return "".join(cards)

    def page(self, summary: Summary, now_ns: int) -> str:
        """The whole page."""
        verdict, kind = _verdict(summary)
        made = datetime.fromtimestamp(now_ns / 1e9, UTC)
        facts = _facts((f"{number:,}", name) for name, number in summary.checked.items())
        return (
            '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            f"<title>Run quality: {escape(verdict)}</title><style>{_CSS}</style></head><body><main>"
            f'<header><h1>Run quality</h1><span class="badge {kind}">{escape(verdict)}</span></header>'
            f'<p class="soft">apx-sanity {escape(__version__)}, {made:%Y-%m-%d %H:%M:%S} UTC</p>'
            f"{facts}{_findings(summary.findings)}{''.join(self._sections)}</main></body></html>\n"
        )


def _verdict(summary: Summary) -> tuple[str, str]:
    if summary.critical:
        return f"{summary.critical} critical, {counted(summary.warning, 'warning')}", "critical"
    if summary.warning:
        return counted(summary.warning, "warning"), "warning"
    return ("ended before all was checked", "warning") if summary.interrupted else ("all well", "good")


def _name(place: Place) -> str:
    return f"Run {place.run}" if place.run is not None else str(place)


def _facts(facts: Iterable[tuple[str, str]]) -> str:
    items = "".join(f'<li><b>{escape(value)}</b><span class="soft">{escape(name)}</span></li>' for value, name in facts)
    return f'<ul class="facts">{items}</ul>'


def _facts_of(quality: RunQuality) -> str:
    facts = [(f"{quality.hits:,}", "hits"), (f"{quality.readouts:,}", "readouts")]
    if quality.hits_hz is not None:
        facts += [(f"{quality.live_s:,.0f} s", "live time"), (f"{quality.hits_hz:.4g} /s", "hit rate")]
    if quality.tot_median_us is not None:
        facts.append((f"{quality.tot_median_us:.4g} µs", "median ToT"))
    facts.append((str(len(quality.chips)), "chips"))
    if quality.gaps:
        facts.append((str(quality.gaps), "gaps"))
    words = []
    if quality.begin_ns:
        words.append(f"from {datetime.fromtimestamp(quality.begin_ns / 1e9, UTC):%Y-%m-%d %H:%M:%S} UTC")
    if quality.comment:
        words.append(f"“{quality.comment}”")
    return f'<p class="soft">{escape(", ".join(words))}</p>{_facts(facts)}'


def _card(title: str, image: str, kind: str = "") -> str:
    name = escape(title)
    return f'<figure class="card {kind}"><h3>{name}</h3><img alt="{name}" src="{image}"></figure>'


def _findings(findings: Iterable[Finding]) -> str:
    worst_first = sorted(findings, key=lambda finding: -finding.level.rank)
    if not worst_first:
        return '<h2>Findings</h2><div class="card">Nothing was found.</div>'
    rows = "".join(
        f'<tr><td class="level {severity(finding.level)}">{severity(finding.level)}</td>'
        f"<td><code>{escape(finding.check)}</code></td>"
        f"<td>{escape(_where(finding))}</td><td>{escape(finding.text)}{_times(finding)}"
        f"{_advice(finding)}</td></tr>"
        for finding in worst_first
    )
    head = "<tr><th>level</th><th>check</th><th>where</th><th>what</th></tr>"
    return f'<h2>Findings</h2><div class="card"><table>{head}{rows}</table></div>'


def _where(finding: Finding) -> str:
    at = "" if finding.readout is None else f", readout {finding.readout}"
    place = f"run {finding.run}" if finding.run is not None else (finding.file or "").rpartition("/")[2]
    return place + at


def _times(finding: Finding) -> str:
    return f' <span class="soft">[x {finding.count}]</span>' if finding.count > 1 and not finding.cumulative else ""


def _advice(finding: Finding) -> str:
    if finding.level is AlarmLevel.OK:
        return ""
    return f'<p class="soft">→ {escape(finding.advice)}</p>'


def _ledger(quality: RunQuality) -> str:
    total = max(quality.ledger["bytes_read"], 1)
    classes = "".join(
        f'<tr><td>{name}</td><td class="number">{quality.ledger[name]:,}</td>'
        f'<td class="number">{quality.ledger[name] / total:.4%}</td></tr>'
        for name in _BYTE_CLASSES
    )
    return (
        '<div class="card"><h3>Every byte accounted for</h3><table><tr><th>bytes</th><th class="number">number</th>'
        f'<th class="number">part</th></tr>{classes}</table><p class="soft">{quality.ledger["dropped_hits"]:,} hits '
        f"dropped, {quality.ledger['restored_hits']:,} restored, {quality.ledger['rejoined_hits']:,} rejoined</p></div>"
    )


def _chips(quality: RunQuality) -> str:
    chips = "".join(
        f"<tr><td>{'' if chip.layer is None else f'layer {chip.layer} '}chip {chip.chip}</td>"
        f'<td class="number">{chip.hits:,}</td><td class="number">{_number(chip.hits_hz)}</td>'
        f'<td class="number">{chip.pixels:,}</td><td class="number">{_number(chip.tot_median_us)}</td></tr>'
        for chip in quality.chips
    )
    head = "".join(f'<th class="number">{name}</th>' for name in ("hits", "hits/s", "pixels hit", "ToT median (µs)"))
    return f'<div class="card wide"><h3>Chips</h3><table><tr><th>chip</th>{head}</tr>{chips}</table></div>'


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"
