"""`dataprune prune`: turns a score into a kept set, as a file or a folder. Imports no torch: it answers at once."""

import shlex
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import dataprune as dp
from dataprune.cli.lines import say, say_columns, say_written, warn
from dataprune.cli.options import FLAT, Folders, Output, Overwrite, Run, Seed, lost_classes, only_one
from dataprune.cli.results import rows_of
from dataprune.errors import DatapruneError, invalid, percent, unknown_choice
from dataprune.report.text import pluralise
from dataprune.training.settings import ScoreReading

if TYPE_CHECKING:
    import numpy as np

FEW_CLASSES = 20


@dataclass(frozen=True)
class Rule:
    """How much to keep, and by what.

    Attributes:
        by: Which score decides: a column of RUN/scores.parquet or another of docs/scores.md, computed when asked for;
            FILE:COLUMN with one number for each example, higher is harder (by the column that names the examples,
            else by row); or module:function of a trace. Default: el2n; for moderate median_distance, for beta dual.
        keep: Fraction to keep, above 0 and at most 1: 0.7 keeps 70 %.
        count: How many examples to keep, in place of --keep.
        strategy: By the score: hardest, easiest, window (a band from --start on), random, moderate (the middle), stratified (over
            the whole range), beta (with --by dual), metriq (most of the classes with most errors). By features: k-center, herding,
            graph-cut, facility-location, d2 (and the score), semdedup, craig and gradmatch (and the networks' answers). Or
            module:function. Default: hardest.
        balanced: Keep the same share of every class.
        start: For window: leave out this fraction of the easiest.
        cut: For stratified: leave out this fraction of the hardest first.
        cut_by: For stratified: the score that decides what is hardest for --cut, as for --by. Default: the same.
        features: Vectors for strategies that look at them, .npy or .parquet. Default: those that RUN has.
        option: NAME=VALUE of a strategy; may be given several times: alpha (graph-cut), neighbours and gamma (d2), clusters,
            easy and epsilon (semdedup: with epsilon and no size, examples less alike than 1 - epsilon are kept), exponent (beta),
            ridge (gradmatch).
    """

    by: str | None = None
    keep: float | None = None
    count: int | None = None
    strategy: str | None = None
    balanced: bool = False
    start: float = 0.0
    cut: float = 0.0
    cut_by: str | None = None
    features: Path | None = None
    option: tuple[str, ...] = ()

    def proven_by(self, study: Path, run: "dp.Run", reading: ScoreReading) -> "Rule":
        """Return the rule of what a study showed to be no worse; say what it showed."""
        from dataprune.study.grid import NO_SCORE
        from dataprune.study.proven import proven

        asked, usual = vars(self) | vars(reading), vars(Rule()) | vars(ScoreReading())
        for name in ("count", "option", "cut_by", "start", "cut", *vars(reading)):
            if asked[name] != usual[name]:
                raise invalid(name, "be left out with --proven, since no study tried it", asked[name])
        opened = dp.open_study(study)
        if self.balanced and not opened.spec.balanced:
            raise invalid("balanced", "be left out with --proven of a study without it", "it", "Or make the study with --balanced.")
        vectors = None if self.features is None else dp.read_features(self.features).digest
        cell, shown = proven(opened, run, self.keep, self.by, self.strategy, vectors)
        say(f"proven: {shown}")
        by = None if cell.is_random or cell.score == NO_SCORE else cell.score
        return replace(self, by=by, keep=cell.keep, strategy=cell.strategy, balanced=opened.spec.balanced)

    @property
    def options(self) -> dict[str, Any]:
        """What the strategy is told beside the size, --start and --cut too."""
        found: dict[str, Any] = {"start": self.start, "cut": self.cut}
        for one in self.option:
            name, _, value = one.partition("=")
            try:
                found[name] = float(value)
            except ValueError:
                raise invalid("--option", "read NAME=VALUE with a number", repr(one), "For example --option gamma=0.5.") from None
        return found

    def look(self, run: "dp.Run", reading: ScoreReading) -> "tuple[dp.Score, dp.Views]":
        """Check what is asked, and compute the score and what else the strategy looks at."""
        from dataprune.run.own_scores import needs_of, score_named, views_of

        strategy = self.strategy or "hardest"
        if strategy != "semdedup" or "epsilon" not in self.options:
            only_one({"--keep": self.keep, "--count": self.count})
        if ":" not in strategy and strategy not in dp.STRATEGIES:
            raise unknown_choice("strategy", strategy, dp.STRATEGIES)
        usual = {"moderate": "median_distance", "beta": "dual"}.get(strategy, "el2n")
        cut_score = None if self.cut_by is None else score_named(run, self.cut_by).difficulty
        return score_named(run, self.by or usual, **vars(reading)), views_of(run, needs_of([strategy]), self.features, cut_score)

    def select(self, score: "dp.Score", views: "dp.Views", seed: int) -> "dp.Selection":
        """Pick what is kept."""
        how = {"strategy": self.strategy or "hardest", "balanced": self.balanced, **self.options}
        return dp.select(score, self.keep, count=self.count, views=views, seed=seed, **how)


def prune(
    run: Run,
    /,
    *,
    rule: Annotated[Rule, FLAT] = Rule(),
    reading: Annotated[ScoreReading, FLAT] = ScoreReading(),
    seed: Seed = 0,
    out: Output | None = None,
    folders: Annotated[Folders, FLAT] = Folders(),
    proven: Path | None = None,
    overwrite: Overwrite = False,
) -> object:
    """Pick the examples worth training on, by a score of RUN.

    Takes a scored run and how much to keep. Writes the kept examples as a file, or as a folder of pictures that can be trained on.
    Without --out, --copy-to or --link-to it only says what would be kept. What was dropped in dataprune review is left out first.

    For example:
        dataprune prune run --keep 0.7 --out kept.csv
        dataprune prune run --by forget --count 5000 --balanced --copy-to flowers-small

    Args:
        out: Write the kept set: .csv or .parquet (id, label, row, score), .txt (ids), .npy (row numbers).
        proven: Keep only what this study showed to lose no more than its tolerance, else refuse; without --keep the smallest such
            set.
    """
    from dataprune.run.export import Folder, kept_columns

    opened = dp.open_run(run)
    if proven is not None:
        rule = rule.proven_by(proven, opened, reading)
    score, views = rule.look(opened, reading)
    dataset, decided = folders.pictures_of(opened), _decided(opened, is_proven=proven is not None)
    if decided is None:
        kept = rule.select(score, views, seed)
    else:
        rows, dropped = decided.rows, decided.count("drop")
        score = replace(score, values=score.values[rows], ids=decided.ids[rows], labels=decided.labels[rows])
        dataset = dataset and dataset.with_labels(decided.labels, decided.classes)
        kept = rule.select(score, views.take(rows), seed)
        kept = replace(kept, rows=rows[kept.rows], n_total=len(decided), spec={**kept.spec, "dropped": dropped})
    made = {place: Folder(kept, dataset, how) for place, how in folders.asked.items() if dataset is not None}
    for place, folder in made.items():
        folder.check_at(place)
    if out is not None:
        dp.write_kept(kept, out, opened, overwrite=overwrite)
    for place, folder in made.items():
        folder.write(place)
    say_kept(kept, opened, None if decided is None else score.labels)
    _warn_of_suspects(kept, opened)
    if rule.by is None and rule.strategy is None:
        _warn_of_rule(opened, len(kept) / kept.n_total)
    say_written("--out kept.csv", out, folders.asked, f"and {out.name}.json with what was asked" if out else "")
    sizes = {"n_kept": len(kept), "n_total": kept.n_total}
    return {**kept.spec, "notes": kept.notes, **sizes, "rows": rows_of(kept_columns(kept, opened))}


def _decided(run: "dp.Run", *, is_proven: bool) -> "dp.Decisions | None":
    """Return what was decided in review, if it counts, and say so."""
    from dataprune.run.journal import decisions_of

    decided = decisions_of(run)
    if decided is not None and is_proven:
        warn("--proven does not look at what was decided in review: the study did not know of it")
        return None
    if decided is not None:
        gone, moved = decided.count("drop"), decided.count("relabel")
        say(f"reviewed: {pluralise(gone, 'example')} dropped and left out, {moved:,} with new labels; sizes are of the rest")
    return decided


def _warn_of_suspects(kept: "dp.Selection", run: "dp.Run") -> None:
    """Warn of kept labels that `noise find` flagged, and that nobody has decided to keep or corrected since."""
    from dataprune.run.journal import Journal
    from dataprune.run.run import local
    from dataprune.tables import read_table

    file, cells = Path(local(run.path).get("suspects") or ""), dict[str, "np.ndarray"]()
    with suppress(DatapruneError):  # it may have been moved, or be another table now
        cells = read_table(file, ["id", "label", "is_suspect", "decision"], as_text=True).columns
    rows = zip(*(map(str, column.tolist()) for column in cells.values()), strict=True)
    meant = {name for (_, name), one in Journal(run.path).state.items() if one.decision == "keep"}
    are = {(name, label): is_flagged.lower() == "true" and word.strip() != "keep" for name, label, is_flagged, word in rows}
    flagged = {pair for pair, is_flagged in are.items() if is_flagged and pair[0] not in meant}
    labels = () if kept.labels is None else (run.classes[label] for label in kept.labels.tolist())
    if count := sum(pair in flagged for pair in zip(kept.ids.tolist(), labels, strict=False)):
        what = f"kept with a label that is flagged as wrong in {file}: {pluralise(count, 'example')}"
        warn(f"{what}. To look at them first: dataprune review {shlex.quote(str(run.path))}")


def _warn_of_rule(run: "dp.Run", keep: float) -> None:
    """Warn where nobody chose a rule and what is known without reading the trace speaks against the hardest by el2n."""
    from dataprune.study.advice import advise, situation_of

    (one,) = advise(situation_of(run.manifest, run.scores), [keep])
    if one.strategy not in ("all", "hardest") or (run.manifest.memorised and one.by != "el2n"):
        known = (
            "the networks memorised the labels" if run.manifest.memorised else f"of a set like this {one} is advised at this size"
        )
        warn(f"kept by the usual rule, hardest by el2n, but {known}. To see why: dataprune advise {shlex.quote(str(run.path))}")


def say_kept(kept: "dp.Selection", run: "dp.Run", labels: "np.ndarray | None" = None) -> None:
    """Report how much is kept of what, by class if there are few, and which classes are lost; `labels` are those of the run."""
    import numpy as np

    whole = run.labels if labels is None else labels

    by = "" if kept.spec["score"] is None or kept.strategy == "random" else f" by {kept.spec['score']}"
    say(f"kept {len(kept):,} of {pluralise(kept.n_total, 'example')} ({percent(len(kept) / kept.n_total, 1)}): {kept.strategy}{by}")
    if kept.labels is not None:
        if len(run.classes) <= FEW_CLASSES:
            counts = [np.bincount(given, minlength=len(run.classes)).tolist() for given in (kept.labels, whole)]
            say_columns([("class", "kept", "of"), *zip(run.classes, *counts, strict=True)], right=(1, 2))
        few = "fewer examples are kept than there are classes"
        cure = few if kept.spec["balanced"] else "--balanced keeps the same share of each"
        if lost := lost_classes(whole, kept.labels, run.classes):
            warn(f"nothing is kept of {lost}; {cure}.")
    say(f"seed {kept.spec['seed']}, sha256 of the kept ids {kept.ids_hash}")
