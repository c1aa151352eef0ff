"""Notes and reasons are codes with data; here they become words."""

import string
from dataclasses import dataclass
from typing import Any, Literal

from dataprune.errors import percent

Ground = Literal["", "measured here", "measured elsewhere", "counted here", "rule of thumb"]

REPORT = "a study of CIFAR and photographs of vegetables, 2023, one seed"
DUAL = "arXiv:2502.06905, ResNet-18 on CIFAR, ± 0.3"
OURS = "docs/findings.md"
ZHENG = "Zheng et al. 2023, arXiv:2210.15809"
EXPLANATIONS = {
    "budget: steps": "equal steps: every training took {steps:,.0f} steps, however large its set",
    "budget: epochs": "equal epochs: every training took {epochs:,.0f} epochs, so a smaller set had fewer steps",
    "budget: neither": "neither epochs nor steps are equal over the trainings",
    "excluded": "{n_failed} of {n_trials} trainings have no accuracy and are left out (rows {rows})",
    "seeds missing": "not all seeds are there for {cells}; their means are adjusted to the same seeds",
    "no interval": "no intervals: {why}",
    "spread": "a training scatters by {by:2} around cell and seed ({n_cells} cells, {freedom:.0f} degrees of freedom)",
    "spread grows": "trainings scatter {how} where the error is larger; the intervals take that into account",
    "far": (
        "left out of means and intervals, too far from cell and seed for chance, as one that diverged: {trainings}. If more seeds "
        "(--seeds) do the same, it belongs to the cell"
    ),
    "not paired": "seeds and cells overlap too little, so differences are not paired by seed",
    "smallest difference": (
        "the smallest difference to random that {n} comparisons over {n_seeds} seeds would have seen with a power of {power:.0%} "
        "is {span}; a smaller one may exist undetected. Verdicts are corrected for their number (Holm), the intervals "
        "beside them are not"
    ),
    "smallest difference: none": (
        "too little is known of the scatter of {cells} for even the largest difference to random to be sure of being seen; more "
        "seeds (--seeds) tell more"
    ),
    "intervals: with test": (
        "intervals of differences are over new trainings with other seeds, for this run's scores and this test set; those of "
        "accuracies, and what can be dropped, are over new test examples too"
    ),
    "intervals: with test, not of losses": (
        "intervals of differences, and what can be dropped, are over new trainings with other seeds, for this run's scores and "
        "this test set; those of accuracies are over new test examples too"
    ),
    "intervals: no test": (
        "intervals, and what can be dropped, are over new trainings with other seeds, for this run's scores and this test set; "
        "another test set may differ more"
    ),
    "one seed": "one seed says nothing about chance (--seeds 3)",
    "too few trainings": "too few trainings have ended to say how much they scatter",
    "no scatter": (
        "the {n_seeds} seeds gave the same values, or differ by the same in every cell, so nothing says how much is chance (a "
        "larger test set would)"
    ),
    "only all data": "nothing but all data was trained on",
    "no all data": "nothing was trained on all data",
    "no sizes": "the study compares no sizes",
    "area: span": "it needs sizes from 10 % to 70 % dropped",
    "area: steps": "Simpson's rule needs an odd number of sizes in equal steps, got {n} sizes",
    "cost: once": (
        "scoring is paid once for all scores and sizes; an encoder's pass and the search for the best, this study, are not counted"
    ),
    "cost: no control": "without trainings on all data nothing is known about savings",
    "cost: equal steps": "with equal steps every training costs the same: pruning saves storage and labels, not training",
}
MEASURED_HERE = {
    "droppable: unknown": "how much can be dropped is not known: {why}",
    "droppable: none": (
        "no size was shown to lose at most {by:g} against all data: this study does not show that pruning pays; what is"
        " advised below is for a set that must be smaller"
    ),
    "droppable": "at {keep:.0%} kept at most {by:g} is lost (by {names}); between the sizes that were tried nothing is known",
    "random: not known": "{n:s way} to keep {keep:.0%} cannot be compared with random: {why}; random costs no scoring",
    "random: none better": "none of {n:s way} to keep {keep:.0%} was better than random beyond chance",
    "random: would have been seen": "a difference of {by:1} would have been seen in each",
    "best: against random": "{by:+1} against random of the same size ({low:+1b} ... {high:+1b})",
    "best: of several": "the best of {n} that beat random; as the best of several its lead is likely smaller than measured",
    "best: safe": "shown to lose at most {by:g} against all data, which random of the same size was not",
    "best: smaller": "a smaller set was measured better, by {by:1}: {name} at {keep:.0%}",
    "against all": "{by:+1} against all data ({low:+1b} ... {high:+1b})",
    "against all: no interval": "{by:+1} against all data (no interval is known)",
}
COUNTED_HERE = {
    "wrong: many": "{counts}. Look at those before pruning (dataprune noise find)",
    "wrong: few": "{counts}",
    "memorised": "the members have memorised the labels: scores of the last epoch tell little here",
    "scoring cost": (
        "scoring cost {tflop:,.3g} TFLOP{uncounted}; at 30 % dropped it has paid off once trainings on all data would have taken "
        "{paid:,.3g} TFLOP together"
    ),
    "score: all epochs": "the members have memorised the labels, so only scores over all epochs tell examples apart",
    "stratified: balanced": "the smallest class, of {count:,}, may vanish: --balanced keeps its share",
}
RULES_OF_THUMB = {
    "few: cheap": "{few} are few: training on all of them is cheap, and pruning hardly pays",
    "of pictures": "what is advised below was measured on pictures and digits, not on {kind} like these",
    "no study": "nothing was trained on kept sets of these data: a study would measure it (dataprune study DATA --preset sweep)",
    "all": "everything is kept",
    "few: random": "random keeps easy and hard ones and costs no scoring; --balanced keeps the small classes",
}
MEASURED_ELSEWHERE = {
    REPORT: {
        "hardest: some": "about 20 % of CIFAR-100, with 500 examples a class, could be dropped without loss",
        "score: least lost": "{score} lost least over all sizes among the scores of its kind",
        "noise: window": "the hardest {share:.0%} are left out: wrong labels gather there, and windows that reach them train worse",
        "noise: cut": "--cut {cut:g} leaves out the hardest, where wrong labels gather",
    },
    DUAL: {
        "hardest: many": "at 30 % dropped keeping the hardest by el2n had 95.4 % and random 94.4 % on CIFAR-10 (all data 95.3 %)",
        "stratified: some": (
            "on CIFAR-100 stratified had 77.2, 73.8, 68.7 % at 30, 50, 70 % dropped, random 75.2, 71.7, 64.9 (all data 78.4)"
        ),
        "stratified: half": "on CIFAR-10 at 50 % dropped stratified had 95.1 %, random 93.2, el2n's hardest 95.2 (all data 95.3)",
        "stratified: small": (
            "on CIFAR-10 stratified had 92.7 and 91.3 % at 70 and 80 % dropped, random 90.5 and 88.3, el2n's hardest 91.6 and "
            "74.7 (all data 95.3)"
        ),
    },
    OURS: {
        "many: scratch": (
            "of 50,000 pictures of CIFAR-10, by small networks from scratch and two seeds, the hardest 70 % by el2n, std or forget "
            "could not be told from random ones; the hardest half was 1.9 (forget) to 5.3 points (el2n) worse after six epochs, by "
            "el2n 0.7 with as many steps as all had"
        ),
        "some: vectors": (
            "of 45,000 pictures of CIFAR-100 as vectors of an encoder the hardest 80 and 70 % by std had 0.9 and 1.6 points more "
            "than random ones (three seeds)"
        ),
        "many: vectors": (
            "of 50,000 pictures of CIFAR-10 as vectors of an encoder the hardest 70 % by el2n had 0.6 points more than random ones "
            "(0.4 ... 0.8)"
        ),
        "eyes: tuned": (
            "networks that name so few labels judge them weakly: among 10,000 pictures of CIFAR-10 with human labels a pretrained "
            "network trained on (score --model encoder-tuned; pip install 'dataprune[encoder]') ranked the wrong ones with average "
            "precision 0.89 where networks from scratch had 0.71, in six to eight times the time, but counted half of them (of "
            "other such sets none); on 3,226 photographs of flowers a frozen one (--encoder) was as good at a fraction of the time"
        ),
        "texts: half": (
            "of 9,000 short questions in 77 classes the hardest half by el2n or std lost at most half a point to all of them, "
            "where a random half lost two"
        ),
        "few: found": (
            "of 5,000 pictures of CIFAR-10 the hardest by el2n, std or forget were a worse set than random ones at 70 % and "
            "below, and the easiest 40 % a better one by three to five points; of 1,293 digits, which networks learn at once, the"
            " hardest half by std or el2n was a better one by a point"
        ),
        "few: seventy": (
            "with an encoder's vectors the hardest 70 % by el2n had more than random of their size of the first 1,000 pictures of "
            "CIFAR-10 (0.8 points: 0.2 ... 1.4), of 5,000 (1.0), of 10,000 (0.5) and of 2,903 flowers (0.6)"
        ),
        "methods: as given": (
            "of 19 ways to keep 10, 20 and 40 % of 1,293 digits, and of 2,903 flowers and 4,500 pictures of CIFAR-10 as vectors of "
            "an encoder, none was better than random beyond chance on all at the same size; the hardest by el2n were at 20 % of "
            "the digits and 40 % of the flowers, and 5 points worse at 40 % of CIFAR-10"
        ),
        "methods: wrong labels": (
            "with a tenth of the labels wrong the hardest, k-center and craig fell up to 79 points below random on 1,293 digits "
            "and on 2,903 flowers as vectors of an encoder"
        ),
        "methods: herding": (
            "as vectors of an encoder it had more than random of its size at 10 and 20 % kept: 1.1 and 1.2 points on 2,903 flowers "
            "and 2.7 and 1.7 on 4,500 pictures of CIFAR-10, and with a tenth of the labels wrong 2.5 and 1.1, and 3.7 and 3.5; of "
            "the flowers only the 2.5 are beyond chance"
        ),
        "methods: beta": (
            "at a tenth kept and a tenth of the labels wrong it had 5.7 points more than random of its size on 1,293 digits "
            "(2.8 ... 8.7), and as vectors of an encoder 2.0 on 2,903 flowers (0.7 ... 3.2) and 3.0 on 4,500 pictures of CIFAR-10 "
            "(2.2 ... 3.8)"
        ),
    },
    ZHENG: {"stratified: cut": "at small sizes its authors leave out some of the hardest; try --cut 0.1 too"},
}

TEXTS: dict[str, tuple[str, Ground, str]] = {
    **{code: (words, "", "") for code, words in EXPLANATIONS.items()},
    **{code: (words, "measured here", "") for code, words in MEASURED_HERE.items()},
    **{code: (words, "counted here", "") for code, words in COUNTED_HERE.items()},
    **{code: (words, "rule of thumb", "") for code, words in RULES_OF_THUMB.items()},
    **{code: (words, "measured elsewhere", source) for source, own in MEASURED_ELSEWHERE.items() for code, words in own.items()},
}
"""For each code its words, what they rest on, and where that was measured."""


@dataclass(frozen=True)
class Note:
    """Something that is said of a study, or a reason for an advice: a code of `TEXTS`, and the values that its words hold.

    Make one with `note`.
    """

    code: str
    data: tuple[tuple[str, Any], ...] = ()

    @property
    def text(self) -> str:
        return _Words().vformat(TEXTS[self.code][0], (), dict(self.data))

    @property
    def ground(self) -> Ground:
        """What the words rest on; "" for a note that explains figures."""
        return TEXTS[self.code][1]

    @property
    def source(self) -> str:
        """Where it was measured, if elsewhere."""
        return TEXTS[self.code][2]

    def __str__(self) -> str:
        return f"{self.text} [{self.ground}{f': {self.source}' if self.source else ''}]" if self.ground else self.text


def note(code: str, **data: Any) -> Note:
    """Make a note.

    Example:
        >>> print(note("droppable: unknown", why="one seed"))
        how much can be dropped is not known: one seed [measured here]
    """
    assert code in TEXTS, code
    return Note(code, tuple(data.items()))


class _Words(string.Formatter):
    """Formats as `str.format` does; `{n:s way}` is "1 way" or "5 ways"."""

    def format_field(self, value: Any, format_spec: str) -> str:
        if format_spec.startswith("s "):
            return f"{value:g} {format_spec[2:]}{'' if value == 1 else 's'}"
        if format_spec.endswith("%"):  # as ".1%"
            return percent(value, int(format_spec[1:-1]))
        return str(super().format_field(value, format_spec))
