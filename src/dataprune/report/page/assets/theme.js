"use strict";
// Light or dark: the system's choice until a person makes another.
(function () {
  const root = document.documentElement, button = document.getElementById("theme"), key = "dataprune-theme";
  const remembered = () => { try { return localStorage.getItem(key); } catch { return null; } };
  const dark = () => (root.dataset.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
  const label = () => { button.textContent = dark() ? "Light page" : "Dark page"; };
  if (remembered() === "dark" || remembered() === "light") root.dataset.theme = remembered();
  button.hidden = false;
  label();
  button.addEventListener("click", () => {
    root.dataset.theme = dark() ? "light" : "dark";
    try { localStorage.setItem(key, root.dataset.theme); } catch { /* a browser that keeps nothing still switches */ }
    label();
  });
})();
