"use strict";
// Score against cost, drawn by Observable Plot from the page's one block of data. It replaces the static picture.
const data = JSON.parse(document.getElementById("data").textContent);
const SYMBOLS = ["Circle", "Square", "Triangle", "Diamond", "Wye", "Cross", "Star", "Times", "Plus", "Asterisk"]
  .map((name) => d3[`symbol${name}`]);
const ORDER = new Map(data.methods.map((method, i) => [method.name, i]));
const colourOf = (name) => data.methods[ORDER.get(name)].colour;
const symbolOf = (name) => SYMBOLS[ORDER.get(name) % SYMBOLS.length];
const show = d3.format(",.4~r");

function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

function choice(label, options, value) {
  const select = make("select", {}, ...options.map(([key, text]) => make("option", { value: key }, text)));
  select.value = value;
  return { select, box: make("label", {}, label, " ", select) };
}

// The paired value of a method beside the control's, over the seeds that both have: a difference of scores, a ratio of costs.
function beside(value, base, isScore) {
  const seeds = Object.keys(value.seeds).filter((seed) => seed in base.seeds);
  const pairs = seeds.map((seed) => (isScore ? value.seeds[seed] - base.seeds[seed] : value.seeds[seed] / base.seeds[seed]));
  if (!pairs.length || !pairs.every(Number.isFinite)) return null;
  const mean = isScore ? d3.mean(pairs) : Math.exp(d3.mean(pairs, Math.log));
  const [low, high] = pairs.length < 3 ? [null, null] : d3.extent(pairs);
  return { mean, low, high, n: pairs.length };
}

function measured(point, key, control) {
  const value = point.values[key];
  if (!value || !control) return value;
  const other = data.points.find((p) => p.block === point.block && p.method === control);
  return other?.values[key] ? beside(value, other.values[key], key === "shown") : null;
}

const columnOf = (key) => data.columns.find((column) => column.key === key);
function labelOf(key, block, control) {
  const column = columnOf(key), name = key === "shown" ? block.score : column.label;
  if (control) return key === "shown" ? `${name}, difference to ${control}` : `${name}, × ${control}`;
  return key !== "shown" && column.unit ? `${name} (${column.unit})` : name;
}
const betterOf = (key, block) => (key === "shown" ? block.better : columnOf(key).better);

// The methods that no other one beats in both.
function frontOf(points, x, y) {
  const sign = (way) => (way === "max" ? 1 : -1);
  const wins = (a, b) => sign(x) * (a.x.mean - b.x.mean) >= 0 && sign(y) * (a.y.mean - b.y.mean) >= 0
    && (a.x.mean !== b.x.mean || a.y.mean !== b.y.mean);
  return points.filter((p) => !points.some((q) => wins(q, p))).sort((a, b) => a.x.mean - b.x.mean);
}

function said(p, block, state) {
  const range = (v) => (v.low === null ? "" : ` [${show(v.low)}, ${show(v.high)}]`);
  const line = (key, v) => `${labelOf(key, block, state.control)} ${show(v.mean)}${range(v)}`;
  return [line(state.y, p.y), line(state.x, p.x), `${p.y.n} seeds`];
}

function panel(block, state, width) {
  const points = data.points
    .filter((p) => p.block === block.name && !state.hidden.has(p.method))
    .map((p) => ({ method: p.method, x: measured(p, state.x, state.control), y: measured(p, state.y, state.control) }))
    .filter((p) => p.x && p.y);
  const ends = points.flatMap((p) => [p.x.mean, p.x.low ?? p.x.mean, p.x.high ?? p.x.mean]).filter((v) => v > 0);
  const wide = columnOf(state.x).unit === "" && state.x !== "shown" && d3.max(ends) > 30 * d3.min(ends);
  const up = betterOf(state.y, block) === "min";
  const ranged = (side) => points.filter((p) => p[side].low !== null && p[side].low < p[side].high);
  const front = frontOf(points, betterOf(state.x, block), betterOf(state.y, block));
  const middle = { x: (p) => p.x.mean, y: (p) => p.y.mean };
  const colour = (p) => colourOf(p.method);
  const svg = Plot.plot({
    width, height: 290, marginLeft: 56, marginBottom: 40, inset: 22, style: { background: "none", fontSize: "12px" },
    ariaLabel: `${block.name}: ${labelOf(state.y, block, state.control)} against ${labelOf(state.x, block, state.control)}`,
    x: { type: wide ? "log" : "linear", grid: true, ticks: 5, tickFormat: "~s", label: labelOf(state.x, block, state.control) },
    y: { grid: true, ticks: 6, reverse: up, label: labelOf(state.y, block, state.control) },
    symbol: { type: "identity" }, color: { type: "identity" },
    marks: [
      Plot.line(front, { ...middle, curve: "step-after", stroke: "currentColor", strokeOpacity: 0.45, strokeDasharray: "4 3" }),
      Plot.ruleY(ranged("x"), { y: (p) => p.y.mean, x1: (p) => p.x.low, x2: (p) => p.x.high, stroke: colour, strokeWidth: 1.5 }),
      Plot.ruleX(ranged("y"), { x: (p) => p.x.mean, y1: (p) => p.y.low, y2: (p) => p.y.high, stroke: colour, strokeWidth: 1.5 }),
      Plot.dot(points, { ...middle, fill: colour, stroke: colour, symbol: (p) => symbolOf(p.method), r: 5 }),
    ],
  });
  readable(svg);
  nameDots(svg, points, width);
  svg.querySelectorAll("g[aria-label=dot] > *").forEach((dot, i) => {
    const { method } = points[i], lines = said(points[i], block, state), name = `${method}: ${lines.join("; ")}`;
    for (const [key, value] of [["tabindex", "0"], ["role", "img"], ["aria-label", name]]) dot.setAttribute(key, value);
    const told = [make("b", {}, method), ...lines.flatMap((line) => [make("br"), line])];
    explain(dot, document.getElementById("tip"), (tip) => tip.replaceChildren(...told));
  });
  return make("figure", {}, make("figcaption", {}, block.name), points.length ? svg : "no finished run has both");
}

// Plot names groups of marks for itself. A screen reader gets the picture's name and, in it, the dots.
function readable(svg) {
  svg.setAttribute("role", "group");
  for (const group of svg.querySelectorAll("g[aria-label]")) {
    if (group.getAttribute("aria-label") === "dot") group.setAttribute("role", "group");
    else { group.removeAttribute("aria-label"); group.setAttribute("aria-hidden", "true"); }
  }
}

// A name beside each dot, on the first side where it covers no dot and no other name; where none is free there is no name.
function nameDots(svg, points, width) {
  if (!points.length) return;
  const across = svg.scale("x").apply, up = svg.scale("y").apply;
  const at = points.map((p) => [across(p.x.mean), up(p.y.mean)]);
  const taken = at.map(([x, y]) => [x - 7, y - 7, x + 7, y + 7]);
  points.forEach((p, i) => {
    if (p.x.low !== null) taken.push([across(p.x.low), at[i][1] - 1, across(p.x.high), at[i][1] + 1]);
    const [top, bottom] = p.y.low === null ? [] : d3.extent([up(p.y.low), up(p.y.high)]);
    if (p.y.low !== null) taken.push([at[i][0] - 1, top, at[i][0] + 1, bottom]);
  });
  const free = ([a, b, c, d]) => a > 50 && c < width && !taken.some(([e, f, g, h]) => a < g && e < c && b < h && f < d);
  points.forEach((p, i) => {
    const [x, y] = at[i], w = 6.6 * p.method.length;
    const beside = [["start", x + 9, y - 9], ["end", x - 9, y - 9], ["start", x + 9, y + 16], ["end", x - 9, y + 16]];
    const sides = [...beside, ["middle", x, y - 22], ["middle", x, y + 30]];
    for (const [anchor, left, base] of sides) {
      const from = left - { start: 0, end: w, middle: w / 2 }[anchor];
      const box = [from, base - 10, from + w, base + 3];
      if (!free(box)) continue;
      taken.push(box);
      d3.select(svg).append("text").attr("x", left).attr("y", base).attr("text-anchor", anchor).attr("fill", "currentColor").text(p.method);
      return;
    }
  });
}

function legend(state, draw) {
  const swatch = (name) => {
    const shape = d3.symbol(symbolOf(name), 70)();
    const svg = d3.create("svg").attr("viewBox", "-8 -8 16 16").attr("width", 16).attr("height", 16).attr("aria-hidden", "true");
    svg.append("path").attr("d", shape).attr("fill", colourOf(name)).attr("stroke", colourOf(name));
    return svg.node();
  };
  return make("fieldset", {}, make("legend", {}, "Methods"), ...data.methods.map(({ name }) => {
    const box = make("input", { type: "checkbox", checked: "" });
    box.addEventListener("change", () => { state.hidden[box.checked ? "delete" : "add"](name); draw(); });
    return make("label", {}, box, swatch(name), name);
  }));
}

function chart(place) {
  const state = { x: data.columns[1].key, y: "shown", control: "", hidden: new Set() };
  const axes = data.columns.map(({ key, label }) => [key, label]);
  const controls = ["", ...data.methods.map(({ name }) => name)].map((name) => [name, name ? `relative to ${name}` : "as measured"]);
  const panels = make("div", { class: "panels" });
  const draw = () => {
    const room = place.clientWidth, columns = Math.max(1, Math.min(data.blocks.length, Math.floor((room + 16) / 340)));
    panels.replaceChildren(...data.blocks.map((block) => panel(block, state, Math.floor((room - 16 * (columns - 1)) / columns))));
  };
  const pick = (key, label, options) => {
    const { select, box } = choice(label, options, state[key]);
    select.addEventListener("change", () => { state[key] = select.value; draw(); });
    return box;
  };
  place.append(
    make("div", { class: "controls" }, pick("y", "Up", axes), pick("x", "Across", axes), pick("control", "Shown", controls)),
    panels,
    legend(state, draw),
    make("p", { class: "note" }, "Up is better. Bars: lowest to highest seed, from three on. Dashed: the front of what is shown. ",
      "A dot's numbers show on hover and on focus."),
  );
  place.hidden = false;
  document.querySelector("figure.static").classList.add("replaced");
  draw();
  let last = place.clientWidth;
  addEventListener("resize", () => { if (place.clientWidth !== last) { last = place.clientWidth; draw(); } });
}

if (data.columns.length > 1) chart(document.getElementById("chart"));
