"use strict";
// Values at the pointer on a plot that was drawn elsewhere, and regions drawn on it with a mouse, a finger or a pen.
// A plot's `axes` say where its axes lie in the picture (box: left, top, width, height) and their limits (x, y).
const marks = (function () {
  const tip = parts.make("div", { className: "tip", hidden: true, "aria-hidden": "true" });
  document.body.append(tip);
  const inView = (svg, event) => {
    const box = svg.getBoundingClientRect(), view = svg.viewBox.baseVal;
    return { x: (event.clientX - box.left) / box.width * view.width, y: (event.clientY - box.top) / box.height * view.height };
  };
  // The axes under a point of the picture, and the values there.
  const values = (axes, at) => {
    const place = axes.findIndex(({ box: [left, top, wide, tall] }) => at.x >= left - 4 && at.x <= left + wide + 4 && at.y >= top - 4 && at.y <= top + tall + 4);
    if (place < 0) return null;
    const { box: [left, top, wide, tall], x, y } = axes[place];
    return { place, x: x[0] + (at.x - left) / wide * (x[1] - x[0]), y: y[1] - (at.y - top) / tall * (y[1] - y[0]) };
  };
  const short = (value) => Number(value.toPrecision(3)).toLocaleString("en", { maximumSignificantDigits: 3 });
  const nearest = (axes, here, points) => {
    let best = null, least = 24 ** 2;
    const { box: [, , wide, tall], x, y } = axes[here.place];
    for (const one of points) {
      if (one.x === null || one.y === null) continue;
      const far = ((one.x - here.x) / (x[1] - x[0]) * wide) ** 2 + ((one.y - here.y) / (y[1] - y[0]) * tall) ** 2;
      if (far < least) { least = far; best = one; }
    }
    return best;
  };
  const line = function* (panel) {
    for (const one of panel.lines) for (let k = 0; k < one.x.length; k++) yield { x: one.x[k], y: one.y[k], label: one.label, low: one.low[k], high: one.high[k] };
  };
  const said = (data, axes, here) => {
    if (data.panels && data.panels[here.place]) {
      const found = nearest(axes, here, line(data.panels[here.place]));
      if (!found) return "";
      const ends = found.low === null || found.low === undefined ? "" : ` (${short(found.low)} to ${short(found.high)})`;
      return `${found.label ? `${found.label}: ` : ""}${short(found.y)}${ends} at ${short(found.x)}`;
    }
    if (data.edges && data.counts) {
      const cell = bin(data, here);
      return cell ? `${data.names[cell.row]}, ${short(cell.low)} to ${short(cell.high)}: ${parts.whole(cell.count)}` : "";
    }
    if (data.points) {
      const found = nearest(axes, here, data.points.map(([x, y], k) => ({ x, y, k })));
      return found && data.groups ? data.names[data.groups[found.k]] : "";
    }
    if (data.inertia) {
      const found = nearest(axes, here, data.clusters.map((x, k) => ({ x, y: data.inertia[k] })));
      return found ? `${found.x} clusters: ${short(found.y)}` : "";
    }
    return "";
  };
  // The bar under the pointer of a distribution: its row, its ends, how many.
  const bin = (data, here) => {
    const row = data.names.length - 1 - Math.floor(here.y), at = data.edges.findIndex((edge) => edge > here.x) - 1;
    return row < 0 || row >= data.names.length || at < 0 ? null : { row, low: data.edges[at], high: data.edges[at + 1], count: data.counts[row][at] };
  };
  const values_at = (svg, axes, data) => {
    svg.addEventListener("pointermove", (event) => {
      const here = values(axes, inView(svg, event)), text = here ? said(data, axes, here) : "";
      tip.hidden = !text;
      tip.textContent = text;
      tip.style.left = `${Math.min(event.clientX + 14, innerWidth - tip.offsetWidth - 6)}px`;
      tip.style.top = `${event.clientY + 16 + tip.offsetHeight > innerHeight ? event.clientY - tip.offsetHeight - 8 : event.clientY + 16}px`;
    });
    svg.addEventListener("pointerleave", () => { tip.hidden = true; });
  };
  // Tell a lasso as its corners in values, a click as the values there.
  const lasso = (svg, axes, told) => {
    let drawn = null, path = [];
    svg.addEventListener("pointerdown", (event) => {
      if (!values(axes, inView(svg, event))) return;
      svg.setPointerCapture(event.pointerId);
      path = [inView(svg, event)];
      drawn = parts.draw("polygon", { class: "lasso" });
      svg.append(drawn);
      event.preventDefault();
    });
    svg.addEventListener("pointermove", (event) => {
      if (!drawn) return;
      path.push(inView(svg, event));
      drawn.setAttribute("points", path.map((one) => `${one.x},${one.y}`).join(" "));
    });
    svg.addEventListener("pointerup", () => {
      if (!drawn) return;
      drawn.remove();
      drawn = null;
      const [first] = path, isClick = path.every((one) => Math.hypot(one.x - first.x, one.y - first.y) < 4);
      const corners = (isClick ? [first] : path).map((one) => values(axes, one)).filter(Boolean).map((one) => [one.x, one.y]);
      if (corners.length) told(isClick ? { click: corners[0] } : { corners });
    });
  };
  return { values_at, lasso, bin, values, inView, nearest };
})();
