"""How features are learned without labels: crops, network, prototypes and schedule as one frozen value, and the defaults."""

from dataclasses import dataclass, replace

import numpy as np

from dataprune.data import Dataset
from dataprune.errors import InputError, invalid
from dataprune.plugins import named
from dataprune.training.recipes import Recipe
from dataprune.training.settings import SwavSettings

EPOCHS = {"low": 20, "medium": 40, "high": 200}  # at REFERENCE_SIZE examples
WIDTHS = {"low": 32, "medium": 32, "high": 64}  # of the model `proxy`
REFERENCE_SIZE = 10_000
SIZE_EXPONENT = 0.5  # a fourth of the examples gets twice the epochs, so half the steps
FEWEST, MOST = 0.25, 4.0  # times the epochs at REFERENCE_SIZE
ROWS_PER_PROTOTYPE = 4  # of a small set, so many at least
LEAST_SIDE = 4  # pixels of a crop


@dataclass(frozen=True)
class CropSpec:
    """Crops of one size: how many of each picture, their side as a share of its own, least and largest share of its area."""

    count: int
    share: float
    smallest: float
    largest: float

    def __post_init__(self) -> None:
        if self.count < 1:
            raise invalid("count", "be at least 1", self.count)
        if not 0 < self.share <= 1:
            raise invalid("share", "be in (0, 1]", self.share)
        if not 0 < self.smallest <= self.largest <= 1:
            raise invalid("smallest", "be in (0, 1] and at most `largest`", f"{self.smallest} and {self.largest}")

    def size(self, shape: tuple[int, ...]) -> tuple[int, int]:
        """Return height and width of a crop of pictures (channels, height, width): multiples of 4, where that is possible."""
        height, width = (min(side, max(LEAST_SIDE, 4 * round(self.share * side / 4))) for side in shape[1:])
        return height, width


@dataclass(frozen=True)
class ColorAugment:
    """What happens to crops: whether half are mirrored, how far brightness, contrast, saturation and hue change (0 is none), and
    the shares that lose their colours or are blurred."""

    flip: bool = True
    jitter: float = 0.5
    gray: float = 0.2
    blur: float = 0.0

    def __post_init__(self) -> None:
        for name in ("jitter", "gray", "blur"):
            if not 0 <= getattr(self, name) <= 1:
                raise invalid(name, "be in [0, 1]", getattr(self, name))


@dataclass(frozen=True)
class SwavRecipe:
    """Everything about a training without labels but the data and the seed.

    Attributes:
        steps: optimiser, schedule, batch and epochs; of its augmentation nothing is used.
        crops: of each picture, each of which gets codes and predicts those of the others.
        model: as for an ensemble; its last linear layer becomes the first one of the projection.
        width: of the model `proxy`; other models have their own.
        hidden, projection: width of the projection's hidden layer, and length of what it gives.
        prototypes: how many; of a small set fewer are taken.
        frozen: the share of the training in which the prototypes stay as they began.
        temperature, epsilon, iterations: of the softmax over prototypes; smoothness of the codes; of Sinkhorn and Knopp.
    """

    name: str
    steps: Recipe
    crops: CropSpec
    look: ColorAugment
    model: str = "proxy"
    width: int = 32
    hidden: int = 512
    projection: int = 128
    prototypes: int = 512
    frozen: float = 0.01
    temperature: float = 0.1
    epsilon: float = 0.05
    iterations: int = 3

    def __post_init__(self) -> None:
        if self.crops.count < 2:
            raise invalid("crops", "be at least 2 of a picture", self.crops.count)
        for name, least in (("width", 1), ("hidden", 1), ("projection", 1), ("prototypes", 2), ("iterations", 1)):
            if getattr(self, name) < least:
                raise invalid(name, f"be at least {least}", getattr(self, name))
        for name in ("temperature", "epsilon"):
            if not getattr(self, name) > 0:
                raise invalid(name, "be a positive number", getattr(self, name))


_STEPS = Recipe("swav", optimiser="adamw", learning_rate=3e-3, weight_decay=1e-4, schedule="cosine", warmup=0.1, batch=256)
FAST = SwavRecipe("fast", _STEPS, CropSpec(2, 0.75, 0.25, 1.0), ColorAugment())
FAST_GRAY = replace(FAST, name="fast-gray", look=ColorAugment(flip=False))  # a mirrored digit means something else
# The report's: two crops of the full size, 512-512-128 behind a ResNet-18. It does not say what its crops looked like:
# areas and colours are those of Caron et al. 2020 for ImageNet.
REPORT = SwavRecipe(
    "report",
    Recipe("report", optimiser="adam", learning_rate=1e-3, weight_decay=1e-6, schedule="cosine", warmup=0.0, batch=512, epochs=200),
    CropSpec(2, 1.0, 0.14, 1.0),
    ColorAugment(jitter=1.0, blur=0.5),
    model="resnet18",
)
SWAV_RECIPES = {recipe.name: recipe for recipe in (FAST, FAST_GRAY, REPORT)}


@dataclass(frozen=True)
class Swav:
    """What defines features beside the data; they are a pure function of this and the data."""

    recipe: SwavRecipe
    epochs: int
    seed: int


def swav_recipe_named(name: str) -> SwavRecipe:
    """Look a recipe up by name, or call `module:function`, which must return a `SwavRecipe`."""
    return named("recipe", name, SWAV_RECIPES, SwavRecipe)


def plan_swav(dataset: Dataset, settings: SwavSettings) -> Swav:
    """Fill in what the settings leave open; vectors and fewer than 4 examples are refused."""
    if dataset.images is None:
        cure = "Vectors are features already: give them to `dataprune km`, or reduce them by --encoder pixels"
        columns = dataset.inputs.shape[1]
        raise InputError(f"--encoder swav learns from pictures, and the data hold vectors of {columns} columns. {cure}.")
    if len(dataset) < 4:
        raise invalid("data", "hold at least 4 examples", len(dataset))
    effort = settings.effort or "medium"
    recipe = swav_recipe_named(settings.recipe or ("fast-gray" if dataset.images.shape[3] == 1 else "fast"))
    if settings.recipe is None:
        recipe = replace(recipe, width=WIDTHS[effort])
    scaled = EPOCHS[effort] * float(np.clip((REFERENCE_SIZE / len(dataset)) ** SIZE_EXPONENT, FEWEST, MOST))
    epochs = settings.epochs or recipe.steps.epochs or max(1, round(scaled))
    batch = min(settings.batch or recipe.steps.batch, len(dataset))
    recipe = replace(
        recipe,
        steps=replace(recipe.steps, batch=batch, epochs=epochs),
        model=settings.model or recipe.model,
        prototypes=min(recipe.prototypes, max(2, len(dataset) // ROWS_PER_PROTOTYPE)),
    )
    return Swav(recipe, epochs, settings.seed)
