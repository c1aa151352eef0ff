"use strict";
// Labels to check: one at a time or many, by mouse and keyboard; saved as the CSV that `dataprune noise apply` takes.
(function () {
  const list = document.getElementById("review-cards");
  if (!page.book || !list) return;
  const { data, x, book, suspects, decided } = page, { byId } = parts, STEP = 60;
  const pick = byId("review-class"), scope = byId("review-scope");
  let shown = STEP, current = null;

  const mark = (card) => {
    const made = book.decision(card.e);
    if (made) card.dataset.decision = made.choice; else delete card.dataset.decision;
    for (const button of card.querySelectorAll("[data-do]")) button.setAttribute("aria-pressed", String(Boolean(made) && button.dataset.do === made.choice));
    if (made && made.choice === "relabel") card.querySelector("select").value = made.as;
  };
  const count = () => {
    const n = { keep: 0, drop: 0, relabel: 0 }, open = data.suspects.filter((one) => !decided.has(one.e)).length;
    for (const one of decided.values()) n[one.choice] += 1;
    byId("review-count").textContent = `Decided: ${n.keep} keep, ${n.drop} drop, ${n.relabel} relabel; ${parts.whole(open)} of ${parts.whole(data.suspects.length)} are left`;
    byId("review-save").disabled = decided.size === 0;
  };
  const make = (one) => {
    const card = byId("suspect").content.firstElementChild.cloneNode(true), e = one.e, select = card.querySelector("select");
    card.e = e;
    card.setAttribute("aria-label", `${one.n}: ${x.name[e]}, labelled ${x.given[e]}, looks like ${data.classes[one.to]}`);
    card.querySelector(".label").textContent = x.given[e];
    card.querySelector(".to").textContent = data.classes[one.to];
    card.querySelector(".sure").textContent = one.said && `wrong ${one.said}`;
    card.querySelector(".why").textContent = one.why;
    card.querySelector(".name").textContent = x.name[e];
    card.querySelector(".see").dataset.e = e;
    card.querySelector(".see .unseen").textContent = `Details of ${x.name[e]}`;
    const names = data.classes.length <= 200 ? data.classes.keys() : new Set([one.to, ...x.top[e]]);
    for (const c of names) if (c !== x.label[e]) select.append(new Option(data.classes[c], c, c === one.to, c === one.to));
    select.setAttribute("aria-label", `New label of ${x.name[e]}`);
    parts.bars(card.querySelector(".bars"), page.item(e, true), data.classes);
    page.picture(card.querySelector(".pic"), e);
    mark(card);
    return card;
  };
  const wanted = () => data.suspects.filter((one) => {
    const which = byId("review-show").value;
    return (which === "all" || (which === "done") === decided.has(one.e)) && (pick.value === "-1" || x.label[one.e] === Number(pick.value));
  });
  const draw = () => {
    const all = wanted(), from = Math.min(list.children.length, shown);
    list.replaceChildren(...all.slice(0, shown).map(make));
    byId("review-more").hidden = all.length <= shown;
    byId("review-more").textContent = `Show more (${parts.whole(all.length - shown)} left)`;
    turn(list.firstElementChild);
    count();
    return from;
  };
  byId("review-more").addEventListener("click", () => { shown += STEP; const from = draw(); if (list.children[from]) list.children[from].focus(); });
  book.heard.add(() => { for (const card of list.children) mark(card); count(); byId("review-told").textContent = ""; });

  // Many at once: what the two fields choose; one undo takes it back.
  const many = () => {
    const sure = Number(scope.value), first = scope.value.startsWith("first") ? Number(scope.value.slice(5)) : Infinity;
    return wanted().filter((one, place) => place < first && (!(sure > 0) || (one.p !== null && one.p >= sure / 100))).map((one) => one.e);
  };
  for (const button of document.querySelectorAll("[data-many]")) button.addEventListener("click", () => { byId("review-told").textContent = book.decideMany(many(), button.dataset.many); });
  byId("review-undo").addEventListener("click", () => book.undo());

  const decide = (card, choice) => book.decide([card.e], choice, choice === "relabel" ? Number(card.querySelector("select").value) : null);
  list.addEventListener("change", (event) => { if (event.target.tagName === "SELECT") decide(event.target.closest(".suspect"), "relabel"); });
  list.addEventListener("click", (event) => {
    const button = event.target.closest("[data-do]"), card = button && button.closest(".suspect"), made = card && book.decision(card.e);
    if (card) decide(card, made && made.choice === button.dataset.do ? "" : button.dataset.do);
  });
  const columns = () => getComputedStyle(list).gridTemplateColumns.split(" ").length;
  const go = (card, by) => {
    const cards = Array.from(list.children), to = cards[cards.indexOf(card) + by];
    if (to) to.focus(); else if (by > 0 && !byId("review-more").hidden) byId("review-more").focus();
  };
  // The card that hears the keys, wherever the focus is: the first, then the one that had the focus last.
  const turn = (card) => {
    if (current) current.removeAttribute("aria-current");
    current = card;
    if (card) card.setAttribute("aria-current", "true");
  };
  list.addEventListener("focusin", (event) => turn(event.target.closest(".suspect")));
  const isSeen = (card) => { const { top, bottom } = card.getBoundingClientRect(); return top + bottom > 0 && top + bottom < 2 * innerHeight; };
  document.addEventListener("keydown", (event) => {
    const card = event.target.closest(".suspect") || current, isAway = event.target !== document.body && !event.target.closest("#suspects");
    if (event.defaultPrevented || byId("viewer").open || parts.isTyping(event)) return;
    const key = event.key.toLowerCase(), choice = { k: "keep", d: "drop", r: "relabel" }[key];
    const by = { arrowright: 1, l: 1, arrowleft: -1, j: -1, arrowdown: columns(), arrowup: -columns() }[key];
    if (key === "u") book.undo().then((e) => { if (!isAway) for (const one of list.children) if (one.e === e) one.focus(); });
    else if (isAway || !card) return;
    else if (choice && !isSeen(card)) (Array.from(list.children).find(isSeen) || card).focus();  // nothing is decided unseen
    else if (choice) { decide(card, choice); card.focus(); go(card, 1); }
    else if (by && isSeen(card)) go(card, by);
    else if (event.key === "Enter" && (event.target === card || (event.target === document.body && isSeen(card)))) page.open(card.e, wanted().map((one) => one.e));
    else return;
    event.preventDefault();
  });

  // RFC 4180, every cell in quotes, so that a name that begins with = comes back as it is.
  const quoted = (text) => `"${text.replace(/"/g, '""')}"`;
  byId("review-save").addEventListener("click", () => {
    const rows = Array.from(decided, ([e, one]) => [x.id[e], one.choice, one.choice === "relabel" ? data.names[one.as] : "", x.split[e] || "train"].map(quoted).join(","));
    const file = new Blob(["id,decision,label,split\n" + rows.map((row) => row + "\n").join("")], { type: "text/csv;charset=utf-8" });
    const link = document.createElement("a"), address = URL.createObjectURL(file);
    link.href = address;
    link.download = "decisions.csv";
    document.body.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(address), 10000);
  });
  byId("review-clear").addEventListener("click", () => { if (decided.size && confirm(`Clear ${decided.size} decisions?`)) book.decide([...decided.keys()], ""); });
  for (const c of Array.from(new Set(data.suspects.map((one) => x.label[one.e]))).sort((a, b) => a - b)) pick.append(new Option(data.classes[c], c));
  for (const field of [byId("review-show"), pick]) field.addEventListener("change", () => { shown = STEP; draw(); });
  draw();
})();
