"""Which strategy at which size for this set, and why, or that pruning does not pay?"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from dataprune.errors import InputError, invalid
from dataprune.study.cost import scoring_cost
from dataprune.training.cost import Cost

if TYPE_CHECKING:
    from dataprune.run import Run
    from dataprune.study.summary import Summary

SIZES = (0.9, 0.7, 0.5, 0.3)
# Examples a class. CIFAR-10 has 5,000, CIFAR-100 500, the report's photos 1,000: the limits lie between such sets, no more is known
MANY, SOME = 2_000, 200
SMALL = 15_000  # examples in all: of 50,000 the easy ones could go, of 5,000 not, whatever their classes; no more is known
NOISY = 0.02  # from this share of suspects on, the hardest examples are to be mistrusted
SAME_KEEP = 0.005
REPORT = "the report on CIFAR and vegetables, 2023, one seed"
DUAL = "arXiv:2502.06905, ResNet-18 on CIFAR, ± 0.3"
OURS = "docs/findings.md, 3 seeds"
SORSCHER = "Sorscher et al. 2022, arXiv:2206.14486"
ZHENG = "Zheng et al. 2023, arXiv:2210.15809"
# For keeping the hardest: by the areas under the report's curves on CIFAR-10 and CIFAR-100, the best first.
FOR_HARDEST = ("std", "flip", "forget", "el2n", "pred_sum", "aum")
FOR_STRATIFIED = ("aum", "el2n", "forget", "confidence")
AGAINST_NOISE = ("el2n", "aum", "pred_sum", "confidence")
OVER_EPOCHS = ("flip", "forget", "aum", "confidence")

Ground = Literal["measured here", "measured elsewhere", "counted here", "rule of thumb"]


@dataclass(frozen=True)
class Reason:
    """Why something is advised.

    Attributes:
        text: in words.
        ground: what the words rest on.
        source: where it was measured, if elsewhere.
    """

    text: str
    ground: Ground
    source: str = ""

    def __str__(self) -> str:
        return f"{self.text} [{self.ground}{f': {self.source}' if self.source else ''}]"


@dataclass(frozen=True)
class Situation:
    """What advice rests on; None where it is not known.

    Attributes:
        n_examples, n_classes: of the training set.
        smallest_class: examples in it.
        scores: names of the scores that the run has.
        wrong: the estimated number of wrong labels.
        by_heart: whether the members knew nearly all labels by heart, so that scores of the last epoch tell little.
        scoring: what scoring has cost.
    """

    n_examples: int
    n_classes: int | None = None
    smallest_class: int | None = None
    scores: tuple[str, ...] = ()
    wrong: int | None = None
    by_heart: bool = False
    scoring: Cost | None = None

    @property
    def per_class(self) -> float | None:
        """Examples a class, the mean."""
        return None if not self.n_classes else self.n_examples / self.n_classes

    @property
    def noise(self) -> float:
        """The share of wrong labels, 0 where it is not known."""
        return 0.0 if self.wrong is None else self.wrong / self.n_examples


@dataclass(frozen=True)
class Advice:
    """What to do at one size.

    Attributes:
        keep: the size.
        strategy, by, start, cut, balanced: as for `dataprune prune`; `by` is "" for random, `strategy` "all" for not to prune.
        reasons: why, the strongest first.
    """

    keep: float
    strategy: str
    by: str
    start: float
    cut: float
    balanced: bool
    reasons: tuple[Reason, ...]

    @property
    def options(self) -> tuple[str, ...]:
        """The options of `dataprune prune` that do it; none for not to prune."""
        if self.strategy == "all":
            return ()
        options = ["--keep", f"{self.keep:g}", "--strategy", self.strategy]
        options += ["--by", self.by] if self.by else []
        options += ["--start", f"{self.start:g}"] if self.start else []
        options += ["--cut", f"{self.cut:g}"] if self.cut else []
        return (*options, "--balanced") if self.balanced else tuple(options)


def situation_of(run: "Run") -> Situation:
    """Read what a finished run says of its set. The estimate of wrong labels reads the trace."""
    from dataprune.run.suspects import suspects_of

    wrong = None
    with suppress(InputError):  # labels that cannot be judged leave the rest of the advice
        wrong = round(float(suspects_of(run).n_wrong))
    counts = np.array(run.manifest.data.class_counts)
    return Situation(
        n_examples=run.manifest.data.n_examples,
        n_classes=int((counts > 0).sum()),
        smallest_class=int(counts[counts > 0].min()),
        scores=tuple(run.scores),
        wrong=wrong,
        by_heart=run.manifest.memorised,
        scoring=scoring_cost(run.manifest.cost),
    )


def situation_from(trials: Mapping[str, Any]) -> Situation:
    """Read what can be known of a set from the trials of a study alone: its size and the scores that were tried."""
    scores = dict.fromkeys(str(score) for score in trials["score"])
    names = tuple(name for name in scores if name not in ("", "all", "random"))
    return Situation(n_examples=int(np.max(trials["n_train"])), scores=names)


def advise(situation: Situation, keep: Sequence[float] = SIZES, summary: "Summary | None" = None) -> tuple[Advice, ...]:
    """Return for each size what to keep, and why.

    What a study of this very set has measured at a size overrules the rules: a score only where it is better than random beyond
    chance, else random. The rules are for sizes that were not measured:

    - Down to 70 % kept nearly any score with `hardest` does as well as all data where classes are large (DUAL's re-runs on
      CIFAR-10); with about 500 examples a class down to 80 % (the report on CIFAR-100).
    - Below, `stratified` loses less than random, and `hardest` turns worse than random at about 30 % kept (the report) and falls
      far below it at 20 % (DUAL).
    - With few examples, a class or in all, the easy ones are worth more than the hard ones (Sorscher et al.; docs/findings.md),
      and nothing is gained by pruning.
    - Where labels are wrong, the hardest examples are those: they are left out first (the report's sliding windows).

    Args:
        situation: of the set.
        keep: sizes, in (0, 1].
        summary: of a study of this set.

    Raises:
        InputError: a size outside (0, 1].
    """
    for size in keep:
        if not 0 < size <= 1:
            raise invalid("keep", "be in (0, 1]", f"{size:g}", "It is the fraction kept: write 0.3 to keep 30 %.")
    return tuple(_measured(size, situation, summary) or _by_rule(size, situation) for size in keep)


def overall(situation: Situation, summary: "Summary | None" = None) -> tuple[Reason, ...]:
    """Return whether pruning pays at all, and what the advice rests on."""
    reasons = []
    if summary is not None:
        reasons.append(_most_dropped(summary))
    few = _few(situation)
    if few:
        reasons.append(Reason(f"{few} are few: training on all of them is cheap, and pruning hardly pays", "rule of thumb"))
        worse = (
            "of 5,000 pictures of CIFAR-10 the hardest by el2n, std or forget were a worse set than random ones at 70 % and below, "
            "and the easiest 40 % a better one by three to five points; "
        )
        better = "of 1,293 digits, which networks learn at once, the hardest half by std or el2n was a better one by a point"
        reasons.append(Reason(worse + better, "measured elsewhere", OURS))
    if situation.noise >= NOISY:
        text = (
            f"about {situation.wrong:,} labels ({situation.noise:.1%}) look wrong: look at those before anything is pruned "
            "(dataprune noise find)"
        )
        reasons.append(Reason(text, "counted here"))
    elif situation.wrong is not None:
        reasons.append(
            Reason(f"about {situation.wrong:,} labels ({situation.noise:.1%}) look wrong, too few to decide", "counted here")
        )
    if situation.by_heart:
        reasons.append(Reason("the members know the labels by heart: scores of the last epoch tell little here", "counted here"))
    if situation.scoring is not None and situation.scoring.flops > 0:
        text = (
            f"scoring cost {situation.scoring.flops / 1e12:,.3g} TFLOP; at 30 % dropped it has paid once trainings on all data "
            f"would have taken {situation.scoring.flops / 0.3 / 1e12:,.3g} TFLOP together"
        )
        reasons.append(Reason(text, "counted here"))
    if summary is None:
        text = "nothing was trained on kept sets of these data: a study would tell (dataprune study DATA --preset sweep)"
        reasons.append(Reason(text, "rule of thumb"))
    return tuple(reasons)


def _most_dropped(summary: "Summary") -> Reason:
    points = f"{100 * summary.tolerance:g} point{'' if summary.tolerance == 0.01 else 's'}"
    if summary.no_loss:
        return Reason(f"how much can be dropped cannot be told: {summary.no_loss}", "measured here")
    shown = [one for one in summary.droppable if one.keep < 1]
    if not shown:
        text = f"no size was shown to lose at most {points} against all data: by this study pruning does not pay"
        return Reason(text, "measured here")
    least = min(one.keep for one in shown)
    names = ", ".join(one.name for one in shown if one.keep == least)
    return Reason(f"down to keep {least:g} no more than {points} of accuracy is lost (by {names})", "measured here")


def _measured(keep: float, situation: Situation, summary: "Summary | None") -> Advice | None:
    """Advise by what was trained at this size; None where nothing was."""
    from dataprune.study.summary import BETTER

    if summary is None or keep >= 1:
        return None
    table = summary.table
    name = next(column for column in ("test_accuracy", "validation_accuracy") if column in table)
    here = np.abs(table["keep"] - keep) < SAME_KEEP
    here &= table["strategy"] != "curriculum"
    if "arm" in table and len(table["arm"]):
        here &= table["arm"] == table["arm"][0]
    random = np.flatnonzero(here & (table["strategy"] == "random"))
    tried = np.flatnonzero(here & (table["strategy"] != "random"))
    if not len(random) or not len(tried):
        return None
    better = [row for row in tried if table["verdict"][row] == BETTER]
    if not better and summary.no_interval:
        text = f"{_ways(len(tried), keep)} cannot be told from random: {summary.no_interval}; random costs no scoring"
        return Advice(keep, "random", "", 0.0, 0.0, False, (Reason(text, "measured here"), *_loss(table, int(random[0]))))
    if not better:
        seen = summary.smallest_differences[tried]
        most = f" (a difference of {100 * np.nanmedian(seen):.1f} points would have been seen)" if np.isfinite(seen).any() else ""
        text = f"none of {_ways(len(tried), keep)} was better than random beyond chance{most}"
        row = int(random[0])
        return Advice(keep, "random", "", 0.0, 0.0, False, (Reason(text, "measured here"), *_loss(table, row)))
    row = int(max(better, key=lambda at: table[name][at]))
    low, high = (100 * table[f"minus_random_{end}"][row] for end in ("low", "high"))
    text = f"{100 * table['minus_random'][row]:+z.1f} points against random of the same size ({low:+z.1f} ... {high:+z.1f})"
    reasons = [Reason(text, "measured here"), *_loss(table, row)]
    if len(better) > 1:
        text = f"the best of {len(better)} that beat random; as the best of several its lead is likely smaller than measured"
        reasons.append(Reason(text, "measured here"))
    score = str(table["score"][row])
    return Advice(keep, str(table["strategy"][row]), score, float(table["start"][row]), 0.0, False, tuple(reasons))


def _loss(table: Mapping[str, np.ndarray], row: int) -> tuple[Reason, ...]:
    value, low, high = (100 * table[f"minus_all{end}"][row] for end in ("", "_low", "_high"))
    if not np.isfinite(value):
        return ()
    interval = f"{low:+z.1f} ... {high:+z.1f}" if np.isfinite(low) else "no interval is known"
    return (Reason(f"{value:+z.1f} points against all data ({interval})", "measured here"),)


def _ways(count: int, keep: float) -> str:
    return f"{count} {'way' if count == 1 else 'ways'} to keep {keep:.0%}"


def _by_rule(keep: float, situation: Situation) -> Advice:
    if keep >= 1:
        return Advice(keep, "all", "", 0.0, 0.0, False, (Reason("everything is kept", "rule of thumb"),))
    if _few(situation):
        return _for_few(keep, situation)
    per_class = situation.per_class
    many = per_class is None or per_class >= MANY
    if keep >= (0.7 if many else 0.8) - 1e-9:
        return _hardest(keep, situation, many)
    return _stratified(keep, situation, many)


def _few(situation: Situation) -> str:
    """Return of what there are too few for the easy ones to go; "" where there are enough, or nobody knows."""
    per_class = situation.per_class
    if per_class is not None and per_class < SOME:
        return f"{per_class:,.0f} examples a class"
    return f"{situation.n_examples:,} examples" if situation.n_examples < SMALL else ""


def _for_few(keep: float, situation: Situation) -> Advice:
    reasons = (
        Reason(
            f"{_few(situation)} are few: with little data the easy examples are worth more",
            "measured elsewhere",
            SORSCHER,
        ),
        Reason("random keeps easy and hard ones and costs no scoring; --balanced keeps the small classes", "rule of thumb"),
    )
    return Advice(keep, "random", "", 0.0, 0.0, True, reasons)


def _hardest(keep: float, situation: Situation, many: bool) -> Advice:
    if many:
        reason = Reason(
            "at 30 % dropped keeping the hardest by el2n had 95.4 % and random 94.4 % on CIFAR-10 (all data 95.3 %)",
            "measured elsewhere",
            DUAL,
        )
    else:
        reason = Reason("about 20 % of CIFAR-100, with 500 examples a class, went at no loss", "measured elsewhere", REPORT)
    if situation.noise >= NOISY:
        return _without_noise(keep, situation, reason)
    score, why = _score(situation, FOR_HARDEST)
    text = f"{score} lost least over all sizes among the scores of its kind"
    others = (Reason(text, "measured elsewhere", REPORT),) if score in ("std", "flip") else ()
    return Advice(keep, "hardest", score, 0.0, 0.0, False, (reason, *others, *why))


def _without_noise(keep: float, situation: Situation, reason: Reason) -> Advice:
    """Keep the hardest but for as many as look wrong; where these do not fit, the easiest."""
    score, why = _score(situation, AGAINST_NOISE)
    share = np.ceil(100 * situation.noise) / 100
    start = round(max(0.0, 1 - keep - share), 6)
    text = f"the hardest {share:.0%} are left out: wrong labels gather there, and a window that reached them trained worse"
    reasons = (reason, Reason(text, "measured elsewhere", REPORT), *why)
    return Advice(keep, "window" if start else "easiest", score, start, 0.0, False, reasons)


def _stratified(keep: float, situation: Situation, many: bool) -> Advice:
    reasons = [_below(keep, many)]
    score, why = _score(situation, AGAINST_NOISE if situation.noise >= NOISY else FOR_STRATIFIED)
    cut = 0.0
    if situation.noise >= NOISY:
        cut = round(min(np.ceil(100 * situation.noise) / 100, 1 - keep), 6)
        reasons.append(Reason(f"--cut {cut:g} leaves out the hardest, where wrong labels gather", "measured elsewhere", REPORT))
    elif keep <= 0.3:
        reasons.append(
            Reason("at small sizes its authors leave out some of the hardest; try --cut 0.1 too", "measured elsewhere", ZHENG)
        )
    if situation.smallest_class is not None and situation.smallest_class * keep < 10:
        text = f"the smallest class, of {situation.smallest_class:,}, may vanish: --balanced keeps its share"
        return Advice(keep, "stratified", score, 0.0, cut, True, (*reasons, Reason(text, "counted here"), *why))
    return Advice(keep, "stratified", score, 0.0, cut, False, (*reasons, *why))


def _below(keep: float, many: bool) -> Reason:
    if not many:
        text = "on CIFAR-100 stratified had 77.2, 73.8, 68.7 % at 30, 50, 70 % dropped, random 75.2, 71.7, 64.9 (all data 78.4)"
    elif keep > 0.3:
        text = "on CIFAR-10 stratified had 95.1 % at 50 % dropped, random 93.2 and el2n's hardest 95.2 (all data 95.3)"
    else:
        text = (
            "on CIFAR-10 stratified had 92.7 and 91.3 % at 70 and 80 % dropped, random 90.5 and 88.3, el2n's hardest 91.6 and "
            "74.7 (all data 95.3)"
        )
    return Reason(text, "measured elsewhere", DUAL)


def _score(situation: Situation, wanted: tuple[str, ...]) -> tuple[str, tuple[Reason, ...]]:
    """Choose a score that the run has."""
    why: tuple[Reason, ...] = ()
    if situation.by_heart:
        wanted = tuple(name for name in (*wanted, *OVER_EPOCHS) if name in OVER_EPOCHS)
        why = (Reason("the members know the labels by heart, so only scores over all epochs tell examples apart", "counted here"),)
    have = situation.scores
    return next((name for name in wanted if not have or name in have), have[0] if have else wanted[0]), why
