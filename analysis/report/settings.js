"use strict";
// Settings tried: validation score over one or two of them (learning rate × rank, say), a panel per method and block.
const keysOf = (runs) => [...new Set(runs.flatMap((run) => Object.keys(run.keys)))]
  .filter((key) => new Set(runs.map((run) => run.keys[key])).size > 1);
const brief = (key) => key.split(".").at(-1);

// Colours go by rank: one setting that fell apart does not make all others alike.
function scaleOf(runs) {
  const different = new Set(runs.map((run) => run.score)).size;
  return { type: "quantile", n: Math.max(2, Math.min(7, different)), scheme: "viridis", label: "validation score", legend: true };
}

function settingsPanel(runs, width) {
  const [x, y] = keysOf(runs);
  const at = (key) => (run) => run.keys[key];
  const whole = runs.filter((run) => run.score !== null);
  const told = (run) => (run.score === null ? "failed" : show(run.score));
  const named = (run) => `${Object.entries(run.keys).map(([key, value]) => `${brief(key)} ${value}`).join(", ")}: ${told(run)}`;
  const common = { width, marginLeft: 60, style: { background: "none", fontSize: "12px" } };
  const heat = () => Plot.plot({
    ...common, height: 60 + 44 * new Set(runs.map(at(y))).size, color: scaleOf(runs),
    x: { label: brief(x) }, y: { label: brief(y), reverse: true },
    marks: [
      Plot.cell(whole, { x: at(x), y: at(y), fill: "score", inset: 1 }),
      Plot.text(runs, { x: at(x), y: at(y), text: told, fill: "currentColor", stroke: "var(--page)", strokeWidth: 4 }),
    ],
  });
  const line = () => Plot.plot({
    ...common, height: 240, inset: 14, y: { label: "validation score", grid: true },
    x: { type: runs.every((run) => run.keys[x] > 0) ? "log" : "linear", ticks: 5, tickFormat: "~g", label: brief(x) },
    marks: [Plot.lineY(d3.sort(whole, at(x)), { x: at(x), y: "score", marker: true, stroke: "var(--link)" })],
  });
  const drawn = y ? heat() : line();
  const svg = drawn.matches("svg") ? drawn : drawn.querySelector(":scope > svg");
  readable(svg);
  svg.setAttribute("aria-label", runs.map(named).join("; "));
  svg.setAttribute("role", "img");
  return make("figure", {}, make("figcaption", {}, `${runs[0].method}, ${runs[0].block}`), drawn);
}

function settings(place) {
  const tried = d3.groups(data.settings, (run) => `${run.method}\n${run.block}`).map(([, runs]) => runs);
  const groups = tried.filter((runs) => keysOf(runs).length);
  if (!groups.length) return;
  place.hidden = false;
  const panels = make("div", { class: "panels" });
  const lead = "Mean validation score of each setting; no test score is in it.";
  place.append(make("h2", {}, "Settings tried"), make("p", { class: "lead" }, lead), panels);
  const width = Math.min(place.clientWidth, 420);
  panels.append(...groups.map((runs) => settingsPanel(runs, width)));
}
settings(document.getElementById("settings"));
