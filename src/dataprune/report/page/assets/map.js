"use strict";
// The map: a click or the keyboard chooses a place and shows what lies there; one class may be highlighted.
(function () {
  const plot = document.getElementById("map-plot");
  if (!page.book || !plot || !page.data.map) return;
  const { data, x } = page, said = document.getElementById("map-said"), list = document.getElementById("map-cards");
  const marks = new Map();
  for (const mark of plot.querySelectorAll("[data-k]")) marks.set(Number(mark.dataset.k), mark);
  const spots = Array.from(marks, ([k, mark]) => {
    const at = (name) => Number(mark.getAttribute(name));
    return mark.tagName === "rect" ? { k, x: at("x") + at("width") / 2, y: at("y") + at("height") / 2 } : { k, x: at("cx"), y: at("cy") };
  });
  let here = -1;
  const choose = (k) => {
    if (marks.has(here)) marks.get(here).classList.remove("here");
    here = k;
    marks.get(k).classList.add("here");
    const examples = data.map.lists[k], count = data.map.counts[k], first = examples[0];
    const what = count === 1 ? `${x.name[first]}, labelled ${x.given[first]}` : `${count.toLocaleString("en")} examples lie here, ${examples.length} are shown`;
    said.textContent = `Confidence ${x.values.confidence[first]}, variability ${x.values.variability[first]}: ${what}.`;
  };
  const open = () => {
    if (here < 0) return;
    page.cards(list, data.map.lists[here]);
    if (data.map.counts[here] === 1) page.open(data.map.lists[here][0]);
  };
  plot.addEventListener("click", (event) => {
    const box = plot.querySelector("svg").getBoundingClientRect(), view = plot.querySelector("svg").viewBox.baseVal;
    const at = { x: (event.clientX - box.left) / box.width * view.width, y: (event.clientY - box.top) / box.height * view.height };
    let best = null, least = 10 * 10;
    for (const spot of spots) {
      const far = (spot.x - at.x) ** 2 + (spot.y - at.y) ** 2;
      if (far < least) { least = far; best = spot; }
    }
    if (best) { choose(best.k); open(); }
  });
  const ways = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  plot.addEventListener("keydown", (event) => {
    if (event.key === "Enter" || event.key === " ") { open(); event.preventDefault(); return; }
    const way = ways[event.key];
    if (!way) return;
    event.preventDefault();
    const from = spots.find((spot) => spot.k === here);
    if (!from) { choose(spots[0].k); return; }
    let best = null, least = Infinity;
    for (const spot of spots) {
      const along = (spot.x - from.x) * way[0] + (spot.y - from.y) * way[1];
      const aside = Math.abs((spot.x - from.x) * way[1]) + Math.abs((spot.y - from.y) * way[0]);
      const cost = along + 3 * aside;
      if (along > 0.5 && aside <= along * 2 && cost < least) { least = cost; best = spot; }
    }
    if (best) choose(best.k);
  });
  const pick = document.getElementById("map-class");
  if (!data.map.classes) { pick.closest("label").hidden = true; return; }
  data.classes.forEach((name, c) => pick.append(new Option(name, c)));
  pick.addEventListener("change", () => {
    const c = Number(pick.value);
    for (const [k, mark] of marks) {
      const counts = data.map.classes[k], inside = counts.some((one, place) => place % 2 === 0 && one === c);
      mark.classList.toggle("dim", c >= 0 && !inside);
      mark.classList.toggle("lit", c >= 0 && inside);
    }
  });
})();
