"""`dataprune study`: trains on kept sets and says what it shows."""

import shlex
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter, Token

from dataprune.cli.lines import complain, say
from dataprune.cli.options import FLAT, Balanced, Batch, Data, Output, Quiet, Seed, Wait, at_least
from dataprune.cli.progress import Progress, studying
from dataprune.cli.reading import Reading, read_all, say_splits, warn_all
from dataprune.cli.study_summary import say_summary
from dataprune.errors import InputError, invalid
from dataprune.report.text import pluralise
from dataprune.training.settings import Hardware, Settings

if TYPE_CHECKING:
    from dataprune.data import Dataset, Splits
    from dataprune.run import Run
    from dataprune.study.conditions import StudyInputs
    from dataprune.study.run_trials import StudyProgress
    from dataprune.study.spec import StudySpec
    from dataprune.study.study import Study

PLOTS = "plots"


def _words(_: Any, tokens: Sequence[Token]) -> tuple[str, ...]:
    words = tuple(one.strip() for one in tokens[-1].value.split(","))
    if not all(words):
        raise invalid(tokens[-1].keyword or "", "be names with commas between them", repr(tokens[-1].value))
    return words


def _fractions(_: Any, tokens: Sequence[Token]) -> tuple[float, ...]:
    try:
        return tuple(float(one) for one in _words(_, tokens))
    except ValueError:
        cure = "be fractions with commas between them, such as 0.9,0.5"
        raise invalid(tokens[-1].keyword or "", cure, repr(tokens[-1].value)) from None


def _stages(_: Any, tokens: Sequence[Token]) -> tuple[tuple[int, float], ...]:
    try:
        return tuple((int(length), float(share)) for length, _, share in (one.partition(":") for one in _words(_, tokens)))
    except ValueError:
        cure = "be EPOCHS:SHARE with commas between them, such as 10:0.5,20:1"
        raise invalid(tokens[-1].keyword or "", cure, repr(tokens[-1].value)) from None


Words = Annotated[tuple[str, ...] | None, Parameter(converter=_words, n_tokens=1, metavar="NAMES")]
Fractions = Annotated[tuple[float, ...] | None, Parameter(converter=_fractions, n_tokens=1, metavar="FRACTIONS")]
AtLeastOne = Annotated[int | None, at_least(1)]
Stages = Annotated[tuple[tuple[int, float], ...] | None, Parameter(converter=_stages, n_tokens=1, metavar="STAGES")]


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
        model: What is trained, as for dataprune score. Default: proxy, or mlp.
        recipe: How, as for dataprune score. Default: the fast one for the data.
        noise: A second arm in which this share of each class is labelled wrongly.
        clusters: For km: numbers of clusters, auto or classes, with commas.
        stages: Of a curriculum, EPOCHS:SHARE with commas: 10:0.5,5:0.8,20:1.
        tolerance: A loss of accuracy that counts as none. Default: 0.01.
        test_share: Cut this share off as test where the data have no test split. Default: 0.2.
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
    noise: float | None = None
    clusters: Words = None
    stages: Stages = None
    tolerance: float | None = None
    test_share: float | None = None

    def of(self, spec: "StudySpec", seed: int) -> "StudySpec":
        """Return the spec with the changes."""
        from dataprune.study.presets import with_sweeps

        sweeps = (self.keep, self.start, self.strategy)
        given = {name: value for name, value in vars(self).items() if name not in ("keep", "start", "strategy", "balanced")}
        changed = replace(spec, **{name: value for name, value in given.items() if value is not None})
        return with_sweeps(replace(changed, seed=seed or spec.seed, balanced=self.balanced or spec.balanced), *sweeps)


def study(
    data: Data,
    /,
    *,
    preset: str | None = None,
    out: Output | None = None,
    spec: Path | None = None,
    print_spec: bool = False,
    run: Path | None = None,
    reuse: list[Path] | None = None,
    changes: Annotated[Changes, FLAT] = Changes(),
    features: str | None = None,
    test: str | None = None,
    effort: Literal["low", "medium", "high"] = "medium",
    reading: Annotated[Reading, FLAT] = Reading(),
    retry_failed: bool = False,
    wait: Wait = False,
    seed: Seed = 0,
    hardware: Annotated[Hardware, FLAT] = Hardware(),
    tensorboard: Path | None = None,
    quiet: Quiet = False,
) -> int:
    """Prove by training which part of DATA matters.

    Every kept set is trained with several seeds, beside random sets of the same size and all data. Test data are looked at once for
    each training. Writes STUDY/trials.parquet, STUDY/summary.parquet and plots. Interrupted, the same command goes on; another
    preset in the same folder finds the trainings that are the same.

    For example:
        dataprune study flowers --preset sweep --out study
        dataprune study digits --preset window --scores el2n,forget --seeds 5 --out study

    Args:
        preset: half, sweep, window, easy-vs-hard, noise-window, clusters, curriculum or recipes. Default: sweep.
        out: Folder for the results; made if it is not there.
        spec: Ask what this TOML file asks, in place of a preset.
        print_spec: Print what would be asked as TOML, and end.
        run: Take the scores from this run of the same data. Default: score first, into STUDY/run.
        reuse: Take trials that are the same from this study; may be given several times.
        features: Features for km, a row for each training example; pixels takes the main directions of the pictures themselves.
        test: Test data of their own, in place of the source's.
        effort: How much to spend on scoring, where there is no --run.
        retry_failed: Train again what failed before.
        tensorboard: Write event files for TensorBoard, a folder for each trial.
    """
    asked = changes.of(_spec(preset, spec), seed)
    if print_spec:
        _print_spec(asked)
        return 0
    if out is None:
        raise invalid("out", "name the folder for the results", "nothing", "Or ask with --print-spec what would be done.")
    from dataprune.data.folders import refuse_output_inside_data
    from dataprune.study.runner import check_out

    check_out(out)
    splits = read_all(data, reading, hardware.workers, test=test, quiet=quiet)
    say_splits(data, splits, quiet)
    refuse_output_inside_data(splits.train, out)
    if splits.test is not None and changes.test_share is not None:
        raise invalid("test_share", "be left out where the data have a test split", changes.test_share)
    inputs = _inputs(asked, splits.train, run, reuse or [], features, Settings(effort=effort, seed=seed))
    with nullcontext() if tensorboard is None else _tensorboard(tensorboard) as board:
        done = _conduct(splits, asked, out, inputs, hardware, quiet=quiet, retry_failed=retry_failed, wait=wait, board=board)
    _report(done, run, quiet)
    for row in done.failed[:3]:
        complain(f"trial {done.trials['trial'][row]}: {done.trials['error'][row]}")
    if done.failed:
        say(f"failed: {pluralise(len(done.failed), 'row')} of trials.parquet; --retry-failed trains them again")
    return int(bool(done.failed))


def _spec(preset: str | None, file: Path | None) -> "StudySpec":
    from dataprune.study.presets import preset as preset_named
    from dataprune.study.spec import read_spec

    if preset is not None and file is not None:
        raise InputError("give one of --preset and --spec, got both.")
    return preset_named(preset or "sweep") if file is None else read_spec(file)


def _print_spec(spec: "StudySpec") -> None:
    from dataprune.study.presets import QUESTIONS
    from dataprune.study.spec import to_toml

    if spec.preset in QUESTIONS:
        say(f"# {QUESTIONS[spec.preset]}")
    for line in to_toml(spec).splitlines():
        say(line)


def _inputs(
    spec: "StudySpec", dataset: "Dataset", run: Path | None, reuse: list[Path], features: str | None, settings: Settings
) -> "StudyInputs":
    from dataprune.data import read_features
    from dataprune.run.own_scores import is_score_file, score_of_file
    from dataprune.study.conditions import PIXELS, StudyInputs
    from dataprune.study.study import is_study

    for other in reuse:
        if not is_study(other):
            raise invalid("reuse", "be a folder made by dataprune study", str(other))
    if features is not None and "km" not in spec.scores and spec.scores:
        raise invalid("features", "go with the score km", f"the scores {', '.join(spec.scores)}")
    if spec.clusters and "km" not in spec.scores:
        named = f"the scores {', '.join(spec.scores) or 'of the run'}"
        raise invalid("clusters", "go with the score km", named, "Add --scores km.")
    file = features if features is None or features == PIXELS else read_features(Path(features))
    own = tuple(replace(score_of_file(name, dataset.ids), name=name) for name in spec.scores if is_score_file(name))
    return StudyInputs(run, settings, file, tuple(reuse), own)


def _tensorboard(folder: Path) -> Any:
    from dataprune.study.run_trials import TensorBoardLogger

    return TensorBoardLogger(folder)


def _conduct(
    splits: "Splits",
    spec: "StudySpec",
    out: Path,
    inputs: "StudyInputs",
    hardware: Hardware,
    *,
    quiet: bool,
    retry_failed: bool,
    wait: bool,
    board: Any,
) -> "Study":
    """Make the study, with progress and cost on stdout."""
    from dataprune.cli.score import train
    from dataprune.study.runner import run_study

    def scored(dataset: "Dataset", folder: Path, settings: Settings) -> "Run":
        if not quiet:
            say(f"scoring into {folder}")
        return train(dataset, folder, settings, hardware, quiet=quiet)

    with Progress("studying", quiet) as progress:
        show = studying(progress)

        def hear(message: "StudyProgress") -> None:
            show(message)
            if board is not None:
                board(message)

        done = run_study(splits, spec, out, inputs, hardware, retry_failed=retry_failed, wait=wait, listener=hear, scorer=scored)
    if not progress.heard and done.manifest is not None:
        if not quiet:
            say(f"{out} is finished since {done.manifest.finished}: nothing had to be trained")
        warn_all(done.manifest.notes)
    return done


def _report(done: "Study", run_folder: Path | None, quiet: bool) -> None:
    """Print the table and the verdicts, and draw the plots."""
    from dataprune.report.study_figures import write_study_plots
    from dataprune.run import open_run
    from dataprune.scores import Scores
    from dataprune.study.cost import scoring_cost
    from dataprune.study.study import RUN

    if not (done.trials["status"] == "ok").any():
        return
    place = run_folder or done.path / RUN
    run = open_run(place) if place.exists() else None
    named = [] if run is None else [run.scores[name] for name in done.spec.scores if name in run.scores]
    files = write_study_plots(
        done, done.path / PLOTS, Scores(named) if named else None, None if run is None else scoring_cost(run.manifest.cost)
    )
    if quiet:
        return
    say_summary(done)
    say(f"plots: {', '.join(file.name for file in files if file.suffix == '.png')} and .svg in {done.path / PLOTS}")
    say(f"tables: {done.path / 'trials.parquet'}, a row for each training; {done.path / 'summary.parquet'}, a row for each cell")
    at = "" if run_folder is None else f" --run {shlex.quote(str(run_folder))}"
    say(f"next: dataprune advise {shlex.quote(str(done.path))}{at}")
