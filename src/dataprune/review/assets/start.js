"use strict";
// The review itself: views, filters, the grid, and decisions about many at once.
(async function () {
  const { byId, whole, percent } = parts;
  history.replaceState(null, "", "/");  // the key stays in no address
  const state = await (await fetch("/state")).json(), told = byId("told");
  let forget = 0;
  const tell = (words, isLong = false) => {
    told.textContent = words;
    clearTimeout(forget);
    forget = setTimeout(() => { told.textContent = ""; }, isLong ? 12000 : 5000);
  };
  const book = served(state, tell), tiles = grid(book, tell, () => bulk());
  byId("filter-part").open = innerWidth > 640;
  let latest = 0;
  const refresh = async () => {
    const mine = latest += 1, asked = shown.query(), found = await book.asked("/query", asked);
    const all = found.n || !asked.text ? 0 : (await book.asked("/query", { text: asked.text })).n;
    if (mine !== latest) return;
    tiles.show(found, asked, refresh);
    bulk();
    byId("elsewhere").hidden = !all;
    byId("elsewhere").textContent = `${whole(all)} in all examples`;
    if (!/^(INPUT|SELECT)$/.test(document.activeElement.tagName)) tiles.focus();  // who fills in a field goes on
  };
  const shown = filters(state, refresh);
  plots(book, state, (found) => { shown.region(found); byId("plots").open = innerWidth > 900; });

  const counts = () => {
    const { keep, drop, relabel } = state.decided;
    byId("decided").textContent = `Decided: ${whole(keep)} keep, ${whole(drop)} drop, ${whole(relabel)} relabel.`;
  };
  book.heard.add(counts);
  counts();

  const scope = byId("bulk-scope"), sure = byId("bulk-sure");
  const bulk = () => {
    const chosen = tiles.chosen.length;
    if (chosen || scope.value === "chosen") scope.value = chosen ? "chosen" : "shown";
    scope.options[0].text = `the shown ones (${whole(tiles.n)})`;
    scope.options[1].text = `the chosen ones (${whole(chosen)})`;
    scope.options[2].hidden = !state.counts;
    sure.hidden = scope.value !== "sure";
  };
  scope.addEventListener("change", () => { sure.hidden = scope.value !== "sure"; });
  const above = () => Math.min(100, Math.max(0, Number(byId("bulk-percent").value) || 0)) / 100;
  const decideMany = (choice, as = null) => {
    if (scope.value === "chosen") return tiles.chosen.length ? book.decideAll({ rows: tiles.chosen }, choice, as) : tell("None is chosen: click tiles with Ctrl, or press space.");
    return book.decideAll({ query: scope.value === "sure" ? { ranges: { suspicion: [above(), null] } } : tiles.query }, choice, as);
  };
  for (const button of document.querySelectorAll("#bulk [data-all]")) button.addEventListener("click", (event) => { decideMany(button.dataset.all); if (event.detail) tiles.focus(); });  // a mouse leaves the keys to the tiles
  state.classes.forEach((name, c) => byId("bulk-class").append(new Option(name, c)));
  byId("bulk-class").addEventListener("change", (event) => { if (event.target.value !== "") decideMany("relabel", Number(event.target.value)); event.target.value = ""; });
  byId("undo").addEventListener("click", () => book.undo());

  const views = {
    all: () => shown.set({}),
    suspects: () => shown.set({ "f-sort": "rank", ...(state.counts ? { "f-suspicion": "50" } : {}) }),
    duplicates: () => shown.set({ "f-duplicates": "any", "f-sort": "group" }),
    leaks: () => shown.set({ "f-duplicates": "leaks", "f-sort": "group" }),
    copies: () => shown.set({ "f-duplicates": "copies", "f-sort": "group" }),
    audit: async () => {
      const size = Math.max(12, Math.min(state.n, Number(byId("audit-size").value) || 100));
      const { rows, open } = await book.asked(`/audit?size=${size}`);
      tell(`${rows.length} labels, as dataprune noise audit --size ${rows.length} asks for.`);
      tiles.view.open(open, { n: rows.length, at: (i) => rows[i], find: (e) => rows.indexOf(e) }, true);
    },
  };
  const press = (name) => { for (const one of document.querySelectorAll("[data-view]")) one.setAttribute("aria-pressed", String(one.dataset.view === name)); };
  for (const button of document.querySelectorAll("[data-view]")) {
    button.hidden = ({ suspects: !shown.suspects, audit: !shown.suspects, duplicates: !state.n_groups, leaks: state.splits.length < 2 || !state.n_groups, copies: !state.n_groups })[button.dataset.view] || false;
    button.addEventListener("click", () => { press(button.dataset.view); views[button.dataset.view](); });
  }
  byId("f-issue").addEventListener("change", (event) => { press("all"); shown.set(event.target.value ? { "f-issue": event.target.value, "f-sort": "issue" } : {}); });
  byId("elsewhere").addEventListener("click", () => { press("all"); shown.set({ "f-text": byId("f-text").value }); });
  byId("audit-label").hidden = !shown.suspects;
  document.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && event.target === byId("f-text")) shown.settle().then(tiles.focus);
    if (event.key !== "/" || parts.isTyping(event) || byId("viewer").open) return;
    byId("f-text").focus();
    event.preventDefault();
  });
  document.querySelector(shown.suspects && state.n_flagged ? "[data-view=suspects]" : "[data-view=all]").click();
})();
