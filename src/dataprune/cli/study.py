"""`dataprune study`: trains on kept sets and says what it shows: the table of cells, areas, what can be dropped."""

import shlex
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter, Token

import dataprune as dp
from dataprune.cli import options
from dataprune.cli.lines import begin, complain, say, say_columns, warn
from dataprune.cli.options import FLAT, Balanced, Batch, Data, Encoder, Output, Quiet, Reading, Seed, Wait, at_least
from dataprune.cli.progress import Progress, studying
from dataprune.cli.results import Ended, rows_of
from dataprune.errors import InputError, invalid, percent
from dataprune.report.text import duration, operations, pluralise
from dataprune.training.settings import Hardware, Settings

if TYPE_CHECKING:
    from dataprune.study.run_trials import StudyProgress
    from dataprune.study.summary import Summary


PLOTS, LOGS = "plots", "log"


def _with_commas(of_word: Callable[[str], Any], what: str, metavar: str) -> Parameter:
    """Return an option whose value is taken apart at its commas."""

    def parse(_: Any, tokens: Sequence[Token]) -> tuple[Any, ...]:
        words = [one.strip() for one in tokens[-1].value.split(",")]
        with suppress(ValueError):
            if all(words):
                return tuple(of_word(one) for one in words)
        raise invalid(tokens[-1].keyword or "", f"be {what}", repr(tokens[-1].value))

    return Parameter(converter=parse, n_tokens=1, metavar=metavar)


def _stage(word: str) -> tuple[int, float]:
    length, _, share = word.partition(":")
    return int(length), float(share)


AtLeastOne = Annotated[int | None, at_least(1)]
Words = Annotated[tuple[str, ...] | None, _with_commas(str, "names with commas between them", "NAMES")]
Fractions = Annotated[
    tuple[float, ...] | None, _with_commas(float, "fractions with commas between them, such as 0.9,0.5", "FRACTIONS")
]
STAGES = _with_commas(_stage, "EPOCHS:SHARE with commas between them, such as 10:0.5,20:1", "STAGES")


@dataclass(frozen=True)
class Changes:
    """What is asked in place of what the preset asks.

    Attributes:
        seeds: Trainings of each cell. Default: 3.
        scores: Scores to compare, with commas: el2n,forget,km; or FILE:COLUMN with one number for each training example. Default:
            those of el2n, std, pred_sum, flip, forget and km that there are.
        keep: Sizes, with commas: 0.9,0.5 keeps 90 % and 50 %.
        start: Where windows begin, with commas.
        strategy: Strategies in place of the preset's, with commas: hardest,stratified. As for dataprune prune.
        budget: Give every training the same epochs, or the same number of batches. Default: epochs.
        epochs: Epochs of a training on all data. Default: by the size.
        model: What is trained, as for dataprune score. Default: proxy, or linear for features.
        recipe: How, as for dataprune score. Default: the fast one for the data.
        precision: Compute in float32 (fp32) or bfloat16 (bf16), also when scoring. Default: auto, the faster one here.
        noise: A second arm in which this share of each class is labelled wrongly.
        clusters: For km: numbers of clusters, auto or classes, with commas.
        dynamic: Arms that leave out other examples in every epoch, with commas: infobatch,rs2; or with what they keep: rs2:0.3.
            Each beside random of the same cost. Without a preset this is all that is asked.
        stages: Of a curriculum, EPOCHS:SHARE with commas: 10:0.5,5:0.8,20:1.
        tolerance: A loss of accuracy that counts as none. Default: 0.01.
        racing: After two seeds train no more of what is surely worse than random of its size by more than the tolerance.
        test_share: Cut this share off as test where the data have no test split. Default: 0.2.
        trainer: Train by this command in place of our networks, or by module:function. These places are filled in: {ids}, {rows},
            {test} and {validation} are files of one entry a line, {folder} holds the kept pictures as links, {seed}, {budget} (from
            --epochs), {out} a folder of its own, {result} the file to write: {"accuracy": 0.93}. An id is the picture's path below
            DATA (train/rose/1.jpg), as in scores.parquet; a row that no file names has its number.
        metric: What a trainer is judged by: NAME:higher or NAME:lower, with :LOW:HIGH where it has a range. Default: accuracy.
        time_limit: Seconds after which a training by the trainer is ended and counts as failed.
    """

    seeds: AtLeastOne = None
    scores: Words = None
    keep: Fractions = None
    start: Fractions = None
    strategy: Words = None
    balanced: Balanced = False
    budget: Literal["epochs", "steps"] | None = None
    epochs: AtLeastOne = None
    model: str | None = None
    recipe: str | None = None
    batch: Batch = None
    precision: Literal["auto", "fp32", "bf16"] | None = None
    noise: float | None = None
    clusters: Words = None
    dynamic: Words = None
    stages: Annotated[tuple[tuple[int, float], ...] | None, STAGES] = None
    tolerance: float | None = None
    racing: bool = False
    test_share: float | None = None
    trainer: str | None = None
    metric: str | None = None
    time_limit: float | None = None

    def of(self, spec: "dp.StudySpec", seed: int) -> "dp.StudySpec":
        """Return the spec with the changes."""
        from dataprune.study.presets import with_sweeps

        given = {name: value for name, value in vars(self).items() if value is not None and value is not False}
        sweeps = [given.pop(name, None) for name in ("keep", "start", "strategy")]
        return with_sweeps(replace(spec, **given, seed=seed or spec.seed), *sweeps)


@dataclass(frozen=True)
class Sources:
    """What is taken from elsewhere, and from before.

    Attributes:
        run: Take the scores from this run of the same data. Default: score first, into STUDY/run.
        reuse: Take trials that are the same from this study; may be given several times.
        features: Features for km, a row for each training example; pixels takes the main directions of the pictures themselves.
        effort: How much to spend on scoring, where there is no --run.
        retry_failed: Train again what failed before.
    """

    run: Path | None = None
    reuse: list[Path] | None = None
    features: str | None = None
    effort: Literal["low", "medium", "high"] = "medium"
    retry_failed: bool = False

    def check(self, spec: "dp.StudySpec") -> None:
        """Refuse what cannot be taken for a study, before anything is read."""
        from dataprune.run.own_scores import is_score_file
        from dataprune.study.conditions import check_question
        from dataprune.study.study import is_study

        check_question(spec, self.run, self.features is not None, [name for name in spec.scores if is_score_file(name)])
        for other in self.reuse or ():
            if not is_study(other):
                raise invalid("reuse", "be a folder made by dataprune study", str(other))
        named = f"the scores {', '.join(spec.scores) or 'of the run'}"
        if self.features is not None and "km" not in spec.scores and spec.scores:
            raise invalid("features", "go with the score km", named)
        if spec.clusters and "km" not in spec.scores:
            raise invalid("clusters", "go with the score km", named, "Add --scores km.")

    def inputs(self, spec: "dp.StudySpec", dataset: "dp.Dataset") -> "dp.StudyInputs":
        """Return what `dp.run_study` takes."""
        from dataprune.run.own_scores import is_score_file, score_of_file
        from dataprune.study.conditions import PIXELS

        file = self.features if self.features in (None, PIXELS) else dp.read_features(Path(self.features))
        own = tuple(replace(score_of_file(name, dataset.ids), name=name) for name in spec.scores if is_score_file(name))
        settings = Settings(effort=self.effort, seed=spec.seed, precision=spec.precision)
        return dp.StudyInputs(self.run, settings, file, tuple(self.reuse or ()), own, retry_failed=self.retry_failed)


def study(
    data: Data,
    /,
    *,
    preset: str | None = None,
    out: Output | None = None,
    spec: Path | None = None,
    print_spec: bool = False,
    changes: Annotated[Changes, FLAT] = Changes(),
    sources: Annotated[Sources, FLAT] = Sources(),
    encoder: Encoder = "auto",
    test: str | None = None,
    reading: Annotated[Reading, FLAT] = Reading(),
    wait: Wait = False,
    seed: Seed = 0,
    hardware: Annotated[Hardware, FLAT] = Hardware(),
    log: list[Literal["tensorboard", "wandb", "mlflow"]] | None = None,
    quiet: Quiet = False,
) -> object:
    """Prove by training which part of DATA matters.

    Every kept set is trained with several seeds, beside random sets of the same size and all data. Test data are looked at once for
    each training. Writes STUDY/trials.parquet, STUDY/summary.parquet and plots. Interrupted, the same command goes on; another
    preset in the same folder finds the trainings that are the same.

    For example:
        dataprune study flowers --preset sweep --out study
        dataprune study digits --preset window --scores el2n,forget --seeds 5 --out study
        dataprune study flowers --trainer "python train.py --ids {ids} --seed {seed} --out {result}" --out study

    Args:
        preset: half, sweep, window, easy-vs-hard, noise-window, clusters, methods, dynamic or curriculum. Default: sweep.
        out: Folder for the results; made if it is not there.
        spec: Ask what this TOML file asks, in place of a preset.
        print_spec: Print what would be asked as TOML, and end.
        test: Test data of their own, in place of the source's.
        log: Follow each trial in TensorBoard, Weights & Biases or MLflow: in STUDY/log, or where their environment says; may be
            given several times.
    """
    asked = _question(preset, spec, changes, seed)
    if print_spec:
        return _printed(asked)
    if out is None:
        raise invalid("out", "name the folder for the results", "nothing", "Or ask with --print-spec what would be done.")
    from dataprune.data.folders import refuse_output_inside_data
    from dataprune.run.score import eyes_for
    from dataprune.study.runner import check_out

    check_out(out)
    sources.check(asked)
    splits = options.read_all(data, reading, hardware.workers, test=test)
    options.say_splits(data, splits)
    refuse_output_inside_data(splits.train, out)
    if splits.test is not None and changes.test_share is not None:
        raise invalid("test_share", "be left out where the data have a test split", changes.test_share)
    by_run = None if sources.run is None else dp.open_run(sources.run).eyes
    splits = options.encoded(splits, by_run or eyes_for(encoder, asked.model, asked.recipe), hardware)
    make = partial(dp.run_study, splits, asked, out, wait=wait)
    done = _conduct(make, sources.inputs(asked, splits.train), hardware, {name: out / LOGS / name for name in log or ()})
    return _report(done, sources.run)


def _question(preset: str | None, spec: Path | None, changes: Changes, seed: int) -> "dp.StudySpec":
    from dataprune.study.spec import read_spec

    if preset is not None and spec is not None:
        raise InputError("give one of --preset and --spec, got both.")
    usual = "sweep" if changes.dynamic is None else "dynamic"
    return changes.of(dp.preset(preset or usual) if spec is None else read_spec(spec), seed)


def _printed(asked: "dp.StudySpec") -> "dp.StudySpec":
    from dataprune.study.presets import QUESTIONS
    from dataprune.study.spec import to_toml

    begin((), quiet=False)  # here this is the result
    say(*([f"# {QUESTIONS[asked.preset]}"] if asked.preset in QUESTIONS else []), *to_toml(asked).splitlines())
    return asked


def _conduct(make: Callable[..., "dp.Study"], inputs: "dp.StudyInputs", hardware: Hardware, logs: dict[str, Path]) -> "dp.Study":
    """Make the study, with progress and cost on stdout."""
    from dataprune.cli.score import train
    from dataprune.study.loggers import StudyLog

    def scored(dataset: "dp.Dataset", folder: Path, settings: Settings) -> "dp.Run":
        say(f"scoring into {folder}")
        return train(dataset, folder, settings, hardware)

    with ExitStack() as stack, Progress("studying") as progress:
        listeners: list[Callable[[StudyProgress], None]] = [
            studying(progress),
            *(stack.enter_context(StudyLog(*one)) for one in logs.items()),
        ]

        def hear(message: "StudyProgress") -> None:
            for listener in listeners:
                listener(message)

        done = make(replace(inputs, scorer=scored), hardware, listener=hear)
    if not progress.heard and done.manifest is not None:
        say(f"{done.path} was finished at {done.manifest.finished}: nothing had to be trained")
        warn(*done.manifest.notes)
    return done


def _report(done: "dp.Study", run_folder: Path | None) -> Ended:
    from dataprune.report.study_figures import write_study_plots
    from dataprune.run.own_scores import known_score
    from dataprune.study.study import RUN

    summary = done.summary if (done.trials["status"] == "ok").any() else None
    if summary is not None:
        place, plots = run_folder or done.path / RUN, done.path / PLOTS
        run = dp.open_run(place) if place.exists() else None
        named = [known_score(run, name) for name in done.spec.scores if run and (name in run.scores or name in dp.SCORES)]
        files = write_study_plots(done, plots, dp.Scores(named) if named else None)
        say_summary(done)
        say(f"plots: {', '.join(file.name for file in files if file.suffix == '.png')} and .svg in {plots}")
        say(
            f"tables: {done.path / 'trials.parquet'}, a row for each training; {done.path / 'summary.parquet'}, a row for each cell"
        )
        at = "" if run_folder is None else f" --run {shlex.quote(str(run_folder))}"
        say(f"next: dataprune advise {shlex.quote(str(done.path))}{at}")
    for row in done.failed[:3]:
        complain(f"trial {done.trials['trial'][row]}: {done.trials['error'][row]}")
    if done.failed:
        complain(f"failed: {pluralise(len(done.failed), 'row')} of trials.parquet; --retry-failed trains them again")
    return Ended({"path": done.path, "summary": summary, "n_failed": len(done.failed)}, int(bool(done.failed)))


MOST_ROWS = 200  # of the table that is printed; the file has all


def say_summary(done: "dp.Study") -> None:
    """Print the table of cells, what can be dropped, and what the figures mean."""
    summary = done.summary
    _say_cells(done, summary)
    if done.spec.preset == "methods":
        _say_ranks(summary)
    else:
        _say_areas(summary)
    if summary.multipliers:
        from dataprune.study.multiplier import HEADINGS

        say("what random needs for the same, against what each rule needs; ? is beyond the sizes of random:")
        say_columns([HEADINGS, *(one.words(done.costs) for one in summary.multipliers)], right=(1, 2, 3, 4, 5))
    _say_droppable(summary)
    _say_arms(summary)
    _say_dynamic(done)
    say(*(f"note: {note}" for note in summary.notes))
    if done.manifest is None:
        return
    trained = done.manifest.training
    seen = [f"{trained.examples_seen:,} examples seen"] if trained.examples_seen else []
    seen += [operations(trained.flops)] if trained.flops else []
    trials = pluralise(len(set(done.trials["trial"])), "trial")
    say(", ".join([f"trained: {trials}, {duration(trained.train_seconds)} of training in all", *seen]))


def _say_cells(done: "dp.Study", summary: "Summary") -> None:
    """Print what was asked, and a row for each cell."""
    table, metric = summary.table, summary.metric
    extras: list[str] = [name for name in ("arm", "order", "clusters") if name in table and any(table[name])]
    extras += ["n_seeds"] if len(set(table["n_seeds"].tolist())) > 1 else []
    starts = ["start"] if any(table["start"]) else []
    head = ("score", "strategy", "keep", *starts, metric.axis, "95 %", "- random", "95 %", "verdict", *extras)
    rows: list[tuple[str, ...]] = [head]
    for cell in rows_of(table)[:MOST_ROWS]:
        sizes, value = [f"{cell[name]:g}" for name in ("keep", *starts)], metric.text(cell[done.measure])
        minus = metric.text(cell["minus_random"]), metric.span(cell["minus_random_low"], cell["minus_random_high"])
        figures = *sizes, value, metric.span(cell["low"], cell["high"]), *minus
        more = (str(cell[name] or "") for name in extras)
        rows.append((cell["score"] or cell["strategy"], cell["strategy"], *figures, cell["verdict"], *more))
    budget = "a budget of the trainer's own" if done.spec.trainer and not done.spec.epochs else f"equal {done.spec.budget}"
    judged = "as the trainer reports it" if done.spec.trainer else "on test"
    of = "" if done.manifest is None else f"; sizes are of {done.manifest.data.n_train:,} examples, without validation and test"
    say(f"{done.spec.preset}, {metric.name} {judged}, {budget}, {pluralise(done.spec.seeds, 'seed')}{of}:")
    say_columns(rows, right=range(2, head.index("verdict")))
    if len(table["keep"]) > MOST_ROWS:
        say(f"  and {len(table['keep']) - MOST_ROWS:,} more in {done.path / 'summary.parquet'}")


def _say_ranks(summary: "Summary") -> None:
    say("ranked by what is gained over random of the same size, the mean over sizes:")
    text, span = summary.metric.text, summary.metric.span
    rows = [(one.name, text(one.gain), span(one.low, one.high)) for one in summary.ranks]
    say_columns([("method", "gain", "95 %"), *rows], right=(1, 2))


def _say_areas(summary: "Summary") -> None:
    if not summary.areas:
        return
    say("accuracy over all sizes as a share of that on all data (area under the curve, from nothing dropped):")
    text, span = summary.metric.text, summary.metric.span
    rows: list[tuple[str, ...]] = [("curve", "area %", "95 %", "- random", "95 %", "10-70 % dropped %", "95 %")]
    for one in summary.areas:
        whole = text(one.trapezoid), span(one.trapezoid_low, one.trapezoid_high)
        minus = text(one.minus_random), span(one.minus_random_low, one.minus_random_high)
        rows.append((one.name, *whole, *minus, text(one.simpson), span(one.simpson_low, one.simpson_high)))
    absent = dict.fromkeys(one.absent for one in summary.areas if one.absent)
    has_parts = any(one.absent is None for one in summary.areas)
    say_columns([row if has_parts else row[:-2] for row in rows], right=(1, 2, 3, 4, 5, 6))
    say(*(f"  no area from 10 % to 70 % dropped: {why}" for why in absent if has_parts))


def _say_droppable(summary: "Summary") -> None:
    from dataprune.study.metric import Amount

    if summary.no_loss:
        say(f"how much can be dropped is not known: {summary.no_loss}")
        return
    tolerance = Amount(summary.tolerance, summary.metric)
    for one in summary.droppable:
        name = one.name + (f", {one.arm}" if one.arm and one.arm not in one.name else "")
        if one.keep < 1:
            most = Amount(one.at_most, summary.metric)
            say(f"{name}: {percent(1 - one.keep)} can be dropped at a loss of at most {most:g} (tolerance {tolerance:gb})")
        else:
            say(f"{name}: no size shown to lose at most {tolerance:g} (stopped at {percent(one.stopped)})")
    if any(one.keep >= 1 for one in summary.droppable):
        say("  sizes are tested from the largest down, for each curve until one may lose more; smaller ones are not tested")


def _say_arms(summary: "Summary") -> None:
    if not len(summary.arms["arm"]):
        return
    metric = summary.metric
    say(f"what the arms differ by, {'points' if metric.is_share else metric.axis}:")
    rows: list[tuple[str, ...]] = [("arm", "score", "keep", "start", "difference", "95 %")]
    for arm in rows_of(summary.arms):
        names = f"{arm['arm']} - {arm['minus_arm']}", str(arm["score"] or arm["strategy"]), f"{arm['keep']:g}", f"{arm['start']:g}"
        rows.append((*names, metric.text(arm["difference"]), metric.span(arm["difference_low"], arm["difference_high"])))
    say_columns(rows, right=(2, 3, 4, 5))


def _say_dynamic(done: "dp.Study") -> None:
    """Print what leaving out other examples in every epoch saves, and what it loses."""
    from dataprune.study.results_table import DYNAMIC

    table, costs = done.summary.table, {one.cell: one for one in done.costs.cells}
    for row, cell in enumerate(done.summary.cells):
        if cell.strategy == DYNAMIC and cell.is_scored:
            one = costs[cell]
            saved = one.saved.examples_seen / (one.saved.examples_seen + one.training.examples_seen)
            lost = ""
            for control, name in (("all data", "minus_all"), ("random at the same cost", "minus_random")):
                found, low, high = (table[f"{name}{end}"][row] for end in ("", "_low", "_high"))
                lost += f", {100 * found:+.2f} points against {control} ({done.summary.metric.span(low, high)})"
            say(f"{cell.name}: {percent(saved, 1)} of the examples saved{lost}")
