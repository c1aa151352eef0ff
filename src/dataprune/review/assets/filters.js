"use strict";
// What is shown, and in which order: fields, views that set them, and regions that were drawn on a plot.
const filters = function (state, changed) {
  const { byId, make } = parts, fields = byId("filters");
  const option = (list, values) => { for (const [text, value] of values) list.append(new Option(text, value)); };
  const classes = state.classes.map((name, c) => [name, c]);
  option(byId("f-label"), classes);
  option(byId("f-prediction"), classes);
  option(byId("f-split"), state.splits.map((name, k) => [name, ["train", "validation", "test"].indexOf(name)]));
  const issues = Object.entries(state.issues), scores = Object.keys(state.scores), suspects = state.missing.suspects === undefined;
  option(byId("f-score"), scores.map((name) => [name, name]));
  option(byId("f-sort"), [...(suspects ? [["most suspect", "rank"]] : []), ...scores.map((name) => [name, name]), ["source", ""], ["label", "label"], ["prediction", "prediction"], ["group of duplicates", "group"], ...(issues.length ? [["how far beyond the limit", "issue"]] : [])]);
  option(byId("f-issue"), issues.map(([kind, [n]]) => [`${kind.replaceAll("_", " ")} (${parts.whole(n)})`, kind]));
  for (const [id, isThere] of [["f-split", state.splits.length > 1], ["f-duplicates", state.n_groups > 0], ["f-suspicion", state.counts], ["f-issue", issues.length]]) byId(id).closest("label").hidden = !isThere;
  let drawn = null;

  const number = (id) => { const value = byId(id).value.trim(); return value === "" || Number.isNaN(Number(value)) ? null : Number(value); };
  const chosen = (id) => byId(id).value === "" ? null : Number(byId(id).value);
  const query = () => {
    const issue = byId("f-issue").value, asked = byId("f-sort").value, sort = asked === "issue" ? issue : asked, ranges = { ...(drawn && drawn.ranges) }, duplicates = byId("f-duplicates").value;
    const least = number("f-suspicion"), score = byId("f-score").value, low = number("f-low"), high = number("f-high");
    if (least !== null) ranges.suspicion = [least / 100, null];
    if (score && (low !== null || high !== null)) ranges[score] = [low, high];
    const harder = asked === "issue" ? issue && state.issues[issue][1] === "high" : state.scores[sort] > 0, isTurned = byId("f-turn").getAttribute("aria-pressed") === "true";
    return {
      split: chosen("f-split"), label: chosen("f-label"), prediction: chosen("f-prediction"), changed: byId("f-changed").checked, ranges,
      lasso: (drawn && drawn.lasso) || null, group: duplicates && duplicates !== "leaks" && duplicates !== "copies" ? -1 : null, leaks: duplicates === "leaks",
      copies: duplicates === "copies", issue, decision: byId("f-decision").value, text: byId("f-text").value, sort, descending: Boolean(harder) !== isTurned,
    };
  };
  const set = (values) => {
    for (const field of fields.querySelectorAll("input, select")) { if (field.type === "checkbox") field.checked = false; else field.value = field.tagName === "SELECT" ? field.options[0].value : ""; }
    byId("f-turn").setAttribute("aria-pressed", "false");
    drawn = null;
    for (const [id, value] of Object.entries(values)) byId(id).value = value;
    chip();
    changed();
  };
  const chip = () => {
    byId("f-drawn").hidden = !drawn;
    byId("f-drawn").replaceChildren(...(drawn ? [drawn.words, " ", make("span", { text: "×", "aria-hidden": "true" }), make("span", { className: "unseen", text: " (remove)" })] : []));
  };
  // A region of a plot: {words, ranges, lasso}; label and prediction go into the fields.
  const region = (found) => {
    drawn = found.ranges || found.lasso ? found : null;
    if (found.label !== undefined) byId("f-label").value = found.label;
    if (found.prediction !== undefined) byId("f-prediction").value = found.prediction;
    chip();
    changed();
  };
  byId("f-drawn").addEventListener("click", () => { drawn = null; chip(); changed(); });
  let timer = 0;
  fields.addEventListener("input", (event) => { clearTimeout(timer); timer = setTimeout(changed, /text|search|number/.test(event.target.type) ? 200 : 0); });
  fields.addEventListener("submit", (event) => event.preventDefault());
  byId("f-turn").addEventListener("click", (event) => {
    event.target.setAttribute("aria-pressed", String(event.target.getAttribute("aria-pressed") !== "true"));
    changed();
  });
  byId("f-clear").addEventListener("click", () => set({}));
  const settle = () => { clearTimeout(timer); return changed(); };
  return { query, set, region, settle, suspects };
};
