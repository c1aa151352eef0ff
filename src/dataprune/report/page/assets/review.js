"use strict";
// Decisions about suspects: by mouse and keyboard, kept over a reload, saved as the CSV that `dataprune noise apply` takes.
(function () {
  const list = document.getElementById("review-cards");
  if (!page || !list) return;
  const { data, x } = page, key = `dataprune-review:${data.key}`, step = 60, decisions = new Map();
  const byId = (name) => document.getElementById(name);
  const place = new Map(data.suspects.map((one) => [x.id[one.e], one]));
  const pick = byId("review-class"), present = new Set(data.suspects.map((one) => x.label[one.e]));
  let shown = step;

  const load = () => {
    try {
      const kept = JSON.parse(localStorage.getItem(key) || "[]");
      for (const [id, choice, label] of kept) {
        const ok = place.has(id) && ["keep", "drop", "relabel"].includes(choice) && (choice !== "relabel" || data.names.includes(label));
        if (ok) decisions.set(id, { choice, label });
      }
    } catch { byId("review-warning").hidden = false; }
  };
  const store = () => {
    try { localStorage.setItem(key, JSON.stringify(Array.from(decisions, ([id, one]) => [id, one.choice, one.label]))); } catch { byId("review-warning").hidden = false; }
  };
  const count = () => {
    const n = { keep: 0, drop: 0, relabel: 0 };
    for (const one of decisions.values()) n[one.choice] += 1;
    byId("review-count").textContent = `${decisions.size} of ${data.suspects.length.toLocaleString("en")} decided: ${n.keep} keep, ${n.drop} drop, ${n.relabel} relabel`;
    byId("review-save").disabled = decisions.size === 0;
  };

  const mark = (card, id) => {
    const made = decisions.get(id);
    if (made) card.dataset.decision = made.choice; else delete card.dataset.decision;
    for (const button of card.querySelectorAll("[data-do]")) button.setAttribute("aria-pressed", String(Boolean(made) && button.dataset.do === made.choice));
    if (made && made.choice === "relabel") card.querySelector("select").value = data.names.indexOf(made.label);
  };
  const decide = (card, choice) => {
    const suspect = place.get(card.exampleId);
    if (choice === null) decisions.delete(card.exampleId);
    else decisions.set(card.exampleId, { choice, label: choice === "relabel" ? data.names[Number(card.querySelector("select").value || suspect.to)] : "" });
    mark(card, card.exampleId);
    store();
    count();
  };

  const make = (suspect) => {
    const card = byId("suspect").content.firstElementChild.cloneNode(true), e = suspect.e, select = card.querySelector("select");
    card.exampleId = x.id[e];
    card.setAttribute("aria-label", `${suspect.n}: ${x.name[e]}, labelled ${x.given[e]}, looks like ${data.classes[suspect.to]}`);
    card.querySelector(".label").textContent = x.given[e];
    card.querySelector(".to").textContent = data.classes[suspect.to];
    card.querySelector(".sure").textContent = suspect.p === null ? "?" : `${Math.round(suspect.p * 100)}\u00a0%`;
    card.querySelector(".why").textContent = suspect.why;
    card.querySelector(".name").textContent = x.name[e];
    card.querySelector(".see").dataset.e = e;
    card.querySelector(".see .unseen").textContent = `Details of ${x.name[e]}`;
    const names = data.classes.length <= 200 ? data.classes.keys() : new Set([suspect.to, ...x.top[e]]);
    for (const c of names) if (c !== x.label[e]) select.append(new Option(data.classes[c], c, c === suspect.to, c === suspect.to));
    select.setAttribute("aria-label", `New label of ${x.name[e]}`);
    select.addEventListener("change", () => decide(card, "relabel"));
    page.bars(card.querySelector(".bars"), e);
    page.picture(card.querySelector(".pic"), e);
    mark(card, card.exampleId);
    return card;
  };
  const wanted = () => data.suspects.filter((one) => {
    const decided = decisions.has(x.id[one.e]), which = byId("review-show").value;
    return (which === "all" || (which === "done") === decided) && (pick.value === "-1" || x.label[one.e] === Number(pick.value));
  });
  const draw = () => {
    const all = wanted();
    list.replaceChildren(...all.slice(0, shown).map(make));
    byId("review-more").hidden = all.length <= shown;
    byId("review-more").textContent = `Show more (${(all.length - shown).toLocaleString("en")} left)`;
    count();
  };
  const more = () => {
    const all = wanted(), from = list.children.length;
    shown = from + step;
    list.append(...all.slice(from, shown).map(make));
    byId("review-more").hidden = all.length <= shown;
    byId("review-more").textContent = `Show more (${(all.length - shown).toLocaleString("en")} left)`;
    if (list.children[from]) list.children[from].focus();
  };

  list.addEventListener("click", (event) => {
    const button = event.target.closest("[data-do]");
    if (!button) return;
    const card = button.closest(".suspect"), made = decisions.get(card.exampleId);
    decide(card, made && made.choice === button.dataset.do ? null : button.dataset.do);
  });
  const columns = () => getComputedStyle(list).gridTemplateColumns.split(" ").length;
  const go = (card, by) => {
    const cards = Array.from(list.children), to = cards[cards.indexOf(card) + by];
    if (to) to.focus(); else if (by > 0 && !byId("review-more").hidden) byId("review-more").focus();
  };
  list.addEventListener("keydown", (event) => {
    const card = event.target.closest(".suspect");
    if (!card || event.target.tagName === "SELECT" || event.ctrlKey || event.metaKey || event.altKey) return;
    const choice = { k: "keep", d: "drop", r: "relabel" }[event.key.toLowerCase()];
    const by = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns(), ArrowUp: -columns() }[event.key];
    if (choice) { decide(card, choice); card.focus(); go(card, 1); }
    else if (event.key.toLowerCase() === "u") { decide(card, null); card.focus(); }
    else if (by) go(card, by);
    else if (event.key === "Enter" && event.target === card) page.show(place.get(card.exampleId).e);
    else return;
    event.preventDefault();
  });

  // RFC 4180, every cell in quotes, so that a name that begins with = comes back as it is.
  const quoted = (text) => `"${text.replace(/"/g, '""')}"`;
  byId("review-save").addEventListener("click", () => {
    const rows = data.suspects.filter((one) => decisions.has(x.id[one.e])).map((one) => {
      const id = x.id[one.e], made = decisions.get(id);
      return [id, made.choice, made.label].map(quoted).join(",");
    });
    const file = new Blob(["id,decision,label\n" + rows.map((row) => row + "\n").join("")], { type: "text/csv;charset=utf-8" });
    const link = document.createElement("a"), address = URL.createObjectURL(file);
    link.href = address;
    link.download = "decisions.csv";
    document.body.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(address), 10000);
  });
  byId("review-clear").addEventListener("click", () => {
    if (decisions.size && confirm(`Clear ${decisions.size} decisions?`)) { decisions.clear(); store(); draw(); }
  });
  byId("review-more").addEventListener("click", more);
  for (const c of Array.from(present).sort((a, b) => a - b)) pick.append(new Option(data.classes[c], c));
  for (const field of [byId("review-show"), pick]) field.addEventListener("change", () => { shown = step; draw(); });
  load();
  draw();
})();
