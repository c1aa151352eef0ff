"""Which strategy at which size for a set, and why; or that pruning does not pay."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from dataprune.encoders.encoder import OURS
from dataprune.errors import invalid
from dataprune.noise.suspects import Suspects
from dataprune.noise.words import counts_in_words
from dataprune.run.manifest import RunManifest
from dataprune.study.cost import NO_ENCODER, scoring_cost
from dataprune.study.metric import Amount
from dataprune.study.summary import Summary, Verdict
from dataprune.study.wording import TEXTS, Note, note
from dataprune.training.recipes import PRETRAINED
from dataprune.training.settings import Cost

SIZES = (0.9, 0.7, 0.5, 0.3)
# Examples a class. CIFAR-10 has 5,000, CIFAR-100 500, the report's photos 1,000: the limits lie between such sets, no more is known
MANY, SOME = 2_000, 200
SMALL = 15_000  # examples in all: of 50,000 the easy ones could go, of 5,000 not, whatever their classes; no more is known
NOISY = 0.02  # from this share of suspects on, the hardest examples are to be mistrusted
TENTH, THIRD, METHODS_TO = 0.15, 0.3, 0.45  # studies of methods kept 10, 20 and 40 %: about the first, the first two, beyond
ABOUT_70, LEAST = (0.65, 0.75), 1_000  # size, and fewest examples, at which studies of vectors found the hardest better than random
OF_TEXTS = (0.45, 0.75)  # sizes at which the one study of texts lost nothing by the hardest
WEAK = 0.8  # networks that name fewer of the labels are told of better eyes
SAME_KEEP = 0.005
# For keeping the hardest: by the areas under the report's curves on CIFAR-10 and CIFAR-100, the best first.
FOR_HARDEST = ("std", "flip", "forget", "el2n", "pred_sum", "aum")
FOR_STRATIFIED = ("aum", "el2n", "forget", "confidence")
AGAINST_NOISE = ("el2n", "aum", "pred_sum", "confidence")
OVER_EPOCHS = ("flip", "forget", "aum", "confidence")


@dataclass(frozen=True)
class Situation:
    """What advice rests on; None where it is not known.

    Attributes:
        smallest_class: examples in it.
        scores: names of the scores that the run has.
        wrong: the estimated number of wrong labels; `counts` says it in words, with what is flagged.
        encoded: whether networks saw the vectors of an encoder.
        pretrained: whether they began from weights that had seen pictures.
        accuracy: share of the labels that networks name which did not see them.
        memorised: whether the members know nearly all labels they trained on, so that scores of the last epoch tell little.
        scoring: what scoring has cost; `uncounted` says in words what that leaves out.
        kind: what people see: images, texts, rows or features.
    """

    n_examples: int
    n_classes: int | None = None
    smallest_class: int | None = None
    scores: tuple[str, ...] = ()
    wrong: int | None = None
    memorised: bool = False
    scoring: Cost | None = None
    encoded: bool = False
    pretrained: bool = False
    accuracy: float | None = None
    counts: str = ""
    kind: str = "images"
    uncounted: str = ""

    @property
    def per_class(self) -> float | None:
        return None if not self.n_classes else self.n_examples / self.n_classes

    @property
    def noise(self) -> float:
        """The share of wrong labels, 0 where it is not known."""
        return 0.0 if self.wrong is None else self.wrong / self.n_examples

    @property
    def few(self) -> str:
        """Of what there are too few for the easy ones to go; "" where there are enough, or nobody knows."""
        if self.per_class is not None and self.per_class < SOME:
            return f"{self.per_class:,.0f} examples a class"
        return f"{self.n_examples:,} examples" if self.n_examples < SMALL else ""

    @property
    def is_noisy(self) -> bool:
        """Whether so many labels are wrong that they come before pruning."""
        return self.noise >= NOISY

    @property
    def has_many(self) -> bool:
        """Whether classes are large, as those of CIFAR-10."""
        return self.per_class is None or self.per_class >= MANY


@dataclass(frozen=True)
class Advice:
    """What to do at one size: as the options of `dataprune prune`; `by` is "" for random, `strategy` "all" for not to prune.

    `reasons` say why, the strongest first. `value` is the metric that a study measured, None where none did.
    """

    keep: float
    strategy: str
    reasons: tuple[Note, ...]
    by: str = ""
    start: float = 0.0
    cut: float = 0.0
    balanced: bool = False
    value: float | None = None

    @property
    def options(self) -> tuple[str, ...]:
        """The options of `dataprune prune` that do it; none for not to prune."""
        if self.strategy == "all":
            return ()
        options = ["--keep", f"{self.keep:g}", "--strategy", self.strategy, *(("--by", self.by) if self.by else ())]
        options += [word for name, value in self._fractions for word in (f"--{name}", f"{value:g}")]
        return (*options, "--balanced") if self.balanced else tuple(options)

    @property
    def _fractions(self) -> list[tuple[str, float]]:
        return [(name, value) for name, value in (("start", self.start), ("cut", self.cut)) if value]

    def __str__(self) -> str:
        if self.strategy == "all":
            return "keep all"
        options = [f"{name} {value:g}" for name, value in self._fractions] + ["balanced"] * self.balanced
        by = f" by {self.by}" if self.by else ""
        return f"{self.strategy}{by}" + (f" ({', '.join(options)})" if options else "")


def situation_of(manifest: RunManifest, scores: Iterable[str], found: Suspects | None = None) -> Situation:
    """Say what is known of a set by a finished run: its manifest, the names of its scores, and how its labels were judged, if they
    were."""
    sizes, spec, kind = np.array(manifest.data.class_counts), manifest.spec, manifest.data.kind
    known = Situation(
        n_examples=manifest.data.n_examples,
        n_classes=int((sizes > 0).sum()),
        smallest_class=int(sizes[sizes > 0].min()),
        scores=tuple(scores),
        memorised=manifest.memorised,
        encoded=spec.encoder is not None and (kind == "images" or spec.encoder.name in OURS),
        pretrained=spec.model == PRETRAINED,
        scoring=scoring_cost(manifest.cost),
        kind=kind,
        uncounted="" if spec.encoder is None else NO_ENCODER,
    )
    if found is None:
        return known
    wrong = None if found.n_wrong is None else round(found.n_wrong)
    return replace(known, wrong=wrong, accuracy=found.accuracy, counts=counts_in_words(found))


def situation_from(trials: Mapping[str, Any]) -> Situation:
    """Read what can be known of a set from the trials of a study alone: its size and the scores that were tried."""
    names = (name for name in dict.fromkeys(map(str, trials["score"])) if name not in ("", "all", "random"))
    return Situation(n_examples=int(np.max(trials["n_train"])), scores=tuple(names))


def advise(situation: Situation, keep: Sequence[float] = SIZES, summary: Summary | None = None) -> tuple[Advice, ...]:
    """Return for each size what to keep, and why.

    What a study of this very set has measured at a size overrules the rules: a score only where it is better than random beyond
    chance, or was shown to lose no more than the tolerance where random was not; else random. The rules are for sizes that were not
    measured; the words of each reason say its ground.
    """
    for size in keep:
        if not 0 < size <= 1:
            raise invalid("keep", "be in (0, 1]", f"{size:g}", "It is the fraction kept: write 0.3 to keep 30 %.")
    return tuple(_measured(size, summary) or _by_rule(size, situation) for size in keep)


def grouped(advices: Sequence[Advice]) -> list[tuple[tuple[Advice, ...], tuple[Note, ...]]]:
    """Join sizes at which the same is advised for the same reasons, and give each reason once, where it comes first."""
    groups: dict[tuple[str, tuple[Note, ...]], list[Advice]] = {}
    for one in advices:
        groups.setdefault((str(one), one.reasons), []).append(one)
    said: set[Note] = set()
    found = []
    for (_, reasons), members in groups.items():
        found.append((tuple(members), tuple(one for one in reasons if one not in said)))
        said.update(reasons)
    return found


def overall(situation: Situation, summary: Summary | None = None) -> tuple[Note, ...]:
    """Return whether pruning pays at all, and what the advice rests on."""
    reasons = [] if summary is None else [_most_dropped(summary)]
    if situation.few:
        reasons += [note("few: cheap", few=situation.few), note("few: found")]
    if situation.counts:
        reasons.append(note("wrong: many" if situation.is_noisy else "wrong: few", counts=situation.counts))
    is_weak = situation.accuracy is not None and situation.accuracy < WEAK
    if is_weak and situation.kind == "images" and not (situation.encoded or situation.pretrained):
        reasons.append(note("eyes: tuned"))
    if situation.memorised:
        reasons.append(note("memorised"))
    if situation.scoring is not None and situation.scoring.flops > 0:
        tflop = situation.scoring.flops / 1e12
        reasons.append(note("scoring cost", tflop=tflop, uncounted=situation.uncounted, paid=tflop / 0.3))
    reasons += [note("of pictures", kind=situation.kind)] if situation.kind in ("texts", "rows") else []
    return (*reasons, note("no study")) if summary is None else tuple(reasons)


def _most_dropped(summary: Summary) -> Note:
    if summary.no_loss is not None:
        return note("droppable: unknown", why=summary.no_loss)
    by, shown = Amount(summary.tolerance, summary.metric), [one for one in summary.droppable if one.keep < 1]
    if not shown:
        return note("droppable: none", by=by)
    least = min(one.keep for one in shown)
    return note("droppable", keep=least, by=by, names=", ".join(one.name for one in shown if one.keep == least))


def _measured(keep: float, summary: Summary | None) -> Advice | None:
    """Advise by what was trained at this size; None where nothing was, or no random set."""
    if summary is None or keep >= 1:
        return None
    table, cells = summary.table, summary.cells
    same = (abs(cell.keep - keep) < SAME_KEEP and not cell.order and cell.arm == cells[0].arm for cell in cells)
    here = [row for row, is_here in enumerate(same) if is_here]
    random, tried = [row for row in here if cells[row].is_random], [row for row in here if cells[row].is_scored]
    if not random or not tried:
        return None
    smallest = {(one.arm, one.name): one.keep for one in summary.droppable if one.keep < 1}
    safe = [row for row in here if smallest.get((cells[row].arm, cells[row].name), 2.0) <= keep + SAME_KEEP]
    better = [row for row in tried if table["verdict"][row] == Verdict.BETTER]
    among = [row for row in better if row in safe] or better
    if not among and not set(random) & set(safe):
        among = [row for row in tried if row in safe]
    gain = (1 if summary.metric.higher else -1) * table[summary.metric.column]
    row = max(among, key=lambda at: float(gain[at]), default=random[0])
    value, smaller = float(table[summary.metric.column][row]), _better_smaller(summary, row, gain)
    if not among:
        reasons = [*_why_random(keep, tried, summary), *_loss(summary, row), *smaller]
        return Advice(keep, "random", tuple(reasons), value=value)
    reasons = [note("best: against random", **_amounts(summary, "minus_random", row)), *_loss(summary, row)]
    if row not in better:
        reasons.append(note("best: safe", by=Amount(summary.tolerance, summary.metric)))
    elif len(better) > 1:
        reasons.append(note("best: of several", n=len(better)))
    return Advice(keep, cells[row].strategy, (*reasons, *smaller), cells[row].score, cells[row].start, value=value)


def _better_smaller(summary: Summary, row: int, gain: np.ndarray) -> tuple[Note, ...]:
    """Say so where a smaller set of the study did better than the one in this row."""
    cells, here = summary.cells, summary.cells[row]
    rows = [at for at, one in enumerate(cells) if one.keep < here.keep - SAME_KEEP and one.arm == here.arm and not one.order]
    best = max(rows, key=lambda at: float(gain[at]), default=row)
    if not gain[best] > gain[row]:
        return ()
    by = Amount(abs(float(gain[best] - gain[row])), summary.metric)
    return (note("best: smaller", keep=cells[best].keep, name=cells[best].name, by=by),)


def _why_random(keep: float, tried: list[int], summary: Summary) -> tuple[Note, ...]:
    if summary.no_interval is not None:
        return (note("random: not known", n=len(tried), keep=keep, why=summary.no_interval),)
    reasons, seen = [note("random: none better", n=len(tried), keep=keep)], summary.smallest_differences[tried]
    if np.isfinite(seen).all():
        reasons.append(note("random: would have been seen", by=Amount(float(seen.max()), summary.metric)))
    return tuple(reasons)


def _amounts(summary: Summary, column: str, row: int) -> dict[str, Amount]:
    ends = (("by", ""), ("low", "_low"), ("high", "_high"))
    return {name: Amount(float(summary.table[f"{column}{end}"][row]), summary.metric) for name, end in ends}


def _loss(summary: Summary, row: int) -> tuple[Note, ...]:
    found = _amounts(summary, "minus_all", row)
    if not np.isfinite(found["by"].value):
        return ()
    has_interval = np.isfinite(found["low"].value)
    return (note("against all", **found) if has_interval else note("against all: no interval", by=found["by"]),)


def _by_rule(keep: float, situation: Situation) -> Advice:
    if keep >= 1:
        return Advice(keep, "all", (note("all"),))
    if situation.few:
        return _of_few(keep, situation)
    is_measured = situation.has_many or (situation.encoded and not situation.is_noisy)
    if keep < (0.7 if is_measured else 0.8) - 1e-9:
        return _stratified(keep, situation)
    large = note("hardest: many" if situation.has_many else "hardest: some")
    here = f"{'many' if situation.has_many else 'some'}: {'vectors' if situation.encoded else 'scratch'}"
    found = (note(here),) if here in TEXTS else ()
    if not situation.is_noisy:
        score, why = _score(situation, FOR_HARDEST)
        least = (note("score: least lost", score=score),) if score in ("std", "flip") else ()
        return Advice(keep, "hardest", (large, *found, *least, *why), score)
    # The hardest but for as many as look wrong; where these do not fit, the easiest.
    score, why = _score(situation, AGAINST_NOISE)
    share = float(np.ceil(100 * situation.noise) / 100)
    start = round(max(0.0, 1 - keep - share), 6)
    return Advice(keep, "window" if start else "easiest", (large, note("noise: window", share=share), *why), score, start)


def _of_few(keep: float, situation: Situation) -> Advice:
    """Advise random, but what was better than it at sizes, noise and eyes like these on the sets that were measured."""
    is_noisy, has = situation.is_noisy, situation.scores
    is_enough = situation.n_examples >= LEAST and "el2n" in has
    if situation.kind == "texts" and OF_TEXTS[0] < keep <= OF_TEXTS[1] and is_enough and not is_noisy:
        return Advice(keep, "hardest", (note("texts: half"),), "el2n")
    is_enough &= situation.encoded
    if ABOUT_70[0] <= keep <= ABOUT_70[1] and is_enough and not is_noisy:
        return Advice(keep, "hardest", (note("few: seventy"),), "el2n")
    if keep > METHODS_TO:
        return Advice(keep, "random", (note("few: random"),), balanced=True)
    measured = note("methods: wrong labels" if is_noisy else "methods: as given")
    if keep <= THIRD and situation.encoded:
        return Advice(keep, "herding", (note("methods: herding"), measured), balanced=True)
    if is_noisy and keep <= TENTH and "dual" in has:
        return Advice(keep, "beta", (note("methods: beta"), measured), "dual", balanced=True)
    return Advice(keep, "random", (measured, note("few: random")), balanced=True)


def _stratified(keep: float, situation: Situation) -> Advice:
    is_noisy, count = situation.is_noisy, situation.smallest_class
    score, why = _score(situation, AGAINST_NOISE if is_noisy else FOR_STRATIFIED)
    below = "some" if not situation.has_many else "half" if keep > 0.3 else "small"
    reasons, cut = [note(f"stratified: {below}")], 0.0
    if is_noisy:
        cut = round(min(float(np.ceil(100 * situation.noise) / 100), 1 - keep), 6)
        reasons.append(note("noise: cut", cut=cut))
    elif keep <= 0.3:
        reasons.append(note("stratified: cut"))
    balanced = count is not None and count * keep < 10
    reasons += [note("stratified: balanced", count=count)] if balanced else []
    return Advice(keep, "stratified", (*reasons, *why), score, cut=cut, balanced=balanced)


def _score(situation: Situation, wanted: tuple[str, ...]) -> tuple[str, tuple[Note, ...]]:
    why: tuple[Note, ...] = ()
    if situation.memorised:
        wanted = tuple(name for name in (*wanted, *OVER_EPOCHS) if name in OVER_EPOCHS)
        why = (note("score: all epochs"),)
    have = situation.scores
    return next((name for name in wanted if not have or name in have), have[0] if have else wanted[0]), why
