// Bokeh's figures: put into their cards in the style that is asked for, and filled with the latest columns.

import {scale_of, show_scale} from "./colours.js";

export class Figures {
  constructor(plots, place, tapped) {
    this._plots = plots;
    this._tapped = tapped;
    this._sources = new Map();
    this._mappers = new Map();
    this._loading = Promise.resolve();
    for (const plot of plots) place.append(card(plot));
  }

  // Figures in another style; those there are stay until the new ones are here.
  load(style) {
    this._wanted = style;
    this._loading = this._loading.then(() => style === this._wanted && this._load(style));
    return this._loading;
  }

  async _load(style) {
    const answer = await fetch(`figures.json?${new URLSearchParams(style)}`);
    if (!answer.ok) throw new Error(await answer.text());
    const items = await answer.json();
    this._views?.forEach((view) => view.clear());
    for (const doc of this._documents ?? []) forget(doc);
    this._documents = [];
    this._sources.clear();
    this._mappers.clear();
    this._views = [];
    this._figures = new Map();
    for (const item of items) {
      document.getElementById(item.target_id).replaceChildren();
      const views = await Bokeh.embed.embed_item(item);
      this._views.push(views);
      for (const root of views.roots ?? views) this._documents.push(root.model.document);
      for (const root of views.roots ?? views) this._take(root.model.document, style, item.target_id);
      this._figures.set(item.target_id, views.roots?.[0] ?? views[0]);
    }
    this.style = style;
  }

  _take(doc, style, name) {
    for (const model of doc._all_models.values()) {
      if (model.type === "ColumnDataSource" && model.name) this._sources.set(model.name, model);
      else if (model.name?.endsWith(":colours")) this._mappers.set(model.name, mapper(model, style, legend(name), doc));
      const tap = model.tags?.find?.((tag) => typeof tag === "string" && tag.startsWith("tap:"));
      if (tap) model.on_event("tap", (event) => this._tapped(tap.slice(4), event.x, event.y));
      if (model.type === "BoxZoomTool" && matchMedia("(pointer: coarse)").matches) model.active = false;
    }
  }

  // Where a point of a figure is in the window, in pixels.
  position(name, x, y) {
    const view = this._figures.get(name), box = view.el.getBoundingClientRect();
    return {x: box.x + view.frame.x_scale.compute(x), y: box.y + view.frame.y_scale.compute(y)};
  }

  // Fill a source with columns; those of three dimensions are images. `full`: the colours go as far as the counts do.
  fill(name, columns, full) {
    const source = this._sources.get(name);
    if (!source) return;
    const data = {};
    for (const [column, values] of Object.entries(columns)) data[column] = values.shape?.length === 3 ? images(values) : values;
    const mapper = this._mappers.get(`${name}:colours`);
    if (mapper) span_colours(mapper, Object.values(columns).filter((values) => values.shape?.length === 3), full);
    source.data = data;
  }
}

// BokehJS keeps every document that it was ever given.
function forget(doc) {
  const at = Bokeh.documents.indexOf(doc);
  if (at >= 0) Bokeh.documents.splice(at, 1);
}

function card(plot) {
  const article = document.createElement("article"), title = document.createElement("h2"), body = document.createElement("div");
  article.className = `card plot ${plot.size}`;
  title.textContent = plot.title;
  title.dataset.title = plot.title;
  title.dataset.about = plot.about;
  body.id = plot.name;
  body.className = "body";
  article.setAttribute("aria-label", plot.title);
  if (plot.name === "map") {
    body.tabIndex = 0;
    body.setAttribute("role", "group");
    body.setAttribute("aria-label", "hit map of the chip: arrows go from pixel to pixel");
  }
  article.append(title, body);
  return article;
}

function images(values) {
  const [count, rows, columns] = values.shape, made = [];
  const {ndarray} = Bokeh.require("core/util/ndarray");
  for (let i = 0; i < count; i++) {
    const pixels = Float64Array.from(values.subarray(i * rows * columns, (i + 1) * rows * columns));
    made.push(ndarray(pixels, {dtype: "float64", shape: [rows, columns]}));
  }
  return made;
}

// The line above a figure that tells of its colours.
function legend(name) {
  const body = document.getElementById(name), before = body.previousElementSibling;
  const place = before?.className === "legend" ? before : document.createElement("p");
  place.className = "legend";
  place.replaceChildren();
  if (place !== before) body.before(place);
  return place;
}

function mapper(model, style, place, doc) {
  const ramp = ![...doc._all_models.values()].some((each) => each.type === "ColorBar");
  return {model, place, log: style.scale === "log", colours: {palette: model.palette, over: model.high_color, ramp}};
}

function span_colours({model, place, log, colours}, arrays, full) {
  const scale = scale_of(arrays, log, full), {low, high} = scale;
  if (model.low !== low || model.high !== high) model.setv({low, high});
  show_scale(place, scale, colours);
}
