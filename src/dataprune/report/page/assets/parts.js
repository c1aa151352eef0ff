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
  const isTyping = (event) => /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName) || event.ctrlKey || event.metaKey || event.altKey;
  return { make, draw, percent, whole, several, bars, words, byId, isTyping };
})();
