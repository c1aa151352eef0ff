"use strict";
// Plots as ways to examples: a cell, a bar, a lasso; each is drawn when its part is opened.
const plots = function (book, state, region) {
  const { make, byId } = parts;
  const inserted = (spot, found) => {
    const parsed = new DOMParser().parseFromString(found.svg.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" '), "image/svg+xml");
    const svg = document.importNode(parsed.documentElement, true);
    spot.replaceChildren(svg);
    return svg;
  };
  const shown = {
    confusion: async (spot) => {
      const { classes, counts } = await book.asked("/plot?name=confusion");
      const head = make("tr", {}, make("td"), ...classes.map((c) => make("th", { scope: "col", title: state.classes[c] }, make("span", {}, make("bdi", { text: state.classes[c] })))));
      const body = counts.map((line, i) => {
        const most = Math.max(1, ...line);
        return make("tr", {}, make("th", { scope: "row", title: state.classes[classes[i]] }, make("bdi", { text: state.classes[classes[i]] })), ...line.map((count, j) => {
          const level = count ? `${i === j ? "h" : "n"}${Math.min(9, Math.floor(10 * count / most))}` : "";
          const cell = make("button", { type: "button", text: count ? parts.whole(count) : "·", disabled: !count,
            "aria-label": `${count} labelled ${state.classes[classes[i]]}, predicted ${state.classes[classes[j]]}`, onclick: () => region({ label: classes[i], prediction: classes[j] }) });
          return make("td", { className: level }, cell);
        }));
      });
      const table = make("table", { className: `heat${classes.length > 12 ? " dense" : ""}` }, make("caption", { className: "unseen", text: "Given labels (rows) against predictions (columns)" }), make("thead", {}, head), make("tbody", {}, ...body));
      spot.replaceChildren(table);
    },
    score: async (spot) => {
      const name = byId("plot-score").value, found = await book.asked(`/plot?name=${encodeURIComponent(name)}`), svg = inserted(spot, found);
      marks.values_at(svg, found.axes, found);
      marks.lasso(svg, found.axes, (drawn) => {
        const points = drawn.corners || [drawn.click], bars = points.map(([x, y]) => marks.bin(found, { x, y })).filter(Boolean);
        if (!bars.length) return;
        const low = Math.min(...bars.map((one) => one.low)), high = Math.max(...bars.map((one) => one.high)), row = found.names[bars[0].row];
        const label = bars.every((one) => one.row === bars[0].row) ? state.classes.indexOf(row) : -1;
        region({ ranges: { [name]: [low, high] }, words: `${name} ${Number(low.toPrecision(3))} to ${Number(high.toPrecision(3))}`, ...(label >= 0 ? { label } : {}) });
      });
    },
    map: (spot) => plane(spot, "map", "on the map"),
    vectors: (spot) => plane(spot, "vectors", "among the vectors"),
  };
  const plane = async (spot, name, words) => {
    const found = await book.asked(`/plot?name=${name}`), svg = inserted(spot, found);
    if (found.data) marks.values_at(svg, found.axes, found.data);
    marks.lasso(svg, found.axes, (drawn) => {
      const { x: [low, high], y: [least, most] } = found.axes[0], [a, b] = drawn.click || [0, 0], w = (high - low) / 80, h = (most - least) / 56;
      const corners = drawn.corners || [[a - w, b - h], [a + w, b - h], [a + w, b + h], [a - w, b + h]];
      region({ lasso: { x: found.x, y: found.y, corners }, words: `a region ${words}` });
    });
  };
  byId("plot-score").append(...Object.keys(state.scores).map((name) => new Option(name, name, name === state.leading, name === state.leading)));
  for (const part of document.querySelectorAll("#plots details[data-plot]")) {
    const name = part.dataset.plot, spot = part.querySelector(".spot");
    part.hidden = (name === "vectors" && !state.has_vectors) || (name === "map" && !state.has_map);
    const open = async () => {
      if (!part.open || part.dataset.drawn === "1") return;
      part.dataset.drawn = "1";
      spot.textContent = "Drawing ...";
      try { await shown[name](spot); } catch (error) { spot.textContent = error.message; part.dataset.drawn = "0"; }
    };
    part.addEventListener("toggle", open);
    if (name === "score") byId("plot-score").addEventListener("change", () => { part.dataset.drawn = "0"; open(); });
  }
};
