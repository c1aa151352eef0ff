"use strict";
// The book of a page: what stands in it as JSON. Decisions stay in the browser until they are saved as a file.
const page = (function () {
  const data = JSON.parse(document.getElementById("data").textContent);
  if (!data.examples) return { data };
  const { make, byId } = parts, x = data.examples, settings = byId("settings").dataset, key = `dataprune-review:${data.key}`;
  document.body.dataset.side = settings.side;
  const suspects = new Map(data.suspects.map((one) => [one.e, one])), heard = new Set(), decided = new Map(), steps = [];
  const place = new Map(x.id.map((id, e) => [`${x.split[e]}\n${id}`, e]));
  const item = (e, isAlone = false) => {
    const one = suspects.get(e), of = (values) => Object.fromEntries(Object.entries(values).map(([name, list]) => [name, list[e]]));
    return { e, name: x.name[e], label: x.label[e], split: x.split[e], top: x.top[e], p: x.p[e], text: x.text[e], values: of(x.values), rank: of(x.rank),
      to: one ? one.to : -1, said: one ? one.said : "", why: one ? one.why : "", near: [], twins: isAlone ? [] : (data.twins[e] || []).map((one) => item(one, true)) };
  };
  const fill = (spot, e) => {
    const made = x.picture[e] ? make("img", { className: settings.side, alt: `${x.name[e]}, labelled ${x.given[e]}`, src: `data:image/webp;base64,${x.picture[e]}` })
      : make("span", { className: x.text[e] ? "text" : "none", text: x.text[e] || (settings.pictures !== "1" ? "details" : settings.missing === "1" ? "no picture: the data were not found" : "picture not embedded") });
    spot.replaceChildren(made);
  };
  // Pictures are decoded when they come near the window.
  const waiting = new IntersectionObserver((seen) => {
    for (const one of seen) if (one.isIntersecting) { waiting.unobserve(one.target); fill(one.target, Number(one.target.dataset.e)); }
  }, { rootMargin: "600px" });
  const picture = (spot, e) => { spot.dataset.e = e; waiting.observe(spot); };

  const warn = () => { const warning = byId("review-warning"); if (warning) warning.hidden = false; };
  const store = () => {
    try { localStorage.setItem(key, JSON.stringify(Array.from(decided, ([e, one]) => [x.id[e], one.choice, one.as < 0 ? "" : data.names[one.as], x.split[e]]))); } catch { warn(); }
  };
  for (const [e, choice, as] of data.decided) decided.set(e, { choice, as });
  try {
    const kept = localStorage.getItem(key);
    if (kept !== null) decided.clear();
    for (const [id, choice, label, split = ""] of JSON.parse(kept || "[]")) {
      const e = place.get(`${split}\n${id}`), as = choice === "relabel" ? data.names.indexOf(label) : -1;
      if (e !== undefined && ["keep", "drop", "relabel"].includes(choice) && (choice !== "relabel" || as >= 0)) decided.set(e, { choice, as });
    }
  } catch { warn(); }
  const put = (changes) => {
    for (const [e, one] of changes) if (one) decided.set(e, one); else decided.delete(e);
    store();
    for (const one of heard) one(changes.map(([e]) => e));
  };
  const book = {
    names: data.classes, heard, fill,
    item: async (e) => item(e),
    decision: (e) => decided.get(e) || null,
    decide: async (list, choice, as = null) => {
      const label = (e) => choice !== "relabel" ? -1 : as === null ? (suspects.has(e) ? suspects.get(e).to : -1) : as;
      const changes = list.filter((e) => choice !== "relabel" || label(e) >= 0).map((e) => [e, choice ? { choice, as: label(e) } : null]);
      if (changes.length) steps.push(changes.map(([e]) => [e, decided.get(e) || null]));
      put(changes);
    },
    // What is decided already is left alone; the words say so.
    decideMany: (list, choice) => {
      const free = list.filter((e) => !decided.has(e));
      book.decide(free, choice);
      return parts.settled(free.length, list.length - free.length, choice);
    },
    undo: async () => { const back = steps.pop(); if (!back || !back.length) return null; put(back); return back[0][0]; },
  };
  const view = viewer(book);

  const card = (e) => {
    const made = byId("card").content.firstElementChild.cloneNode(true);
    made.querySelector(".label").textContent = x.given[e];
    made.querySelector(".name").textContent = x.name[e];
    made.querySelector(".see .unseen").textContent = `Details of ${x.name[e]}`;
    parts.bars(made.querySelector(".bars"), item(e, true), data.classes);
    picture(made.querySelector(".pic"), e);
    made.querySelector(".see").dataset.e = e;
    mark(made.querySelector(".see"));
    return made;
  };
  const mark = (see) => {
    const made = decided.get(Number(see.dataset.e));
    if (made) see.dataset.decision = parts.words(made, data.classes); else delete see.dataset.decision;
  };
  heard.add(() => { for (const see of document.querySelectorAll("button.see[data-e]")) mark(see); });
  const cards = (list, examples) => list.replaceChildren(...examples.map(card));
  const open = (e, among = [e]) => view.open(Math.max(0, among.indexOf(e)), { n: among.length, at: (i) => among[i], find: (one) => among.indexOf(one) });
  document.addEventListener("click", (event) => {
    const button = event.target.closest("button.see[data-e]");
    if (!button) return;
    const list = button.closest("ul, ol");
    open(Number(button.dataset.e), Array.from(list.querySelectorAll("button.see[data-e]"), (one) => Number(one.dataset.e)));
  });
  for (const button of document.querySelectorAll("button.see[data-e]")) { picture(button.querySelector(".pic"), Number(button.dataset.e)); mark(button); }
  window.addEventListener("beforeprint", () => {
    for (const spot of document.querySelectorAll(".pic[data-e]:empty")) fill(spot, Number(spot.dataset.e));
  });
  return { data, x, book, item, suspects, decided, card, cards, picture, open };
})();
// Values at the pointer on every plot whose data stand beside it.
for (const [name, plot] of Object.entries(page.data.plots || {})) {
  const svg = document.querySelector(`[id="figure-${CSS.escape(name)}"] svg`);
  if (!svg || !plot.data) continue;
  marks.values_at(svg, plot.axes, plot.data);
  if (name !== "features" || !page.data.mapped) continue;
  svg.addEventListener("click", (event) => {  // a point of the map of vectors opens its example
    const here = marks.values(plot.axes, marks.inView(svg, event)), found = here && marks.nearest(plot.axes, here, plot.data.points.map(([x, y], k) => ({ x, y, k })));
    if (found && page.data.mapped[found.k] >= 0) page.open(page.data.mapped[found.k]);
  });
}
