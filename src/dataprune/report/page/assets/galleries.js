"use strict";
// The ends of a score, of all examples or of one class.
(function () {
  if (!page) return;
  const score = document.getElementById("gallery-score"), ofClass = document.getElementById("gallery-class");
  const note = document.getElementById("gallery-note");
  const show = () => {
    const chosen = ofClass ? Number(ofClass.value) : -1;
    const ends = chosen < 0 ? page.data.galleries[score.value] : page.data.by_class[chosen];
    score.disabled = chosen >= 0;
    note.textContent = chosen < 0 ? "" : `a class is ranked by ${page.data.leading}`;
    page.cards(document.getElementById("gallery-hardest"), ends.hardest);
    page.cards(document.getElementById("gallery-easiest"), ends.easiest);
  };
  score.addEventListener("change", show);
  if (ofClass) ofClass.addEventListener("change", show);
  show();
})();
