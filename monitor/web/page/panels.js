// Words and numbers beside the plots. What the stream says is text, never markup.

function element(tag, text = "", kind = "") {
  const made = document.createElement(tag);
  made.textContent = text;
  if (kind) made.className = kind;
  return made;
}

const time = (ns) => new Date(ns / 1e6).toISOString().slice(11, 19);

export function show_state(state, lost, frozen) {
  const pill = document.getElementById("state"), level = lost ? "bad" : frozen ? "warning" : state?.level ?? "";
  pill.textContent = lost ? "disconnected" : frozen ? "frozen" : state?.name ?? "waiting";
  pill.className = `pill ${level}`;
  if (!state) return;
  const run = state.run === null ? "no run yet" : `run ${state.run}${state.pass ? ` pass ${state.pass}` : ""}`;
  document.getElementById("run").textContent = [state.daq, run, state.elapsed].filter(Boolean).join(" · ");
  document.getElementById("comment").textContent = state.comment ? `“${state.comment}”` : "";
  document.getElementById("trouble").textContent = lost ? "no connection to the monitor: trying again" : state.trouble;
  document.title = `${state.name} ${state.run ?? ""} – AstroPix`;
}

export function show_tiles(tiles) {
  document.getElementById("tiles").replaceChildren(...tiles.map(([name, value, level]) => {
    const tile = element("div", "", `tile ${level}`);
    tile.dataset.name = name;
    tile.append(element("span", value, "value"), element("span", name, "name"));
    return tile;
  }));
}

export function show_groups(groups) {
  const place = document.getElementById("groups");
  const opened = new Map([...place.querySelectorAll("details")].map((each) => [each.dataset.name, each.open]));
  place.replaceChildren(...groups.map(({name, facts}) => {
    const card = element("details", "", "card"), table = element("table");
    card.dataset.name = name;
    card.open = opened.get(name) ?? matchMedia("(min-width: 701px)").matches;
    for (const [what, value, level] of facts) {
      const row = element("tr", "", level);
      row.append(element("th", what), element("td", value));
      table.append(row);
    }
    card.append(element("summary", name), table);
    return card;
  }));
}

export function show_log(lines) {
  const list = document.querySelector("#log .body"), at_end = list.scrollHeight - list.scrollTop - list.clientHeight < 20;
  list.replaceChildren(...lines.map(({t, level, text}) => {
    const line = element("li", "", level);
    line.append(element("time", time(t)), " ", element("b", level), " ", element("span", text));
    return line;
  }));
  if (!lines.length) list.append(element("li", "nothing so far", "quiet"));
  if (at_end) list.scrollTop = list.scrollHeight;
}

export function show_alarms({trouble, alarms}) {
  const body = document.querySelector("#alarms .body"), shown = [];
  if (trouble) shown.push(element("p", trouble, "quiet"));
  else if (!alarms.length) shown.push(element("p", "no alarms", "good"));
  for (const alarm of alarms) {
    const box = element("div", "", `alarm ${alarm.level}${alarm.acknowledged || alarm.silenced ? " calm" : ""}`);
    const marks = ["latched", "acknowledged", "silenced"].filter((mark) => alarm[mark]);
    box.append(element("b", `${alarm.level} ${alarm.id}`), element("p", alarm.text));
    box.append(element("p", `since ${time(alarm.since_ns)} UTC${marks.length ? ` · ${marks.join(", ")}` : ""}`, "quiet"));
    if (alarm.advice) box.append(element("p", alarm.advice, "advice"));
    shown.push(box);
  }
  body.replaceChildren(...shown);
}
