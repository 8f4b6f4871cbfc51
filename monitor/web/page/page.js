// The page: what was chosen here, what has come from the server, and the figures that show it.

import {Figures} from "./figures.js";
import {operator} from "./operator.js";
import {alarms_in_short, show_alarms, show_groups, show_log, show_state, show_tiles} from "./panels.js";
import {Stream} from "./stream.js";

const told = JSON.parse(document.getElementById("told").textContent);
const by_id = (id) => document.getElementById(id);
const chosen = {scale: "linear", unit: "counts", palette: "viridis", range: "usual", window: "run", span: "10min", theme: "", ...kept()};
let frozen = false, lost = false, lost_since = "", ready = false, epoch = null, baseline = null;

const COUNTS = new Map(told.sources.map((source) => [source.name, source]));

function kept() {
  try { return JSON.parse(localStorage.getItem("astropix") ?? "{}"); } catch { return {}; }
}

function theme() {
  return chosen.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
}

// --- what has come

const act = operator(told.operator);
const stream = new Stream(arrived, connection);
const figures = new Figures(told.plots, by_id("plots"), tapped);

function arrived(parts) {
  if (frozen) {
    // Who has frozen the page and forgotten it is called all the same.
    if (parts.some((part) => part.source === "alarms")) show_alarms(stream.about("alarms"), act);
    return head();
  }
  const edition = stream.about("edition");
  if (edition && edition.epoch !== epoch) {
    epoch = edition.epoch;
    if (baseline) choose("window", "run");
    baseline = null;
    by_id("window").querySelector("[value=reset]").hidden = true;
  }
  head();
  const names = new Set(parts.map((part) => part.source));
  words(names);
  if (ready) for (const name of names) fill(name);
}

function connection(gone) {
  if (gone === lost) return;
  lost = gone;
  lost_since = new Date().toISOString().slice(11, 19);
  head();
}

function head() {
  const alarms = alarms_in_short(stream.about("alarms") ?? {alarms: []});
  show_state(stream.about("facts")?.state, {lost, lost_since, frozen, alarms});
}

function words(names) {
  const facts = stream.about("facts");
  if (names.has("facts") && facts) {
    show_tiles(facts.tiles);
    show_groups(facts.groups);
    show_log(facts.log);
  }
  if (names.has("alarms")) show_alarms(stream.about("alarms"), act);
  const selection = stream.about("selection");
  if ((names.has("selection") || names.has("detector")) && selection) {
    show_chips();
    for (const title of document.querySelectorAll("h2[data-about]")) {
      const about = {chip: selection.chip_name, pixel: selection.pixel_name}[title.dataset.about];
      title.textContent = about ? `${title.dataset.title} · ${about}` : title.dataset.title;
    }
  }
}

function fill(name) {
  const source = COUNTS.get(name);
  if (!source) return;
  const columns = shown(source);
  if (columns) figures.fill(name, columns, chosen.range === "full");
}

function fill_all() {
  if (ready) for (const name of COUNTS.keys()) fill(name);
}

// The columns of a source as they are to be seen: of the window, since the reset, per second.
function shown(source) {
  const choice = source.of === "window" ? (chosen.window === "minute" ? "minute" : "run") : source.of === "span" ? chosen.span : "";
  const part = stream.part(source.name, choice);
  if (!part || source.of !== "window") return part?.columns;
  const columns = {...part.columns}, before = chosen.window === "reset" ? baseline : null;
  const since = before?.parts.get(source_key(source.name));
  const seconds = stream.about("detector").seconds[choice] - (before?.seconds ?? 0);
  for (const name of source.counts) {
    const values = columns[name], old = since?.[name];
    if (!old && chosen.unit !== "rate") continue;
    const scale = chosen.unit === "rate" ? 1 / Math.max(seconds, 0.2) : 1;
    const made = Float64Array.from(values, (value, i) => Math.max(value - (old?.[i] ?? 0), 0) * scale);
    made.shape = values.shape;
    columns[name] = made;
  }
  return columns;
}

// Selected sources are of one chip or pixel: what was counted before belongs to it.
function source_key(name) {
  if (!COUNTS.get(name).selected) return name;
  const {layer, chip, pixel} = stream.about("selection") ?? {};
  return `${name} ${layer} ${chip}${name.includes("pixel") ? ` ${pixel}` : ""}`;
}

function remember_baseline() {
  const parts = new Map();
  for (const source of COUNTS.values()) {
    if (source.of === "window") parts.set(source_key(source.name), stream.part(source.name, "run")?.columns);
  }
  baseline = {parts, seconds: stream.about("detector")?.seconds.run ?? 0};
}

// --- what is chosen here

function choose(name, value) {
  chosen[name] = value;
  if (by_id(name)?.tagName === "SELECT") by_id(name).value = value;
  const {window: _, ...rest} = chosen;
  try { localStorage.setItem("astropix", JSON.stringify(rest)); } catch { /* a browser that keeps nothing */ }
  if (["scale", "unit", "palette", "theme"].includes(name)) restyle();
  else fill_all();
}

async function restyle() {
  document.documentElement.dataset.theme = theme();
  await figures.load({scale: chosen.scale, unit: chosen.unit, theme: theme(), palette: chosen.palette});
  ready = true;
  fill_all();
}

function tapped(what, x, y) {
  const selection = stream.about("selection") ?? {layer: null, chip: 0};
  if (what === "pixel") {
    const {rows, columns} = stream.about("detector"), row = Math.round(y), column = Math.round(x);
    if (row < 0 || column < 0 || row >= rows || column >= columns) return;
    stream.select({layer: selection.layer, chip: selection.chip, row, column});
    return;
  }
  const tiles = stream.part("chips", "run").columns, chips = stream.about("detector").chips;
  const at = chips.findIndex((_, i) => x >= tiles.x[i] && x <= tiles.x[i] + tiles.w[i] && y >= tiles.y[i] && y <= tiles.text_y[i] + 0.2);
  if (at >= 0) stream.select({layer: chips[at].layer, chip: chips[at].chip});
}

// The middle of a chip's tile.
function tile(i) {
  const tiles = stream.part("chips", "run").columns;
  return [tiles.x[i] + tiles.w[i] / 2, tiles.y[i] + tiles.h[i] / 2];
}

// Chips by their names, too: for keyboards, and where 31 tiles are too small for a finger.
function show_chips() {
  const {chips} = stream.about("detector"), list = by_id("chip"), {layer, chip} = stream.about("selection");
  const names = chips.map((each) => each.name);
  if ([...list.options].map((each) => each.text).join() !== names.join()) {
    list.replaceChildren(...names.map((name, i) => new Option(name, i)));
  }
  list.selectedIndex = chips.findIndex((each) => each.layer === layer && each.chip === chip);
}
by_id("chip").addEventListener("change", () => {
  const {layer, chip} = stream.about("detector").chips[by_id("chip").selectedIndex];
  stream.select({layer, chip});
});

// From pixel to pixel with the arrows.
const STEPS = {ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1]};
by_id("map").addEventListener("keydown", (event) => {
  const step = STEPS[event.key], selection = stream.about("selection");
  if (!step || !selection) return;
  event.preventDefault();
  const {rows, columns} = stream.about("detector"), [row, column] = selection.pixel ?? [-step[0], -step[1]];
  const within = (value, most) => Math.min(Math.max(value, 0), most - 1);
  stream.select({
    layer: selection.layer, chip: selection.chip, row: within(row + step[0], rows), column: within(column + step[1], columns),
  });
});

for (const name of ["window", "unit", "scale", "range", "span", "palette"]) {
  by_id(name).value = chosen[name];
  by_id(name).addEventListener("change", (event) => choose(name, event.target.value));
}
by_id("reset").addEventListener("click", () => {
  remember_baseline();
  by_id("window").querySelector("[value=reset]").hidden = false;
  choose("window", "reset");
});
by_id("freeze").addEventListener("click", (event) => {
  frozen = !frozen;
  event.target.setAttribute("aria-pressed", frozen);
  event.target.textContent = frozen ? "go on" : "freeze";
  if (frozen) return head();
  arrived([...stream.latest.values()]);
});
// On a small screen, what is seldom wanted is behind a button.
by_id("more").addEventListener("click", (event) => {
  event.target.setAttribute("aria-expanded", event.target.getAttribute("aria-expanded") !== "true");
});
by_id("theme").addEventListener("click", () => choose("theme", theme() === "dark" ? "light" : "dark"));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { if (!chosen.theme) restyle(); });

Bokeh.set_log_level("error"); // a figure without data yet is nothing to tell anybody
restyle();
// For tests, and for who opens the browser's console.
window.astropix = {stream, figures, ready: () => ready, shown: (name) => shown(COUNTS.get(name)), tile};
