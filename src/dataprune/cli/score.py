"""`dataprune score`: trains an ensemble on a set and scores every example."""

import shlex
from pathlib import Path
from typing import Annotated

import dataprune as dp
from dataprune.cli.embed import make
from dataprune.cli.lines import complain, say, say_columns, warn
from dataprune.cli.options import FLAT, Data, Encoder, Output, Quiet, Reading, Wait, encoded, read_data
from dataprune.cli.progress import Progress, training
from dataprune.cli.results import Ended
from dataprune.errors import invalid
from dataprune.report.text import duration, eyes, operations, pluralise
from dataprune.training.settings import Hardware, Settings, SwavSettings

N_HARDEST = 5


def score(
    data: Data,
    /,
    *,
    out: Output,
    encoder: Encoder = "auto",
    settings: Annotated[Settings, FLAT] = Settings(),
    features: Path | None = None,
    clusters: str = "auto",
    reading: Annotated[Reading, FLAT] = Reading(),
    extend: bool = False,
    wait: Wait = False,
    hardware: Annotated[Hardware, FLAT] = Hardware(),
    quiet: Quiet = False,
) -> object:
    """Train a few networks on DATA and score every example.

    Takes a labelled set of pictures, texts, rows of a table or feature vectors. Writes RUN/scores.parquet, a row for each example
    with its difficulty by several measures, and what dataprune prune needs. Interrupted, the same command goes on where it was;
    finished, it returns at once.

    For example:
        dataprune score flowers/train --out run

    Args:
        out: Folder for the results; made if it is not there. One folder, one run.
        features: Features of the examples made elsewhere (.npy, Parquet, or a folder of them; by name if they say it, else by row),
            or swav to learn some from the pictures: adds km, km_cosine, prototype_distance, knn_agreement and
            outlier_distance, also to a finished run.
        clusters: For --features: how many clusters (auto, classes or a number), as for dataprune km.
        extend: Add members to a finished run, up to --members or --repeats.
    """
    from dataprune.data.folders import refuse_output_inside_data
    from dataprune.run.run import FEATURES, work_folder
    from dataprune.run.score import eyes_for
    from dataprune.training.plan import check_names
    from dataprune.training.swav.recipe import plan_swav

    work_folder(out).check()  # before what may take long
    check_names(settings.model, settings.recipe)
    dataset = read_data(data, reading, hardware.workers)
    refuse_output_inside_data(dataset, out)
    learns = features is not None and str(features) == "swav"
    if learns:
        plan_swav(dataset, SwavSettings(seed=settings.seed))
    file = None if features is None or learns else features_of(features, dataset)
    eyes = eyes_for(encoder, settings.model, settings.recipe)
    check_eyes(out, dataset, eyes)
    dataset = encoded(dp.Splits(dataset), eyes, hardware).train
    run = train(dataset, out, settings, hardware, extend=extend, wait=wait)
    if learns:
        path = out / FEATURES / "swav.npy"  # in the run's folder, but no part of its identity
        path.parent.mkdir(exist_ok=True)
        make(dataset, path, dp.EmbedSettings("swav", SwavSettings(seed=settings.seed)), hardware, wait=wait)
        file = dp.read_features(path)
    if file is not None:
        run = add_scores_of(file, run, clusters, settings.seed)
    say_eyes(run)
    say_scores(run)
    say_hardest(run.scores["el2n"], run, N_HARDEST)
    say(f"scores: {out / 'scores.parquet'}, a row for each example")
    say(f"about the run: {out / 'run.json'}")
    say(f"next: dataprune advise {shlex.quote(str(out))}, what to keep; dataprune noise find {shlex.quote(str(out))}, wrong labels")
    return Ended(run, int(any(member.status == "failed" for member in run.manifest.members)))


def check_eyes(out: Path, dataset: "dp.Dataset", encoder: str) -> None:
    """Refuse, before pictures are encoded, what `auto` means now if the run was begun with another encoder, or without."""
    from dataprune.encoders.encoder import choose
    from dataprune.run.run import work_folder

    begun = work_folder(out).begun()
    if begun is not None and encoder == "auto":
        was, now = (begun.get("encoder") or {}).get("name"), choose(dataset, encoder)[0]
        if was != now:
            demand, got = f"be {was or 'scratch'}, by which the run in {out} was begun", f"auto, which is {now or 'scratch'} now"
            raise invalid("encoder", demand, got, f"Give --encoder {was or 'scratch'} to go on, or another folder.")


def features_of(path: Path, dataset: "dp.Dataset") -> "dp.FeatureFile":
    """Open a feature file, and see before any training that it has a row for every example."""
    from dataprune.run.features import match

    file = dp.read_features(path)
    if excluded := match(file, dataset.ids).n_left_out:
        warn(f"{path} has {pluralise(excluded, 'row')} for ids that are not in the data; they are left out")
    return file


def add_scores_of(file: "dp.FeatureFile", run: "dp.Run", clusters: str, seed: int) -> "dp.Run":
    """Add the scores of features to the run, and say into how many clusters these were cut."""
    run = dp.add_features(run, file, clusters, seed=seed)
    record = run.manifest.features
    assert record is not None, "just added"
    why = "the elbow of the inertia curve" if record.elbow else "no elbow" if record.curve else f"asked: {clusters}"
    say(f"features: {file.path}, {pluralise(file.width, 'column')}; k-means with {pluralise(record.k, 'cluster')} ({why})")
    warn(*record.notes)
    return run


def train(
    dataset: "dp.Dataset", out: Path, settings: Settings, hardware: Hardware, *, extend: bool = False, wait: bool = False
) -> "dp.Run":
    """Make the run, with progress and cost on stdout, and what failed on stderr."""
    with Progress("training") as progress:
        run = dp.score(dataset, out, settings, hardware, encoder="scratch", extend=extend, wait=wait, listener=training(progress))
    if progress.heard:
        spent = run.manifest.training
        clock = f"{duration(spent.wall_seconds)} on the clock, {duration(spent.seconds)} of members"
        say(f"cost: {clock}, {spent.examples_seen:,} examples seen, {operations(spent.flops)}")
    else:
        say(f"{out} was finished at {run.manifest.finished}: nothing had to be trained")
    warn(*(note for note in run.manifest.notes if note not in (*dataset.notes, *run.manifest.lost)))
    for member in run.manifest.members:
        if member.status != "ok":
            (complain if member.status == "failed" else warn)(member.said)
    return run


def say_eyes(run: "dp.Run") -> None:
    """Print what judged the examples, and how often it names labels that it did not see."""
    from dataprune.run.evidence import evidence_of

    say(f"networks: {eyes(run.manifest.spec.networks, evidence_of(run).out_of_sample_accuracy)}")


def say_scores(run: "dp.Run") -> None:
    """Print a line for each score: its range and its direction; then what is absent, with the reason, and what can be had yet."""
    import numpy as np

    from dataprune.scores import FEATURE_SCORES, NETWORK_SCORES

    rows: list[tuple[str, ...]] = [("score", "min", "median", "max", "harder means")]
    for name, one in run.scores.items():
        low, middle, high = (f"{value:.4g}" for value in np.quantile(one.values, (0, 0.5, 1)))
        rows.append((name, low, middle, high, "larger" if one.harder > 0 else "smaller"))
    say_columns(rows, right=(1, 2, 3))
    for name, reason in run.scores.absent.items():
        say(f"no {name}: {reason}")
    of_features = FEATURE_SCORES if run.manifest.features else ()
    spec, more = run.manifest.spec, {*of_features} - {*run.scores, *run.scores.absent}
    of_run = {name: one for name, one in (dp.SCORES | NETWORK_SCORES).items() if not one.recorded or name in spec.record}
    more |= set(of_run) - {*run.scores, *run.scores.absent}
    say(f"also from this run, where a command asks for them: {', '.join(sorted(more))}")


def say_hardest(score: "dp.Score", run: "dp.Run", count: int) -> None:
    """Print the hardest examples by a score, with their labels."""
    import numpy as np

    say(f"hardest by {score.name}:")
    rows = np.argsort(-score.difficulty, kind="stable")[:count].tolist()
    say_columns([(f"{score.values[row]:.4g}", run.classes[run.labels[row]], run.ids[row]) for row in rows])
