// The scale of a map: from which count to which its colours go, and what is said of it above the map.

const HIGH_SHARE = 0.98;
const FEWEST = 10;
const FAR = {linear: 3, log: 100};

// Counts that have hits, of all arrays: {low, high, beyond, most}. A few pixels that are far above all the others would
// leave one colour for those: they get a colour of their own, `beyond` tells how many, unless `full`. Healthy counts,
// also those of a beam spot, stay within a few times of what all but the highest 2 % have.
export function scale_of(arrays, log, full) {
  const counts = Float64Array.from(arrays.flatMap((values) => Array.from(values.filter((value) => value > 0)))).sort();
  const number = counts.length, most = number ? counts[number - 1] : 0;
  if (!number) return {low: log ? 1 : 0.5, high: log ? 10 : 1, beyond: 0, most};
  const limit = full || number < FEWEST ? Infinity : FAR[log ? "log" : "linear"] * counts[Math.floor(HIGH_SHARE * (number - 1))];
  let within = number;
  while (counts[within - 1] > limit) within -= 1;
  const low = log ? counts[0] : counts[0] / 2, high = counts[within - 1];
  return {low, high: high > low ? high : 2 * low, beyond: number - within, most};
}

const shortly = (value) => value >= 1000 || Number.isInteger(value) ? Math.round(value).toLocaleString("en").replaceAll(",", " ") : String(Number(value.toPrecision(3)));

// The legend of a map: `ramp` where the figure has no bar of its colours.
export function show_scale(place, {low, high, beyond, most}, {palette, over, ramp}) {
  const part = (kind) => place.querySelector(`.${kind}`);
  if (!place.firstChild) {
    for (const [kind, within] of [["low"], ["ramp"], ["high"], ["far"], ["over", "far"], ["beyond", "far"]]) {
      const made = document.createElement("span");
      made.className = kind;
      (within ? part(within) : place).append(made);
    }
    for (const kind of ["low", "ramp", "high"]) part(kind).hidden = !ramp;
    const steps = Array.from({length: 9}, (_, i) => palette[Math.round(i * (palette.length - 1) / 8)]);
    part("ramp").style.background = `linear-gradient(to right, ${steps.join()})`;
    part("over").style.background = over;
  }
  const say = (kind, text) => { if (part(kind).textContent !== text) part(kind).textContent = text; };
  say("low", most ? shortly(low) : "");
  say("high", most ? shortly(high) : "no hits");
  say("beyond", beyond ? `${beyond} ${beyond === 1 ? "pixel" : "pixels"} beyond ${shortly(high)}, up to ${shortly(most)}` : "");
  part("over").hidden = !beyond;
}
