"""`dataprune study`: trains on kept sets and says what it shows."""

import shlex
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from dataprune.cli.lines import complain, pluralise, say, warn
from dataprune.cli.options import Address, Data, Gpus, ImageSize, Labels, OnError, Quiet, Seed, Workers
from dataprune.cli.verdicts import say_summary
from dataprune.errors import InputError, invalid
from dataprune.report.text import display_text

if TYPE_CHECKING:
    from dataprune.data import Dataset, FeatureFile, Splits
    from dataprune.run import Run
    from dataprune.scores import Score
    from dataprune.study.conditions import StudyInputs
    from dataprune.study.run_trials import StudyProgress
    from dataprune.study.spec import StudySpec
    from dataprune.study.study import Study
    from dataprune.training.settings import Settings

PLOTS = "plots"


def study(
    data: Data,
    preset: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="half, sweep, window, easy-vs-hard, noise-window, clusters, curriculum or recipes. Default: sweep.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="STUDY", help="Folder for the results; made if it is not there.", show_default=False)
    ] = None,
    spec_file: Annotated[
        Path | None,
        typer.Option("--spec", metavar="FILE", help="Ask what this TOML file asks, in place of a preset.", show_default=False),
    ] = None,
    print_spec: Annotated[bool, typer.Option("--print-spec", help="Print what would be asked as TOML, and end.")] = False,
    run_folder: Annotated[
        Path | None,
        typer.Option(
            "--run",
            metavar="RUN",
            help="Take the scores from this run of the same data. Default: score first, into STUDY/run.",
            show_default=False,
        ),
    ] = None,
    reuse: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="STUDY", help="Take trials that are the same from this study; may be given several times.", show_default=False
        ),
    ] = None,
    seeds: Annotated[
        int | None, typer.Option(min=1, metavar="NUMBER", help="Trainings of each cell. Default: 3.", show_default=False)
    ] = None,
    scores: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES",
            help="Scores to compare, with commas: el2n,forget,km; or FILE:COLUMN with one number for each training example. "
            "Default: those of el2n, std, pred_sum, flip, forget and km that there are.",
            show_default=False,
        ),
    ] = None,
    keep: Annotated[
        str | None,
        typer.Option(metavar="FRACTIONS", help="Sizes, with commas: 0.9,0.5 keeps 90 % and 50 %.", show_default=False),
    ] = None,
    start: Annotated[
        str | None, typer.Option(metavar="FRACTIONS", help="Where windows begin, with commas.", show_default=False)
    ] = None,
    strategy: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES",
            help="Strategies in place of the preset's, with commas: hardest,stratified. As for dataprune prune.",
            show_default=False,
        ),
    ] = None,
    balanced: Annotated[bool, typer.Option("--balanced", help="Keep the same share of every class.")] = False,
    budget: Annotated[
        Literal["epochs", "steps"] | None,
        typer.Option(
            help="Give every training the same epochs, or the same number of batches. Default: epochs.", show_default=False
        ),
    ] = None,
    epochs: Annotated[
        int | None,
        typer.Option(min=1, metavar="NUMBER", help="Epochs of a training on all data. Default: by the size.", show_default=False),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="What is trained, as for dataprune score. Default: proxy, or mlp.", show_default=False),
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="How, as for dataprune score. Default: the fast one for the data.", show_default=False),
    ] = None,
    batch: Annotated[
        int | None, typer.Option(min=1, metavar="NUMBER", help="Examples a step. Default: the recipe's.", show_default=False)
    ] = None,
    noise: Annotated[
        float | None,
        typer.Option(
            metavar="FRACTION", help="A second arm in which this share of each class is labelled wrongly.", show_default=False
        ),
    ] = None,
    clusters: Annotated[
        str | None,
        typer.Option(metavar="NUMBERS", help="For km: numbers of clusters, auto or classes, with commas.", show_default=False),
    ] = None,
    features: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|pixels",
            help="Features for km, a row for each training example; pixels takes the main directions of the pictures themselves.",
            show_default=False,
        ),
    ] = None,
    stages: Annotated[
        str | None,
        typer.Option(metavar="STAGES", help="Of a curriculum, EPOCHS:SHARE with commas: 10:0.5,5:0.8,20:1.", show_default=False),
    ] = None,
    tolerance: Annotated[
        float | None,
        typer.Option(metavar="FRACTION", help="A loss of accuracy that counts as none. Default: 0.01.", show_default=False),
    ] = None,
    test: Annotated[
        str | None, typer.Option(metavar="DATA", help="Test data of their own, in place of the source's.", show_default=False)
    ] = None,
    test_share: Annotated[
        float | None,
        typer.Option(
            metavar="FRACTION",
            help="Cut this share off as test where the data have no test split. Default: 0.2.",
            show_default=False,
        ),
    ] = None,
    effort: Annotated[
        Literal["low", "medium", "high"], typer.Option(help="How much to spend on scoring, where there is no --run.")
    ] = "medium",
    labels: Labels = None,
    image_size: ImageSize = None,
    on_error: OnError = "fail",
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Train again what failed before.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="If another process works on STUDY, wait for it.")] = False,
    seed: Seed = 0,
    device: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Where to train, as for dataprune score.", show_default=False),
    ] = None,
    workers: Workers = None,
    executor: Annotated[
        Literal["serial", "processes", "ray"] | None,
        typer.Option(
            help="Trials one after the other, side by side, or on Ray. Default: processes on a CPU, else serial.",
            show_default=False,
        ),
    ] = None,
    address: Address = None,
    gpus: Gpus = None,
    tensorboard: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Write event files for TensorBoard, a folder for each trial.", show_default=False),
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Prove by training which part of DATA matters.

    Every kept set is trained with several seeds, beside random sets of the same size and all data. Test data are looked at once for
    each training. Writes STUDY/trials.parquet, STUDY/summary.parquet and plots. Interrupted, the same command goes on; another
    preset in the same folder finds the trainings that are the same.

    \b
    Examples:
        dataprune study flowers --preset sweep --out study
        dataprune study digits --preset window --scores el2n,forget --seeds 5 --out study
    """
    asked = {
        "seeds": seeds,
        "budget": budget,
        "epochs": epochs,
        "model": model,
        "recipe": recipe,
        "batch": batch,
        "noise": noise,
        "tolerance": tolerance,
        "test_share": test_share,
        "scores": None if scores is None else tuple(_words(scores, "scores")),
        "clusters": None if clusters is None else tuple(_words(clusters, "clusters")),
        "stages": None if stages is None else _stages(stages),
    }
    spec = _spec(preset, spec_file, {name: value for name, value in asked.items() if value is not None})
    spec = _with_parts(replace(spec, seed=seed or spec.seed, balanced=balanced or spec.balanced), keep, start, strategy)
    if print_spec:
        _print_spec(spec)
        return
    if out is None:
        raise invalid("--out", "name the folder for the results", "nothing", "Or ask with --print-spec what would be done.")
    from dataprune.data.folders import refuse_output_inside_data
    from dataprune.study.runner import check_out
    from dataprune.training.settings import Hardware, Settings

    check_out(out)
    hardware = Hardware(device, executor, workers, address, gpus)
    splits = _read(data, test, labels, image_size, on_error, workers, quiet)
    refuse_output_inside_data(splits.train, out)
    if splits.test is not None and test_share is not None:
        raise invalid("--test-share", "be left out where the data have a test split", test_share)
    sources = _sources(spec, splits, run_folder, reuse or [], features, Settings(effort=effort, seed=seed))
    done = _conduct(
        splits, spec, out, sources, hardware, quiet=quiet, retry_failed=retry_failed, wait=wait, tensorboard=tensorboard
    )
    report(done, run_folder, quiet)
    if done.failed:
        for row in done.failed[:3]:
            complain(f"trial {done.trials['trial'][row]}: {done.trials['error'][row]}")
        say(f"failed: {pluralise(len(done.failed), 'row')} of trials.parquet; --retry-failed trains them again")
        raise typer.Exit(1)


def _spec(preset: str | None, spec_file: Path | None, changes: dict[str, Any]) -> "StudySpec":
    from dataprune.study.presets import preset as preset_named
    from dataprune.study.spec import read_spec

    if preset is not None and spec_file is not None:
        raise InputError("give one of --preset and --spec, got both.")
    return replace(preset_named(preset or "sweep") if spec_file is None else read_spec(spec_file), **changes)


def _with_parts(spec: "StudySpec", keep: str | None, start: str | None, strategy: str | None) -> "StudySpec":
    """Put the sizes, starts and strategies that were asked for in the place of the spec's own."""
    from dataprune.study.spec import ORDERS, Sweep

    for name, given in (("--keep", keep), ("--start", start), ("--strategy", strategy)):
        if given is not None and (not spec.parts or any(part.strategy in ORDERS for part in spec.parts)):
            raise invalid(name, "go with a study of kept sets", f"{given}, and the study is {spec.preset}")
    parts = spec.parts
    if strategy is not None:
        parts = tuple(Sweep(one, parts[0].keep) for one in _words(strategy, "strategy"))
    if keep is not None:
        sizes = _fractions(keep, "keep")
        fitting = [tuple(one for one in part.start if max(sizes) + one <= 1 + 1e-9) for part in parts]
        parts = tuple(replace(part, keep=sizes, start=starts or (0.0,)) for part, starts in zip(parts, fitting, strict=True))
    if start is not None:
        starts = _fractions(start, "start")
        parts = tuple(replace(part, start=starts) if part.strategy == "window" else part for part in parts)
        if all(part.strategy != "window" for part in parts):
            raise invalid("--start", "go with the strategy window", f"{start}, and the strategy is {parts[0].strategy}")
    return replace(spec, parts=parts)


def _words(text: str, name: str) -> list[str]:
    words = [one.strip() for one in text.split(",")]
    if not all(words):
        raise invalid(f"--{name}", "be names with commas between them", repr(text))
    return words


def _fractions(text: str, name: str) -> tuple[float, ...]:
    try:
        return tuple(float(one) for one in _words(text, name))
    except ValueError:
        raise invalid(f"--{name}", "be fractions with commas between them, such as 0.9,0.5", repr(text)) from None


def _stages(text: str) -> tuple[tuple[int, float], ...]:
    try:
        return tuple((int(length), float(share)) for length, _, share in (one.partition(":") for one in _words(text, "stages")))
    except ValueError:
        raise invalid("--stages", "be EPOCHS:SHARE with commas between them, such as 10:0.5,20:1", repr(text)) from None


def _print_spec(spec: "StudySpec") -> None:
    from dataprune.study.presets import QUESTIONS
    from dataprune.study.spec import to_toml

    if spec.preset in QUESTIONS:
        say(f"# {QUESTIONS[spec.preset]}")
    for line in to_toml(spec).splitlines():
        say(line)


def _read(
    data: str,
    test: str | None,
    labels: str | None,
    image_size: int | None,
    on_error: Literal["fail", "skip"],
    workers: int | None,
    quiet: bool,
) -> "Splits":
    from dataprune.cli.progress import reading_progress
    from dataprune.data import read_splits

    with reading_progress(quiet) as progress:
        splits = read_splits(
            data, labels=labels, image_size=image_size, on_error=on_error, workers=workers, progress=progress, test=test
        )
    if not quiet:
        sizes = [f"{name} {len(one):,}" for name, one in vars(splits).items() if one is not None]
        say(f"read {display_text(data)}: {', '.join(sizes)} examples of {pluralise(splits.train.n_classes, 'class')}")
    for note in dict.fromkeys(note for one in vars(splits).values() if one is not None for note in one.notes):
        warn(note)
    return splits


def _sources(
    spec: "StudySpec", splits: "Splits", run_folder: Path | None, reuse: list[Path], features: str | None, settings: "Settings"
) -> "StudyInputs":
    from dataprune.data import read_features
    from dataprune.study.conditions import StudyInputs
    from dataprune.study.km import PIXELS
    from dataprune.study.study import is_study

    for other in reuse:
        if not is_study(other):
            raise invalid("--reuse", "be a folder made by dataprune study", str(other))
    if features is not None and "km" not in spec.scores and spec.scores:
        raise invalid("--features", "go with the score km", f"the scores {', '.join(spec.scores)}")
    if spec.clusters and "km" not in spec.scores:
        raise invalid(
            "--clusters", "go with the score km", f"the scores {', '.join(spec.scores) or 'of the run'}", "Add --scores km."
        )
    file: FeatureFile | str | None = features
    if features is not None and features != PIXELS:
        file = read_features(Path(features))
    own = tuple(_own_score(name, splits.train) for name in spec.scores if _is_file(name))
    return StudyInputs(run_folder, settings, file, tuple(reuse), own)


def _is_file(name: str) -> bool:
    from dataprune.cli.prune import COLUMN_FILES

    return Path(name).suffix in COLUMN_FILES or Path(name.rpartition(":")[0]).suffix in COLUMN_FILES


def _own_score(name: str, dataset: "Dataset") -> "Score":
    from dataprune.cli.prune import score_of_file

    return replace(score_of_file(name, dataset.ids, None), name=name)


def _conduct(
    splits: "Splits",
    spec: "StudySpec",
    out: Path,
    sources: "StudyInputs",
    hardware: Any,
    *,
    quiet: bool,
    retry_failed: bool,
    wait: bool,
    tensorboard: Path | None,
) -> "Study":
    """Make the study, with progress and price on stdout."""
    from dataprune.cli.progress import TrialsProgress
    from dataprune.cli.score import train
    from dataprune.study.runner import run_study
    from dataprune.study.tensorboard import TensorBoardLogger

    def scored(dataset: "Dataset", folder: Path, settings: "Settings") -> "Run":
        if not quiet:
            say(f"scoring into {folder}")
        return train(dataset, folder, settings, hardware, quiet=quiet)

    with TrialsProgress(quiet) as progress, nullcontext() if tensorboard is None else TensorBoardLogger(tensorboard) as board:

        def heard(message: "StudyProgress") -> None:
            progress(message)
            if board is not None:
                board(message)

        done = run_study(splits, spec, out, sources, hardware, retry_failed=retry_failed, wait=wait, listener=heard, scorer=scored)
    if not progress.heard and done.manifest is not None:
        if not quiet:
            say(f"{out} is finished since {done.manifest.finished}: nothing had to be trained")
        for note in done.manifest.notes:
            warn(note)
    return done


def report(done: "Study", run_folder: Path | None, quiet: bool) -> None:
    """Print the table and the verdicts, and draw the plots."""
    from dataprune.report.study_figures import write_study_plots
    from dataprune.run import open_run
    from dataprune.study.cost import scoring_cost
    from dataprune.study.study import RUN

    if not (done.trials["status"] == "ok").any():
        return
    place = run_folder or done.path / RUN
    run = open_run(place) if place.exists() else None
    names = [] if run is None else [name for name in done.spec.scores if name in run.scores]
    chosen = None if run is None or not names else _chosen(run, names)
    files = write_study_plots(done, done.path / PLOTS, chosen, None if run is None else scoring_cost(run.manifest.cost))
    if quiet:
        return
    say_summary(done)
    say(f"plots: {', '.join(file.name for file in files if file.suffix == '.png')} and .svg in {done.path / PLOTS}")
    say(f"tables: {done.path / 'trials.parquet'}, a row for each training; {done.path / 'summary.parquet'}, a row for each cell")
    at = "" if run_folder is None else f" --run {shlex.quote(str(run_folder))}"
    say(f"next: dataprune advise {shlex.quote(str(done.path))}{at}")


def _chosen(run: "Run", names: list[str]) -> Any:
    from dataprune.scores import Scores

    return Scores([run.scores[name] for name in names])
