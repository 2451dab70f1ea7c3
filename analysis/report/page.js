"use strict";
// Sorting only: the page says everything without it. A cell's number is in data-value; cells without one stay last.
for (const table of document.querySelectorAll("table")) {
  const heads = [...table.tHead.rows[0].cells];
  const body = table.tBodies[0];
  const first = [...body.rows];
  heads.forEach((head, i) => head.querySelector("button").addEventListener("click", () => {
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
  }));
}
