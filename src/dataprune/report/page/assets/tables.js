"use strict";
// Tables sort by a click on a heading; a search field filters the rows of its table by words that must all occur.
(function () {
  const number = (text) => {
    const found = text.replace(/,/g, "").replace("−", "-").match(/^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?/i);
    return found ? Number(found[0]) : NaN;
  };
  const sortBy = (table, column, heading) => {
    const body = table.tBodies[0], rising = heading.getAttribute("aria-sort") !== "ascending";
    const rows = Array.from(body.rows, (row) => ({ row, text: row.cells[column].textContent.trim() }));
    const numeric = rows.every((one) => one.text === "–" || !Number.isNaN(number(one.text)));
    const empty = (one) => one.text === "–" || one.text === "";
    rows.sort((a, b) => {
      if (empty(a) || empty(b)) return empty(a) - empty(b);
      const order = numeric ? number(a.text) - number(b.text) : a.text.localeCompare(b.text, undefined, { numeric: true });
      return rising ? order : -order;
    });
    for (const one of table.tHead.rows[0].cells) one.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", rising ? "ascending" : "descending");
    body.append(...rows.map((one) => one.row));
  };
  for (const table of document.querySelectorAll("table.sorts")) {
    Array.from(table.tHead.rows[0].cells).forEach((heading, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.className = "sort";
      button.append(...heading.childNodes);
      heading.append(button);
      button.addEventListener("click", () => sortBy(table, column, heading));
    });
  }
  for (const field of document.querySelectorAll("input[data-table]")) {
    const table = document.getElementById(field.dataset.table), count = document.getElementById("trial-count");
    const rows = Array.from(table.tBodies[0].rows);
    const texts = rows.map((row) => Array.from(row.cells, (cell) => cell.textContent).join(" ").toLowerCase());
    const filter = () => {
      const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
      let shown = 0;
      rows.forEach((row, place) => {
        row.hidden = !words.every((word) => texts[place].includes(word));
        shown += !row.hidden;
      });
      count.textContent = `${shown.toLocaleString("en")} of ${rows.length.toLocaleString("en")}`;
    };
    field.addEventListener("input", filter);
    filter();
  }
})();
