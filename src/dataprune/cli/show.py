"""`dataprune show`: a sheet of examples, and of what augmentation makes of them."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dataprune.cli.lines import pluralise, say
from dataprune.cli.options import Data, ImageSize, Labels, OnError, Seed
from dataprune.cli.score import read_data
from dataprune.errors import InputError

if TYPE_CHECKING:
    import numpy as np

    from dataprune.data import Dataset
    from dataprune.training.recipes import Recipe

AUGMENTED = 7  # versions beside each example


def show(
    data: Data,
    augment: Annotated[bool, typer.Option("--augment", help="Beside each example, show what training makes of it.")] = False,
    out: Annotated[Path, typer.Option(metavar="FILE", help="Picture to write, .png.")] = Path("sheet.png"),
    count: Annotated[
        int | None,
        typer.Option(
            min=1, max=1000, metavar="NUMBER", help="How many examples. Default: 32, with --augment 8.", show_default=False
        ),
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Whose augmentation, as for dataprune score. Default: the one score would take.",
            show_default=False,
        ),
    ] = None,
    seed: Seed = 0,
    labels: Labels = None,
    image_size: ImageSize = None,
    on_error: OnError = "fail",
) -> None:
    """Draw a sheet of examples of DATA with their labels.

    Takes a set of pictures, writes one picture. With --augment every example is followed by random crops, flips and rotations as
    the recipe makes them, to see whether they still are what their label says.

    \b
    Example:
        dataprune show flowers/train --augment --out sheet.png
    """
    from dataprune.report.sheets import draw_sheet, sheet_data
    from dataprune.streams import generator

    dataset = read_data(data, labels, image_size, on_error, None, quiet=False)
    if dataset.images is None:
        raise InputError(f"`DATA` must hold pictures to be shown, got feature vectors in {data}.")
    n_shown = min(len(dataset), count or (8 if augment else 32))
    rows = generator(seed, "show").permutation(len(dataset))[:n_shown]
    rows.sort()
    captions = captions_of(dataset, rows)
    images = dataset.images[rows]
    if augment:
        images = with_augmented(images, _recipe(recipe, dataset), AUGMENTED, seed)
        captions = [text for caption in captions for text in (caption, *[""] * AUGMENTED)]
    draw_sheet(sheet_data(images, captions, columns=1 + AUGMENTED), out)
    say(f"written: {out}, {pluralise(n_shown, 'example')}" + (f", each with {AUGMENTED} augmented versions" if augment else ""))


def captions_of(dataset: "Dataset", rows: "np.ndarray") -> list[str]:
    """Return the label's name of each example, or its id where there are no labels."""
    if dataset.labels is None:
        return [str(one) for one in dataset.ids[rows].tolist()]
    return [dataset.classes[label] for label in dataset.labels[rows].tolist()]


def _recipe(name: str | None, dataset: "Dataset") -> "Recipe":
    from dataprune.training.plan import default_recipe
    from dataprune.training.recipes import recipe_named

    return recipe_named(name or default_recipe(dataset))


def with_augmented(images: "np.ndarray", recipe: "Recipe", versions: int, seed: int) -> "np.ndarray":
    """Follow each picture by augmented versions of it: (N, H, W, Ch) becomes (N * (1 + versions), H, W, Ch)."""
    import numpy as np
    import torch

    from dataprune.streams import torch_seed
    from dataprune.training import augment

    pixels, rows = torch.from_numpy(np.ascontiguousarray(images)), torch.arange(len(images))
    columns = [pixels]
    for version in range(versions):
        draws = augment.draw(
            recipe, len(rows), (images.shape[1], images.shape[2]), torch_seed(seed, "show"), version, torch.device("cpu")
        )
        changed = augment.crop_and_flip(pixels, rows, draws)
        if draws.angle is not None:
            turned = augment.rotate(changed.permute(0, 3, 1, 2).float(), draws.angle)
            changed = turned.permute(0, 2, 3, 1).round().clamp(0, 255).to(torch.uint8)
        columns.append(changed)
    return torch.stack(columns, dim=1).reshape(-1, *images.shape[1:]).numpy()
