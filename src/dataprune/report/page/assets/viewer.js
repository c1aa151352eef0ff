"use strict";
// One example large: who says what about it, what looks like it, and keys to decide and to go on. A book says what is known:
//   names             of the classes, as they are shown
//   item(e)           a promise of what is known of an example
//   fill(spot, e, item, large)  its picture or text
//   decision(e)       {choice, as} or null
//   decide(list, choice, as)    a promise; `as` is a class, or null for what is suggested
//   undo()            a promise of what to show again, or null
const viewer = function (book) {
  const { make, draw, percent, byId, words, isTyping } = parts;
  const dialog = byId("viewer"), at = (name) => dialog.querySelector(name);
  if (!dialog) return null;
  let sequence = null, place = 0, item = null, asked = 0, blind = false;

  const candidates = () => blind
    ? Array.from(book.names.keys()).filter((c) => c !== item.label).slice(0, 9)
    : [...new Set([...(item.to >= 0 ? [item.to] : []), ...item.top])].filter((c) => c !== item.label).slice(0, 9);
  const likely = () => {
    at(".likely").replaceChildren(...candidates().map((c, number) => {
      const known = item.top.indexOf(c), share = blind || known < 0 ? "" : `${item.p[known]}\u00a0%`;
      return make("li", {}, make("button", { type: "button", onclick: () => decide("relabel", c) },
        make("kbd", { text: number + 1 }), " ", make("bdi", { text: book.names[c] }), " ", make("span", { className: "share", text: share })));
    }));
    const others = at("select");
    others.replaceChildren(new Option("another class", "-1"));
    book.names.forEach((name, c) => { if (c !== item.label) others.append(new Option(name, c)); });
  };
  const curve = () => {
    const spot = at(".curve"), members = item.members || [];
    spot.hidden = blind || !members.length || members[0].curve.length < 2;
    if (spot.hidden) return;
    const n = members[0].curve.length, x = (epoch) => 24 + 270 * epoch / (n - 1), y = (p) => 84 - 76 * p;
    const plot = draw("svg", { viewBox: "0 0 300 100", class: "p-curve", role: "img", "aria-label": "Probability of the given label after each epoch, a line for each network" });
    for (const [p, text] of [[0, "0"], [1, "1"]]) plot.append(draw("line", { x1: 24, x2: 294, y1: y(p), y2: y(p), class: "axis" }), draw("text", { x: 18, y: y(p) + 3, "text-anchor": "end" }, text));
    for (const epoch of [0, n - 1]) plot.append(draw("text", { x: x(epoch), y: 97, "text-anchor": epoch ? "end" : "start" }, `epoch ${epoch + 1}`));
    for (const one of members) plot.append(draw("polyline", { points: one.curve.map((p, epoch) => `${x(epoch)},${y(p)}`).join(" "), class: one.saw ? "saw" : "unseen-by" }));
    spot.replaceChildren(plot, make("figcaption", { text: "Probability of the given label; dashed: networks that trained on it." }));
  };
  const answers = () => {
    const list = at(".members");
    list.hidden = blind || !(item.members || []).length;
    list.replaceChildren(...(item.members || []).map((one, number) => make("li", { className: one.says === item.label ? "given" : "" },
      `${number + 1}${one.saw ? " (trained on it)" : ""}: `, make("bdi", { text: book.names[one.says] }), ` ${percent(one.p)}`)));
  };
  const strip = (name, found) => {
    const spot = at(name), list = spot.querySelector("ul");
    spot.hidden = blind || !found || !found.length;
    list.replaceChildren(...(found || []).map((one) => {
      const picture = make("span", { className: "pic" });
      book.fill(picture, one.e, one, false);
      return make("li", { className: "card" }, make("button", { type: "button", className: "see", onclick: () => open(0, { n: 1, at: () => one.e }, blind) },
        picture, make("span", { className: "unseen", text: `Open ${one.name}` })), make("p", { className: "what" }, make("bdi", { text: one.label < 0 ? "no label" : book.names[one.label] })),
      make("p", { className: "who" }, make("bdi", { text: one.name })));
    }));
  };
  const scores = () => {
    const table = at("table"), isThere = item.values && !(item.split && item.split !== "train") && !blind;
    table.hidden = !isThere;
    table.tBodies[0].replaceChildren(...(isThere ? Object.keys(item.values) : []).map((name) => make("tr", {},
      make("th", { scope: "row", text: name }), make("td", { className: "num", text: item.values[name] }), make("td", { className: "num", text: `${item.rank[name]} %` }))));
  };
  const decided = () => {
    const made = item && book.decision(item.e);
    dialog.dataset.decision = made ? made.choice : "";
    at(".said-so").textContent = words(made, book.names) ? `Decided: ${words(made, book.names)}.` : "Not decided.";
    for (const button of dialog.querySelectorAll("[data-do]")) button.setAttribute("aria-pressed", String(Boolean(made) && button.dataset.do === made.choice));
  };
  const show = async (to) => {
    if (to < 0 || to >= sequence.n) return;
    place = to;
    const mine = asked += 1, e = await sequence.at(to), found = await book.item(e);
    if (mine !== asked) return;
    item = found;
    at("h2").textContent = item.name;
    at(".place").textContent = sequence.n > 1 ? `${parts.whole(place + 1)} of ${parts.whole(sequence.n)}` : "";
    at(".previous").disabled = place === 0;
    at(".next").disabled = place + 1 >= sequence.n;
    book.fill(at(".big"), e, item, true);
    const given = item.label < 0 ? "no label" : `labelled ${book.names[item.label]}`;
    at(".what").textContent = given + (item.split && item.split !== "train" ? ` (${item.split})` : "");
    const sure = item.said ? ` (label wrong ${item.said})` : "";
    at(".why").textContent = blind ? "Is the label right? K if it is; D, or the right class, if not." : item.why && item.to >= 0 ? `Looks like ${book.names[item.to]}${sure}: ${item.why}` : "";
    parts.bars(at(".bars"), item, book.names);
    at(".bars").hidden = at(".bars").hidden || blind;
    likely();
    curve();
    answers();
    strip(".near", item.near);
    strip(".twins-of", item.twins);
    scores();
    decided();
    if (!dialog.open) { dialog.showModal(); at("h2").focus(); }
    else if (document.activeElement.disabled || document.activeElement === document.body) at("h2").focus();  // who is disabled hears no keys
    dialog.scrollTop = 0;
  };
  const open = (from, of, hides = false) => { sequence = of; blind = hides; return show(from); };
  const decide = async (choice, as = null) => {
    await book.decide([item.e], choice, as);
    decided();
    if (choice) await show(place + 1);
  };
  const undo = async () => {
    const back = await book.undo();
    if (back === null || back === undefined) return;
    const to = sequence.find ? await sequence.find(back) : -1;
    if (to >= 0) await show(to); else decided();
  };
  const acts = (key) => {
    const digit = /^[1-9]$/.test(key) ? candidates()[Number(key) - 1] : undefined;
    if (key === "arrowright" || key === "l") return () => show(place + 1);
    if (key === "arrowleft" || key === "j") return () => show(place - 1);
    if (key === "k") return () => decide("keep");
    if (key === "d") return () => decide("drop");
    if (key === "r" && !blind && item.to >= 0) return () => decide("relabel");
    if (key === "u") return undo;
    return digit === undefined ? null : () => decide("relabel", digit);
  };
  // Keys that come quickly wait for the one before, so that each means the example that is shown then.
  let before = Promise.resolve();
  const keys = (event) => {
    if (!dialog.open || isTyping(event)) return;
    const key = event.key.toLowerCase();
    if (!/^([jklrdu1-9]|arrow(left|right))$/.test(key)) return;
    event.preventDefault();
    before = before.then(() => { const act = item && acts(key); return act && act(); }).catch(() => {});
  };
  document.addEventListener("keydown", keys);
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
  dialog.addEventListener("close", () => { item = null; asked += 1; if (sequence && sequence.left) sequence.left(place); });
  at(".shut").addEventListener("click", () => dialog.close());
  at(".previous").addEventListener("click", () => show(place - 1));
  at(".next").addEventListener("click", () => show(place + 1));
  at(".back").addEventListener("click", undo);
  for (const button of dialog.querySelectorAll("[data-do]")) {
    button.addEventListener("click", () => {
      const made = book.decision(item.e);
      if (made && made.choice === button.dataset.do && button.dataset.do !== "relabel") decide("");
      else if (button.dataset.do !== "relabel" || (item.to >= 0 && !blind)) decide(button.dataset.do);
    });
  }
  at("select").addEventListener("change", (event) => { if (event.target.value !== "-1") decide("relabel", Number(event.target.value)); });
  book.heard.add(decided);
  return { open };
};
