"""`dataprune duplicates`: examples that are there twice, over all splits."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

import dataprune as dp
from dataprune.cli.lines import say, say_columns, say_file, warn
from dataprune.cli.options import FLAT, Data, Output, Overwrite, Quiet, Reading, Test, Workers, read_all, say_splits
from dataprune.cli.progress import Progress, learning
from dataprune.errors import invalid
from dataprune.report.text import display_text, pluralise
from dataprune.training.settings import Hardware

N_SHOWN = 8
OF_FEATURES = (
    "Find near duplicates by the vectors of an encoder in place of pixels: swav learns from the pictures, trace takes those of a "
    "run's first network (with --run); others as for dataprune score."
)


def duplicates(
    data: Data,
    /,
    *,
    out: Output | None = None,
    exact_only: bool = False,
    features: Path | None = None,
    encoder: Annotated[str | None, Parameter(help=OF_FEATURES)] = None,
    run: Path | None = None,
    distance: float | None = None,
    test: Test = None,
    reading: Annotated[Reading, FLAT] = Reading(),
    workers: Workers = None,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> object:
    """Find examples that DATA holds more than once.

    Says each pair once: first those with different labels, one of which may be wrong; then those that lie in train and in test,
    which make a test look better than it is; then the rest. Changes nothing.

    For example:
        dataprune duplicates flowers --out duplicates.csv
        dataprune duplicates flowers --encoder trace --run run

    Args:
        out: Write id, other_id, kind, distance, label, other_label, split, other_split: .csv or .parquet.
        exact_only: Look for identical examples only, which takes seconds.
        features: Find near duplicates by features of this file in place of pixels (.npy, Parquet, or a folder of them; by the
            column that names the examples, else by row; of all splits, or of train only).
        run: For --encoder trace: a folder made by dataprune score.
        distance: How far apart near duplicates may be: for pictures 0 is the same detail and 1 none in common, 0.25 by default;
            with features 0 is the same direction and 1 as far as others around the two, 0.2 by default; for data that are
            vectors in units of the usual distance between neighbours, 0.1 by default.
    """
    from dataprune.run.features import features_in, made_features
    from dataprune.tables import TABLES, check_output

    if out is not None:
        check_output(out, TABLES)
    others = {"--distance": distance, "--features": features, "--encoder": encoder}
    if given := [name for name, value in others.items() if value is not None and exact_only]:
        raise invalid("exact_only", "go without --distance, --features and --encoder", given[0])
    if features is not None and encoder is not None:
        raise invalid("features", "go without --encoder", f"--encoder {encoder}")
    if (run is not None) != (encoder == "trace"):
        raise invalid("run", "be given with --encoder trace, and only with it", "none" if run is None else str(run))
    opened = None if run is None else dp.open_run(run)
    splits = read_all(data, reading, workers, run=opened, test=test)
    say_splits(data, splits)
    vectors, notes = (None, ()) if features is None else features_in(dp.read_features(features), splits)
    if encoder is not None:
        with Progress("working") as progress:
            hardware = Hardware(workers=workers)
            vectors = made_features(splits, encoder, run=opened, hardware=hardware, listener=learning(progress))
    found = dp.find_duplicates(splits, near=not exact_only, distance=distance, features=vectors)
    warn(*notes, *found.notes)
    if out is not None:
        dp.write_duplicates(found, out, overwrite=overwrite)
    _say_duplicates(found)
    if out is not None:
        say_file(out)
    elif len(found):
        say("nothing was written; add --out duplicates.csv")
    return found


def _say_duplicates(found: "dp.Duplicates") -> None:
    exact, conflict, leak = found.is_exact, found.is_conflict, found.is_leak
    among = f"duplicates among {pluralise(found.n_examples, 'example')}"
    if not len(found):
        say(f"no {among}")
        return
    say(f"{pluralise(len(found), 'pair')} of {among}")
    rows: list[tuple[object, ...]] = [("", "exact", "near")]
    kinds = (("different labels", conflict), ("in two splits", leak & ~conflict), ("others", ~leak & ~conflict))
    rows += [(name, f"{(which & exact).sum():,}", f"{(which & ~exact).sum():,}") for name, which in kinds if which.any()]
    say_columns(rows, right=(1, 2))
    say("the first of them:" if len(found) > N_SHOWN else "they are:")
    say_columns([("distance", "in", "one", "other"), *(_row(found, pair) for pair in range(min(N_SHOWN, len(found))))])
    if conflict.any():
        may_differ = "one of the two may be wrong, or near ones differ where it counts"
        which = "one of the two is wrong" if found.texts is None else may_differ
        say(f"different labels: {which}. Look at both; of identical ones in train dataprune noise find makes suspects.")
    if leak.any():
        count = len({(str(found.other_split[pair]), str(found.other_ids[pair])) for pair in leak.nonzero()[0].tolist()})
        cure = "Remove them from train, not from test, so that figures stay comparable."
        say(f"in two splits: {pluralise(count, 'example')} outside train can be memorised. {cure}")


def _row(found: "dp.Duplicates", pair: int) -> tuple[object, ...]:
    cells = []
    sides = ((found.ids, found.labels, found.texts), (found.other_ids, found.other_labels, found.other_texts))
    for ids, labels, texts in sides:
        label = int(labels[pair])
        cells.append(
            display_text(ids[pair] if texts is None else f"{ids[pair]}: {texts[pair]}", 50)
            + (f" ({display_text(found.classes[label], 20)})" if label >= 0 else "")
        )
    split, other_split = found.split[pair], found.other_split[pair]
    where = split if split == other_split else f"{split}, {other_split}"
    return "exact" if found.is_exact[pair] else f"{found.distance[pair]:.2f}", where, *cells
