"""What shells complete beside commands, options and fixed choices: the names in our tables."""

from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

from cyclopts import Argument


def names() -> dict[str, tuple[str, ...]]:
    """Return the names that an option takes, beside files and module:function, by option."""
    from dataprune.encoders.encoder import LIBRARIES, OURS
    from dataprune.scores.table import FEATURE_SCORES, NETWORK_SCORES, SCORES
    from dataprune.selection.strategies import STRATEGIES
    from dataprune.study.presets import PRESETS
    from dataprune.training.models import MODELS, TREES
    from dataprune.training.recipes import RECIPES

    scores = (*SCORES, *NETWORK_SCORES, *FEATURE_SCORES)
    encoders = ("auto", "scratch", *OURS, *(f"{one}:" for one in LIBRARIES))
    found = dict.fromkeys(("--by", "--cut-by", "--scores"), scores) | {"--color": ("label", "cluster", *scores)}
    found |= {"--strategy": tuple(STRATEGIES), "--preset": tuple(PRESETS), "--encoder": encoders}
    return found | {"--model": (*MODELS, TREES.name), "--recipe": tuple(RECIPES)}


@contextmanager
def named_choices() -> Iterator[None]:
    """Let options have the names in our tables as choices while the block runs: to parse with, these would refuse all else."""
    from dataprune.training.swav.recipe import SWAV_RECIPES

    known, of_hint = names(), Argument.get_choices

    def choices(argument: Argument, force: bool = False) -> tuple[str, ...] | None:
        of_swav = argument.name == "--recipe" and "For swav" in (argument.parameter.help or "")
        return of_hint(argument, force) or (tuple(SWAV_RECIPES) if of_swav else known.get(argument.name))

    with patch.object(Argument, "get_choices", choices):
        yield
