"""`dataprune show`: a sheet of examples, and of what augmentation makes of them."""

from pathlib import Path
from typing import Annotated

from dataprune.cli.lines import say_file
from dataprune.cli.options import FLAT, Data, Output, Overwrite, Reading, Seed, at_least, read_data
from dataprune.errors import InputError, invalid
from dataprune.report.text import pluralise

AUGMENTED = 7  # versions beside each example
MOST = 1000


def show(
    data: Data,
    /,
    *,
    augment: bool = False,
    out: Output = Path("sheet.png"),
    count: Annotated[int | None, at_least(1)] = None,
    recipe: str | None = None,
    overwrite: Overwrite = False,
    seed: Seed = 0,
    reading: Annotated[Reading, FLAT] = Reading(),
) -> object:
    """Draw a sheet of examples of DATA with their labels.

    Takes a set of pictures, writes one picture. With --augment every example is followed by random crops, flips and rotations as
    the recipe makes them, to see whether they still are what their label says.

    For example:
        dataprune show flowers/train --augment --out sheet.png

    Args:
        augment: Beside each example, show what training makes of it.
        out: Sheet to write, .png.
        count: How many examples, at most 1000. Default: 32, with --augment 8.
        recipe: Whose augmentation, as for dataprune score. Default: the one score would take.
    """
    import numpy as np

    from dataprune.report.charts import draw_sheet, sheet_data
    from dataprune.report.figures import check_ours
    from dataprune.streams import generator
    from dataprune.training.augment import augmented_versions
    from dataprune.training.plan import default_recipe
    from dataprune.training.recipes import recipe_named

    if count is not None and count > MOST:
        raise invalid("count", f"be at most {MOST}", count)
    check_ours(out, overwrite=overwrite)
    dataset = read_data(data, reading)
    if dataset.images is None:
        raise InputError(f"`DATA` must hold pictures to be shown, got {dataset.things} in {data}.")
    n_shown = min(len(dataset), count or (8 if augment else 32))
    rows = generator(seed, "show").permutation(len(dataset))[:n_shown]
    rows.sort()
    names, images = dataset.ids if dataset.labels is None else np.array(dataset.classes)[dataset.labels], dataset.images[rows]
    captions = [str(name) for name in names[rows].tolist()]
    if augment:
        images = augmented_versions(images, recipe_named(recipe or default_recipe(dataset)), AUGMENTED, seed)
        captions = [text for caption in captions for text in (caption, *[""] * AUGMENTED)]
    draw_sheet(sheet_data(images, captions, columns=1 + AUGMENTED), out)
    say_file(out, pluralise(n_shown, "example") + (f", each with {AUGMENTED} augmented versions" if augment else ""))
    return {"ids": dataset.ids[rows]}
