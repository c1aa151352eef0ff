"use strict";
// Lists of examples that a person asks for: the ends of a score, a cell of the confusion matrix, an id; copies to drop.
(function () {
  if (!page.book) return;
  const { data, x, cards, book } = page, { byId } = parts, own = x.id.map((_, e) => e).filter((e) => !x.split[e]);
  const score = byId("gallery-score"), ofClass = byId("gallery-class"), SHOWN = 24;
  // The ends of all examples and of each class are among those that the page knows.
  const show = () => {
    const values = x.rank[score.value], exact = x.values[score.value], turned = data.harder[score.value], c = Number(ofClass ? ofClass.value : -1);
    const found = own.filter((e) => c < 0 || x.label[e] === c).sort((a, b) => turned * (exact[b] - exact[a]) || values[b] - values[a] || a - b);
    cards(byId("gallery-hardest"), found.slice(0, SHOWN));
    cards(byId("gallery-easiest"), found.slice(-SHOWN).reverse());
  };
  for (const field of [score, ofClass]) if (field) field.addEventListener("change", show);
  show();

  byId("confusion-table").addEventListener("click", (event) => {
    const cell = event.target.closest("button[data-cell]");
    if (!cell) return;
    const [given, to] = cell.dataset.cell.split(",").map(Number), found = own.filter((e) => x.label[e] === given && x.top[e][0] === to).sort((a, b) => x.p[b][0] - x.p[a][0]);
    byId("confusion-said").textContent = `${data.classes[given]} predicted as ${data.classes[to]}: ${cell.textContent}, ${found.length ? `${found.length} of them on this page` : "none of them on this page"}.`;
    cards(byId("confusion-cards"), found.slice(0, 60));
  });

  byId("search").addEventListener("input", (event) => {
    const text = event.target.value.trim().toLowerCase(), found = text ? own.filter((e) => x.id[e].toLowerCase().includes(text)) : [];
    byId("search-said").textContent = text ? `${parts.whole(found.length)} of the ${parts.whole(own.length)} examples on this page` : "";
    cards(byId("search-cards"), found.slice(0, 24));
  });

  const copies = byId("drop-copies");
  if (copies) copies.addEventListener("click", () => { byId("copies-told").textContent = book.decideMany([...new Set(Object.values(data.twins).flat())].filter((e) => data.copies.includes(e)), "drop"); });
})();
