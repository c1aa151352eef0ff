"use strict";
// What the page and the review are built of: elements, bars of answers, a line that says what happened.
const parts = (function () {
  const svg = "http://www.w3.org/2000/svg";
  // All text is set as text, never as markup.
  const make = (name, about = {}, ...inner) => {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(about)) {
      if (value === undefined || value === null || value === false) continue;
      if (key === "text") made.textContent = value;
      else if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
      else made.setAttribute(key === "className" ? "class" : key, value === true ? "" : value);
    }
    made.append(...inner);
    return made;
  };
  const draw = (name, about = {}, ...inner) => {
    const made = document.createElementNS(svg, name);
    for (const [key, value] of Object.entries(about)) made.setAttribute(key, value);
    made.append(...inner);
    return made;
  };
  const percent = (share) => `${Math.round(share * 100)}\u00a0%`;
  const whole = (count) => count.toLocaleString("en");
  const several = (count, thing) => `${whole(count)} ${thing}${count === 1 ? "" : thing.endsWith("s") ? "es" : "s"}`;
  // The likeliest classes, and the given one.
  const bars = (list, item, names) => {
    list.replaceChildren(...item.top.map((c, place) => {
      if (place >= 3 && c !== item.label) return "";
      const bar = draw("svg", { viewBox: "0 0 100 4", preserveAspectRatio: "none", "aria-hidden": "true" }, draw("rect", { width: item.p[place], height: 4 }));
      return make("li", { className: c === item.label ? "given" : "" }, bar, make("span", { text: names[c] }), make("b", { text: `${item.p[place]}\u00a0%` }));
    }));
    list.hidden = item.split !== "" && item.split !== "train";
  };
  // How a decision reads.
  const words = (made, names) => !made || !made.choice ? "" : made.choice === "relabel" ? `relabel as ${names[made.as]}` : made.choice;
  const byId = (name) => document.getElementById(name);
  // What a decision about many did.
  const settled = (n, left, choice) => `${several(n, "example")}: ${choice || "no decision"}.${left ? ` ${left === 1 ? "1 was decided before and is" : `${whole(left)} were decided before and are`} left.` : ""}${n ? " One U takes it back." : ""}`;
  // Keys belong to a field of text, and to a list of options save for U.
  const isTyping = (event) => event.ctrlKey || event.metaKey || event.altKey || event.target.matches("textarea, input:not([type=checkbox])") || (event.target.matches("select") && event.key.toLowerCase() !== "u");
  // A list that was set with the mouse gives the keys back; one that is walked by keyboard keeps them.
  let byMouse = false;
  for (const name of ["pointerdown", "keydown"]) addEventListener(name, () => { byMouse = name === "pointerdown"; }, true);
  addEventListener("change", (event) => { if (byMouse && event.target.matches("select")) event.target.blur(); });
  return { make, draw, percent, whole, several, bars, words, byId, settled, isTyping };
})();
