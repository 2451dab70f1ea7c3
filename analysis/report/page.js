"use strict";
// Sorting, and boxes that say what a word means. Tables, pictures and the meanings at the end are there without it.
document.documentElement.classList.add("js");

// A heading becomes a button. A cell's number is in data-value; cells without one stay last.
for (const table of document.querySelectorAll("table")) {
  const heads = [...table.tHead.rows[0].cells];
  const body = table.tBodies[0];
  const first = [...body.rows];
  heads.forEach((head, i) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    head.setAttribute("aria-sort", "none");
    button.addEventListener("click", () => sort(head, i));
  });
  function sort(head, i) {
    const next = { none: "ascending", ascending: "descending", descending: "none" }[head.getAttribute("aria-sort")];
    heads.forEach((other) => other.setAttribute("aria-sort", other === head ? next : "none"));
    const turn = next === "descending" ? -1 : 1;
    const value = (row) => row.cells[i].dataset.value;
    const rows = next === "none" ? first : [...first].sort((a, b) => {
      const x = value(a), y = value(b);
      if (x === undefined && y === undefined) return turn * a.cells[i].textContent.localeCompare(b.cells[i].textContent);
      if (x === undefined || y === undefined) return x === undefined ? 1 : -1;
      return turn * (Number(x) - Number(y));
    });
    body.append(...rows);
    table.classList.toggle("sorted", next !== "none");
    const order = next === "none" ? "in its first order" : `sorted by ${head.textContent}, ${next}`;
    document.getElementById("said").textContent = `${table.caption.textContent}: ${order}`;
  }
}

// A box beside what it explains, on hover, focus and click; Escape and moving away close it.
let closing, open;
function openTip(anchor, tip) {
  clearTimeout(closing);
  document.querySelectorAll(".tip:popover-open").forEach((other) => other !== tip && other.hidePopover());
  if (!tip.matches(":popover-open")) tip.showPopover();
  open = { anchor, tip };
  placeTip();
}
function placeTip() {
  if (!open?.tip.matches(":popover-open")) return;
  const { anchor, tip } = open;
  const at = anchor.getBoundingClientRect(), size = tip.getBoundingClientRect();
  const below = at.bottom + 6 + size.height < innerHeight;
  tip.style.left = `${Math.max(8, Math.min(at.left, innerWidth - size.width - 8))}px`;
  tip.style.top = `${below ? at.bottom + 6 : Math.max(8, at.top - size.height - 6)}px`;
}
function closeTip(tip) {
  closing = setTimeout(() => tip.matches(":popover-open") && tip.hidePopover(), 150);
}
function explain(anchor, tip, fill = () => {}) {
  const show = () => { fill(tip); openTip(anchor, tip); };
  for (const event of ["mouseenter", "focus", "click"]) anchor.addEventListener(event, show);
  for (const event of ["mouseleave", "blur"]) anchor.addEventListener(event, () => closeTip(tip));
  anchor.addEventListener("keydown", (event) => event.key === "Escape" && tip.matches(":popover-open") && tip.hidePopover());
}
for (const tip of document.querySelectorAll(".tip")) {
  tip.addEventListener("mouseenter", () => clearTimeout(closing));
  tip.addEventListener("mouseleave", () => closeTip(tip));
}
for (const word of document.querySelectorAll(".term")) {
  const tip = document.getElementById(word.getAttribute("popovertarget"));
  word.removeAttribute("popovertarget"); // without a script a click opens it
  word.setAttribute("aria-describedby", tip.id);
  tip.setAttribute("popover", "manual");
  explain(word, tip);
}
addEventListener("scroll", placeTip, true);
