"use strict";
// A choice shows one part of several: of what carries data-shown, that whose data-is was chosen.
(function () {
  for (const choice of document.querySelectorAll("select[data-shows]")) {
    const parts = document.querySelectorAll(`[data-shown="${choice.dataset.shows}"]`);
    choice.addEventListener("change", () => { for (const part of parts) part.hidden = part.dataset.is !== choice.value; });
  }
})();
