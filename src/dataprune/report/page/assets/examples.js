"use strict";
// Cards of examples, and the dialogue that shows one. All text is set as text, never as markup.
const page = (function () {
  const data = JSON.parse(document.getElementById("data").textContent);
  if (!data.examples) return null;
  const settings = document.getElementById("settings").dataset, x = data.examples;
  const dialog = document.getElementById("detail"), mould = document.getElementById("card");
  const plots = "http://www.w3.org/2000/svg";
  document.body.dataset.side = settings.side;

  const fill = (spot, e) => {
    spot.replaceChildren();
    if (x.picture[e]) {
      const image = document.createElement("img");
      image.className = settings.side;
      image.alt = `${x.name[e]}, labelled ${x.given[e]}`;
      image.src = "data:image/webp;base64," + x.picture[e];
      spot.append(image);
      return;
    }
    const words = document.createElement("span");
    words.className = x.text[e] ? "text" : "none";
    words.textContent = x.text[e] || (settings.pictures !== "1" ? "details" : settings.missing === "1" ? "no picture: the data were not found" : "picture not embedded");
    spot.append(words);
  };
  // Pictures are decoded when they come near the window.
  const waiting = new IntersectionObserver((seen) => {
    for (const one of seen) if (one.isIntersecting) { waiting.unobserve(one.target); fill(one.target, Number(one.target.dataset.e)); }
  }, { rootMargin: "600px" });
  const picture = (spot, e) => { spot.dataset.e = e; waiting.observe(spot); };

  const bars = (list, e) => {
    list.replaceChildren(...x.top[e].map((c, place) => {
      const line = document.createElement("li"), share = x.p[e][place];
      line.className = c === x.label[e] ? "given" : "";
      const svg = document.createElementNS(plots, "svg"), rect = document.createElementNS(plots, "rect");
      svg.setAttribute("viewBox", "0 0 100 4");
      svg.setAttribute("preserveAspectRatio", "none");
      svg.setAttribute("aria-hidden", "true");
      rect.setAttribute("width", share);
      rect.setAttribute("height", 4);
      svg.append(rect);
      const name = document.createElement("span"), percent = document.createElement("b");
      name.textContent = data.classes[c];
      percent.textContent = `${share}\u00a0%`;
      line.append(svg, name, percent);
      return line;
    }));
    list.hidden = x.split[e] !== "";
  };
  const card = (e) => {
    const made = mould.content.firstElementChild.cloneNode(true);
    made.querySelector(".label").textContent = x.given[e];
    made.querySelector(".name").textContent = x.name[e];
    made.querySelector(".see .unseen").textContent = `Details of ${x.name[e]}`;
    bars(made.querySelector(".bars"), e);
    picture(made.querySelector(".pic"), e);
    made.querySelector(".see").dataset.e = e;
    return made;
  };
  const cards = (list, examples) => list.replaceChildren(...examples.map(card));

  const suspectOf = new Map(data.suspects.map((one) => [one.e, one]));
  const show = (e) => {
    dialog.querySelector("h2").textContent = x.name[e];
    fill(dialog.querySelector(".pic"), e);
    dialog.querySelector(".pic").hidden = settings.pictures !== "1" && !x.text[e];
    const suspect = suspectOf.get(e);
    dialog.querySelector(".what").textContent = `labelled ${x.given[e]}` + (x.split[e] ? ` (${x.split[e]})` : "");
    dialog.querySelector(".why").textContent = suspect ? `Looks like ${data.classes[suspect.to]} (${Math.round(suspect.p * 100)} %): ${suspect.why}` : "";
    bars(dialog.querySelector(".bars"), e);
    const near = dialog.querySelector(".near");
    near.replaceChildren();
    if (x.near[e]) {
      const heading = document.createElement("h3"), list = document.createElement("ul");
      heading.textContent = "Nearest examples";
      list.className = "cards small";
      cards(list, x.near[e]);
      near.append(heading, list);
    }
    const body = dialog.querySelector("tbody");
    body.replaceChildren(...(x.split[e] ? [] : Object.keys(x.values)).map((name) => {
      const row = document.createElement("tr"), head = document.createElement("th");
      head.scope = "row";
      head.textContent = name;
      const cells = [x.values[name][e], `${x.rank[name][e]} %`].map((text) => {
        const cell = document.createElement("td");
        cell.className = "num";
        cell.textContent = text;
        return cell;
      });
      row.append(head, ...cells);
      return row;
    }));
    if (!dialog.open) dialog.showModal();
  };
  document.addEventListener("click", (event) => {
    const button = event.target.closest("button.see");
    if (button && button.dataset.e) show(Number(button.dataset.e));
  });
  document.getElementById("detail-close").addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
  for (const button of document.querySelectorAll("button.see[data-e]")) picture(button.querySelector(".pic"), Number(button.dataset.e));
  for (const list of document.querySelectorAll("[data-list]")) cards(list, list.dataset.list.split(" ").filter(Boolean).map(Number));
  window.addEventListener("beforeprint", () => {
    for (const spot of document.querySelectorAll(".pic[data-e]:empty")) fill(spot, Number(spot.dataset.e));
  });
  return { data, x, card, cards, picture, bars, show };
})();
