// Words and numbers beside the plots. What the stream says is text, never markup.

function element(tag, text = "", kind = "") {
  const made = document.createElement(tag);
  made.textContent = text;
  if (kind) made.className = kind;
  return made;
}

const time = (ns) => new Date(ns / 1e6).toISOString().slice(11, 19);

function say(place, text) { if (place.textContent !== text) place.textContent = text; }
function look(place, kind) { if (place.className !== kind) place.className = kind; }

// One element for each item, by its key, in the order of the items. Those that are there stay, and only what differs is
// changed: who reads, selects or has the focus there five times a second is not disturbed.
function keep(place, items, key_of, make, update) {
  const there = new Map([...place.children].map((each) => [each.dataset.key, each])), seen = new Map();
  items.forEach((item, at) => {
    const name = key_of(item), number = seen.get(name) ?? 0, key = `${name}\n${number}`;
    seen.set(name, number + 1);
    const one = there.get(key) ?? make(item);
    there.delete(key);
    one.dataset.key = key;
    if (place.children[at] !== one) place.insertBefore(one, place.children[at] ?? null);
    update(one, item);
  });
  for (const each of there.values()) each.remove();
}

export function show_state(state, {lost, lost_since, frozen, alarms}) {
  const pill = document.getElementById("state");
  const calm = frozen && state?.level !== "bad";
  say(pill, lost ? "disconnected" : calm ? "frozen" : state?.name ?? "waiting");
  look(pill, `pill ${lost ? "bad" : calm ? "warning" : state?.level ?? ""}`);
  if (!state) return;
  const run = state.run === null ? "no run yet" : `run ${state.run}${state.pass ? ` pass ${state.pass}` : ""}`;
  say(document.getElementById("run"), [state.daq, run, state.elapsed].filter(Boolean).join(" · "));
  say(document.getElementById("comment"), state.comment ? `“${state.comment}”` : "");
  const trouble = lost ? `no connection to the monitor since ${lost_since} UTC: trying again` : state.trouble;
  say(document.getElementById("trouble"), trouble);
  const title = `${alarms ? `${alarms} · ` : ""}${lost ? "disconnected" : state.name} ${state.run ?? ""} – AstroPix`;
  if (document.title !== title) document.title = title;
}

export function show_tiles(tiles) {
  const make = ([name]) => {
    const tile = element("div");
    tile.dataset.name = name;
    tile.append(element("span", "", "value"), element("span", name, "name"));
    return tile;
  };
  keep(document.getElementById("tiles"), tiles, ([name]) => name, make, (tile, [, value, level]) => {
    look(tile, `tile ${level}`);
    say(tile.firstChild, value);
  });
}

export function show_groups(groups) {
  const make = ({name}) => {
    const card = element("details", "", "card");
    card.open = matchMedia("(min-width: 701px)").matches;
    const table = element("table");
    table.setAttribute("role", "table"); // rows are laid out as what they are not
    card.append(element("summary", name), table);
    return card;
  };
  const make_row = ([what]) => {
    const row = element("tr"), head = element("th", what), cell = element("td");
    for (const [part, role] of [[row, "row"], [head, "rowheader"], [cell, "cell"]]) part.setAttribute("role", role);
    row.append(head, cell);
    return row;
  };
  keep(document.getElementById("groups"), groups, ({name}) => name, make, (card, {facts}) => {
    keep(card.lastChild, facts, ([what]) => what, make_row, (row, [, value, level]) => {
      look(row, level);
      say(row.lastChild, value);
    });
  });
}

export function show_log(lines) {
  const list = document.querySelector("#log .body"), at_end = list.scrollHeight - list.scrollTop - list.clientHeight < 20;
  const items = lines.length ? lines : [{t: 0, level: "", text: "nothing so far"}];
  const make = ({t, level, text}) => {
    const line = element("li", "", level || "quiet");
    if (t) line.append(element("time", time(t)), " ", element("b", level), " ");
    line.append(element("span", text));
    return line;
  };
  keep(list, items, ({t, level, text}) => `${t} ${level} ${text}`, make, () => {});
  if (at_end) list.scrollTop = list.scrollHeight;
}

// "1 critical, 2 warnings": alarms that are on and that nobody has acknowledged; empty where there are none.
export function alarms_in_short({alarms}) {
  const open = (level) => alarms.filter((alarm) => !alarm.acknowledged && alarm.level === level).length;
  const critical = open("critical"), warnings = open("warning");
  return [critical && `${critical} critical`, warnings && `${warnings} ${warnings === 1 ? "warning" : "warnings"}`].filter(Boolean).join(", ");
}

// `act(command, id)` does what an operator has asked for, and gives the answer in words; null: nobody may ask.
export function show_alarms({trouble, alarms}, act) {
  const said = document.querySelector("#alarms .said"), badge = document.getElementById("badge");
  const short = alarms_in_short({alarms});
  say(badge, short);
  look(badge, `pill ${short.includes("critical") ? "bad" : "warning"}`);
  badge.hidden = !short;
  // The worst come first. Who passes by reads what it is, not only that there is something.
  const worst = document.getElementById("worst"), first = alarms.find((alarm) => !alarm.acknowledged && alarm.level !== "ok");
  worst.hidden = !first;
  say(worst, first ? `${first.id}: ${first.text} → ${first.advice}` : "");
  say(said, trouble || (alarms.length ? "" : "no alarms"));
  look(said, `said ${trouble ? "quiet" : "good"}`);
  keep(document.querySelector("#alarms .body"), alarms, ({id}) => id, (alarm) => alarm_box(alarm, act), update_alarm);
}

function alarm_box({id}, act) {
  const box = element("div");
  box.append(element("b"), element("p", "", "text"), element("p", "", "quiet"), element("p", "", "advice"));
  if (act) {
    const row = element("p", "", "actions"), answer = element("span", "", "quiet");
    answer.setAttribute("role", "status");
    for (const [command, text] of [["ack", "acknowledge"], ["silence", "silence for 1 h"], ["unsilence", "call again"]]) {
      const button = element("button", text, command);
      button.type = "button";
      button.setAttribute("aria-label", `${text}: ${id}`);
      button.addEventListener("click", async () => {
        say(answer, "…");
        say(answer, await act(command, id));
      });
      row.append(button, " ");
    }
    row.append(answer);
    box.append(row);
  }
  return box;
}

function update_alarm(box, alarm) {
  const [head, text, since, advice] = box.children;
  look(box, `alarm ${alarm.level}${alarm.acknowledged || alarm.silenced ? " calm" : ""}`);
  const marks = ["latched", "acknowledged", "silenced"].filter((mark) => alarm[mark]);
  say(head, `${alarm.level === "ok" ? `over (was ${alarm.worst})` : alarm.level} ${alarm.id}`);
  say(text, alarm.figures ? `${alarm.text} [${alarm.figures}]` : alarm.text);
  say(since, `since ${time(alarm.since_ns)} UTC${marks.length ? ` · ${marks.join(", ")}` : ""}`);
  say(advice, alarm.advice);
  for (const button of box.querySelectorAll("button")) {
    button.hidden = {ack: alarm.acknowledged, silence: alarm.silenced, unsilence: !alarm.silenced}[button.className];
  }
}
