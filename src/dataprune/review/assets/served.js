"use strict";
// The book of a review: what the server knows, fetched when it is wanted, and decisions sent to it.
const served = function (state, tell) {
  const asked = async (path, body) => {
    const how = body === undefined ? {} : { method: "POST", priority: "high", headers: { "content-type": "application/json" }, body: JSON.stringify(body) };
    let answer;
    try { answer = await fetch(path, how); } catch { tell("The review has ended: start it again. What was decided is saved.", true); throw new Error("ended"); }
    if (answer.ok) return answer.json();
    const text = await answer.text();
    let why = text.trim();
    try { why = JSON.parse(text).error; } catch { /* in plain words already */ }
    if (answer.status !== 410) tell(why, true);
    throw Object.assign(new Error(why), { status: answer.status });
  };
  const decided = new Map(), heard = new Set();
  let known = state.count, undoable = state.undoable[0] || 0;
  const learn = (rows) => { for (const one of rows) if (one.choice) decided.set(one.e, { choice: one.choice, as: one.as }); else decided.delete(one.e); };
  // One after the other: each says what the window knew when it was made.
  let before = Promise.resolve();
  const sent = (body) => {
    const mine = before.then(() => changed(body));
    before = mine.catch(() => {});
    return mine;
  };
  const changed = async (body) => {
    const found = await asked("/decide", { ...body, known });
    known = found.count;
    undoable = found.undoable[0] || 0;
    if (found.n_changed > found.changed.length) decided.clear();  // what is not told is asked for again
    learn(found.changed);
    state.decided = found.decided;
    for (const one of heard) one(found);
    return found;
  };
  const book = {
    names: state.classes, heard, asked, learn,
    item: (e) => asked(`/example?e=${e}`).then((found) => { learn([found, ...found.near, ...found.twins]); return found; }),
    decision: (e) => decided.get(e) || null,
    fill: (spot, e, item, large) => {
      spot.replaceChildren();
      const words = (text, className) => spot.replaceChildren(parts.make("span", { className, text }));
      if (item.text) words(item.text, "text");
      else if (!state.has_pictures) words(item.name, "none");
      else {
        const source = `/picture?e=${e}${large ? "" : "&side=112"}`;
        const image = parts.make("img", { alt: large ? `${item.name}` : "", src: source, decoding: "async", fetchpriority: large ? "high" : "low" });  // decisions go before thumbnails
        image.addEventListener("load", () => { if (image.naturalWidth <= 16) image.className = "tiny"; });
        image.addEventListener("error", async () => {  // its thumbnail may be there still
          if (large && !image.src.includes("side=")) image.src = `/picture?e=${e}&side=512`; else words("picture is gone", "none");
        });
        spot.append(image);
      }
    },
    decide: async (list, choice, as = null) => {
      const found = await sent({ rows: list, decision: choice, label: as });
      if (found.n_conflicts) tell(`Another window decided about ${found.n_conflicts === 1 ? "this one" : found.n_conflicts} first: shown, not overwritten.`, true);
      return found;
    },
    // About many: {query} or {rows}; what is decided already is left alone, unless it is to be no decision.
    decideAll: async (what, choice, as = null) => {
      const found = await sent({ ...what, decision: choice, label: as, leaves: choice !== "" });
      const kept = found.n_conflicts ? ` ${parts.whole(found.n_conflicts)} were decided in another window first and stay.` : "";
      tell(parts.settled(found.n_own, found.n_left, choice) + kept, found.n_left > 0);
      return found;
    },
    undo: async () => {
      await before;
      if (!undoable) { tell("Nothing to undo."); return null; }
      const found = await sent({ undoes: undoable });
      tell(`${parts.several(found.n_own, "decision")} taken back.${found.n_conflicts ? ` ${found.n_conflicts} stay, as they were decided again since.` : ""}`);
      return found.changed.length ? found.changed[0].e : null;
    },
  };
  return book;
};
