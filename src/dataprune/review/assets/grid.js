"use strict";
// A grid of any length: only the tiles in view are in the document, and what they show is fetched a block at a time.
const grid = function (book, tell, picked) {
  const { make, byId, words } = parts;
  const frame = byId("grid"), inner = byId("tiles"), BLOCK = 120, GAP = 10, HIGHEST = 12e6, AHEAD = 1;
  const tiles = new Map(), spare = [], blocks = new Map(), chosen = new Set();
  let key = "", n = 0, columns = 1, wide = 140, tall = 190, active = 0, waiting = 0, query = {}, again = null;

  const at = (i) => (blocks.get(Math.floor(i / BLOCK)) || [])[i % BLOCK];
  const fetched = async (block) => {
    if (blocks.has(block)) return blocks.get(block);
    const mine = key, wanted = book.asked(`/rows?key=${key}&start=${block * BLOCK}`);
    blocks.set(block, []);
    try {
      const rows = await wanted;
      if (mine !== key) return [];
      book.learn(rows);
      blocks.set(block, rows);
      if (blocks.size > 60) for (const one of blocks.keys()) { if (Math.abs(one - block) > 20) blocks.delete(one); if (blocks.size <= 40) break; }
      draw();
      return rows;
    } catch (error) {
      if (mine !== key) return [];
      blocks.delete(block);
      if (error.status === 410 && again) again();
      return [];
    }
  };
  const item = async (i) => at(i) || (await fetched(Math.floor(i / BLOCK)), at(i));

  const measure = () => {
    const room = frame.clientWidth - 2, least = room < 520 ? 104 : 132;
    columns = Math.max(2, Math.floor((room + GAP) / (least + GAP)));
    wide = (room - GAP * (columns - 1)) / columns;
    tall = wide + 52;
    inner.style.height = `${Math.min(HIGHEST, Math.ceil(n / columns) * (tall + GAP))}px`;
  };
  // Browsers draw no element higher than some millions of pixels: beyond, the bar moves several lines at once.
  const lines = () => Math.ceil(n / columns) * (tall + GAP);
  const top = () => {
    const most = Math.max(1, Math.min(HIGHEST, lines()) - frame.clientHeight);
    return lines() <= HIGHEST ? frame.scrollTop : frame.scrollTop / most * (lines() - frame.clientHeight);
  };
  const mark = (tile, i, one) => {
    const made = one && book.decision(one.e);
    tile.dataset.decision = made ? made.choice : "";
    tile.classList.toggle("active", i === active);
    tile.setAttribute("aria-selected", String(Boolean(one) && chosen.has(one.e)));
    tile.querySelector(".mark").textContent = words(made, book.names);
  };
  const paint = (tile, i) => {
    const one = at(i);
    if (tile.row === (one ? one.e : -1) && one) { mark(tile, i, one); return; }
    tile.row = one ? one.e : -1;
    const pic = tile.querySelector(".pic");
    if (one) book.fill(pic, one.e, one, false); else pic.replaceChildren();
    const given = !one ? "" : one.label < 0 ? "no label" : book.names[one.label];
    const isWrong = one && one.to >= 0 && one.sure !== null && one.sure >= 0.5;
    tile.querySelector(".what").replaceChildren(make("bdi", { text: given }), ...(isWrong ? [" → ", make("bdi", { text: book.names[one.to] })] : []));
    tile.querySelector(".to").textContent = isWrong ? `wrong ${one.said}` : "";
    tile.querySelector(".who").textContent = one ? `${one.group >= 0 ? `group ${one.group + 1} · ` : ""}${one.split !== "train" ? `${one.split} · ` : ""}${one.name.split("/").pop()}` : "";
    tile.title = one ? one.name : "";
    mark(tile, i, one);
  };
  const fresh = () => make("div", { className: "tile", role: "option" }, make("span", { className: "pic" }), make("span", { className: "mark" }), make("p", { className: "what" }), make("p", { className: "to" }), make("p", { className: "who" }));
  const draw = () => {
    waiting = 0;
    const above = top(), step = tall + GAP, shift = frame.scrollTop - above;
    const first = Math.max(0, Math.floor(above / step) - AHEAD) * columns;
    const last = Math.min(n, (Math.ceil((above + frame.clientHeight) / step) + AHEAD) * columns);
    for (const [i, tile] of tiles) if (i < first || i >= last) { tiles.delete(i); spare.push(tile); tile.hidden = true; }
    for (let i = first; i < last; i++) {
      let tile = tiles.get(i);
      if (!tile) {
        tile = spare.pop() || inner.appendChild(fresh());
        tile.hidden = false;
        tile.row = -2;
        tile.id = `tile-${i}`;
        tile.place = i;
        tile.setAttribute("aria-posinset", i + 1);
        tile.setAttribute("aria-setsize", n);
        tiles.set(i, tile);
      }
      tile.style.width = `${wide}px`;
      tile.style.height = `${tall}px`;
      tile.style.transform = `translate(${(i % columns) * (wide + GAP)}px, ${Math.floor(i / columns) * step + shift}px)`;
      paint(tile, i);
    }
    if (n && tiles.has(active)) frame.setAttribute("aria-activedescendant", `tile-${active}`); else frame.removeAttribute("aria-activedescendant");
    if (n) for (let block = Math.floor(first / BLOCK); block <= Math.floor((last - 1) / BLOCK); block++) if (!blocks.has(block)) fetched(block);
  };
  const later = () => { if (!waiting) waiting = requestAnimationFrame(draw); };
  const reveal = (i) => {
    const step = tall + GAP, line = Math.floor(i / columns) * step, above = top();
    const to = line < above ? line : line + step > above + frame.clientHeight ? line + step - frame.clientHeight : above;
    if (to !== above) frame.scrollTop = lines() <= HIGHEST ? to : to / (lines() - frame.clientHeight) * (HIGHEST - frame.clientHeight);
  };
  const go = (i) => { if (n) { active = Math.max(0, Math.min(n - 1, i)); reveal(active); draw(); } };

  const view = viewer(book);
  const sequence = () => ({
    n,
    at: async (i) => (await item(i)).e,
    find: (e) => { for (let far = 0; far < 4 * BLOCK; far++) for (const i of [active - far, active + far]) if (at(i) && at(i).e === e) return i; return -1; },
    left: (i) => { go(i); frame.focus(); },
  });
  const open = async (i) => { await item(i); if (at(i)) { active = i; view.open(i, sequence()); } };
  const decide = async (choice, as = null) => {
    const one = at(active) || await item(active);
    if (!one) return;
    const many = chosen.has(one.e) && chosen.size > 1;
    const done = many ? book.decideAll({ rows: [...chosen] }, choice, as) : book.decide([one.e], choice, as);
    if (!many && choice) go(active + 1);
    await done;
  };
  frame.addEventListener("scroll", later, { passive: true });
  new ResizeObserver(() => { measure(); later(); }).observe(frame);
  frame.addEventListener("click", (event) => {
    const tile = event.target.closest(".tile");
    if (!tile || tile.row < 0) return;
    frame.focus({ preventScroll: true });
    if (event.shiftKey || event.ctrlKey || event.metaKey) {
      const ends = event.shiftKey ? [Math.min(active, tile.place), Math.max(active, tile.place)] : [tile.place, tile.place];
      for (let i = ends[0]; i <= ends[1]; i++) if (at(i)) { if (event.shiftKey || !chosen.has(at(i).e)) chosen.add(at(i).e); else chosen.delete(at(i).e); }
      active = tile.place;
      tell(`${parts.several(chosen.size, "example")} chosen.`);
      picked();
      draw();
    } else open(tile.place);
  });
  // Keys work wherever the focus is; what is focused keeps those that press or scroll it.
  document.addEventListener("keydown", (event) => {
    if (parts.isTyping(event) || byId("viewer").open) return;
    const isFree = event.target === frame || event.target === document.body;
    const page = Math.max(1, Math.floor(frame.clientHeight / (tall + GAP))) * columns;
    const by = { ArrowRight: 1, l: 1, ArrowLeft: -1, j: -1, ArrowDown: columns, ArrowUp: -columns, PageDown: page, PageUp: -page, Home: -n, End: n }[event.key];
    const name = event.key.toLowerCase(), choice = { k: "keep", d: "drop", r: "relabel" }[name];
    if (by !== undefined && !event.target.closest(".scroll")) go(active + by);
    else if (choice && (choice !== "relabel" || (at(active) && at(active).to >= 0))) decide(choice);
    else if (name === "u") book.undo().then(draw);
    else if (event.key === "Enter" && isFree) open(active);
    else if (event.key === " " && isFree) { const one = at(active); if (one) { if (!chosen.delete(one.e)) chosen.add(one.e); picked(); draw(); } }
    else if (event.key === "Escape" && chosen.size) { chosen.clear(); picked(); draw(); }
    else return;
    event.preventDefault();
  });
  book.heard.add((found) => {
    if (found.n_changed > found.changed.length) { blocks.clear(); draw(); }  // too many to be told: they are fetched again
    else for (const [i, tile] of tiles) mark(tile, i, at(i));
  });
  const show = (found, asked, refresh) => {
    ({ key, n } = found);
    query = asked;
    again = refresh;
    blocks.clear();
    chosen.clear();
    blocks.set(0, found.rows);
    book.learn(found.rows);
    active = 0;
    for (const [i, tile] of tiles) { tiles.delete(i); spare.push(tile); tile.hidden = true; }
    frame.scrollTop = 0;
    measure();
    draw();
    byId("found").textContent = n === 1 ? "1 example" : `${parts.whole(n)} examples`;
    byId("nothing").hidden = n > 0;
  };
  return { show, open, view, focus: () => frame.focus({ preventScroll: true }), get n() { return n; }, get query() { return query; }, get chosen() { return [...chosen]; } };
};
