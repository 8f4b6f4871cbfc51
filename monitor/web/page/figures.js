// Bokeh's figures: put into their cards in the style that is asked for, and filled with the latest columns.

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
    this._sources.clear();
    this._mappers.clear();
    this._views = [];
    this._figures = new Map();
    for (const item of items) {
      document.getElementById(item.target_id).replaceChildren();
      const views = await Bokeh.embed.embed_item(item);
      this._views.push(views);
      for (const root of views.roots ?? views) this._take(root.model.document, style);
      this._figures.set(item.target_id, views.roots?.[0] ?? views[0]);
    }
    this.style = style;
  }

  _take(doc, style) {
    for (const model of doc._all_models.values()) {
      if (model.type === "ColumnDataSource" && model.name) this._sources.set(model.name, model);
      else if (model.name?.endsWith(":colours")) this._mappers.set(model.name, {model, log: style.scale === "log"});
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

  // Fill a source with columns; those of three dimensions are images.
  fill(name, columns) {
    const source = this._sources.get(name);
    if (!source) return;
    const data = {};
    for (const [column, values] of Object.entries(columns)) data[column] = values.shape?.length === 3 ? images(values) : values;
    const mapper = this._mappers.get(`${name}:colours`);
    if (mapper) span_colours(mapper, Object.values(columns).filter((values) => values.shape?.length === 3));
    source.data = data;
  }
}

function card(plot) {
  const article = document.createElement("article"), title = document.createElement("h2"), body = document.createElement("div");
  article.className = `card plot ${plot.size}`;
  title.textContent = plot.title;
  title.dataset.title = plot.title;
  title.dataset.about = plot.about;
  body.id = plot.name;
  body.className = "body";
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

// From nothing (or the least there is, where logarithmic) to the most there is.
function span_colours({model, log}, arrays) {
  let most = 0, least = Infinity;
  for (const values of arrays) for (const value of values) {
    if (value > most) most = value;
    if (value > 0 && value < least) least = value;
  }
  const low = log ? Math.min(least, most || 1) : Math.min(least, most || 1) / 2;
  const high = most > low ? most : 2 * low;
  if (model.low !== low || model.high !== high) model.setv({low, high});
}
