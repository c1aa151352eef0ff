"""Training on other examples in every epoch: InfoBatch, RS2, and a sampler for a DataLoader that follows them or a score."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from dataprune.blocks import as_array
from dataprune.errors import check_type, invalid, join_some, unknown_choice
from dataprune.scores import Score
from dataprune.selection.group import Rows, Values
from dataprune.streams import generator

DYNAMIC = {"infobatch": 0.125, "rs2": 0.0, "score": 0.125}
"""The methods, and the share of epochs at the end that is whole if nothing is said (Qin et al. 2024: 0.125)."""


@dataclass(frozen=True)
class Dynamic:
    """Which examples an epoch leaves out.

    Attributes:
        name: `infobatch` leaves out a random part of those whose last loss is below the mean, and lets the others of these count
            for them; `score` does so by a score in place of the loss; `rs2` trains on a random part, of which none comes again
            before all have come.
        keep: the fraction kept, of all for rs2, of those below the mean for the others.
        whole: the share of epochs, at the end, that leaves nothing out. Default: an eighth, 0 for rs2.

    Source: Qin et al. 2024, arXiv:2303.04947; Okanovic et al. 2024, arXiv:2305.18424 (without replacement). Departs: InfoBatch
        keeps an exact share, not each by a chance, so the weights are that share's inverse.
    """

    name: str
    keep: float = 0.5
    whole: float | None = None

    def __post_init__(self) -> None:
        if self.name not in DYNAMIC:
            raise unknown_choice("dynamic", self.name, DYNAMIC)
        if not 0 < self.keep <= 1:
            raise invalid("keep", "be in (0, 1]", f"{self.keep:g}", "It is the fraction kept.")
        if self.whole is not None and not 0 <= self.whole <= 1:
            raise invalid("whole", "be in [0, 1]", f"{self.whole:g}", "It is a share of the epochs.")

    def weights(self, losses: Values, epoch: int, epochs: int, seed: int) -> Values:
        """Return how much each example counts in an epoch, 0 for those left out; on average over draws 1, but for rs2.

        Args:
            losses: (N,) the last of each, or a difficulty; NaN where it is not known: such examples are kept.
            epoch: from 0 on, of `epochs`.
        """
        whole = DYNAMIC[self.name] if self.whole is None else self.whole
        found = np.ones(len(losses))
        if epoch >= epochs - ceil(whole * epochs - 1e-9):
            return found
        if self.name == "rs2":
            found[:] = 0
            found[random_part(len(losses), max(1, int(self.keep * len(losses) + 0.5)), epoch, seed)] = 1
            return found
        known = losses[np.isfinite(losses)]
        easy = np.flatnonzero(np.isfinite(losses) & (losses < known.mean())) if len(known) else np.zeros(0, np.int64)
        if len(easy):
            n_kept = ceil(self.keep * len(easy) - 1e-9)
            found[easy] = 0
            found[generator(seed, "dynamic", epoch).permutation(easy)[:n_kept]] = len(easy) / n_kept
        return found


def random_part(n_examples: int, size: int, epoch: int, seed: int) -> Rows:
    """Return the part of an epoch: shuffled examples are dealt out, and shuffled anew when all have come; none comes twice."""
    left, taken, n_shuffled = np.zeros(0, np.int64), np.zeros(0, np.int64), 0
    for _ in range(epoch + 1):
        taken, left = left[:size], left[size:]
        if len(taken) < size:
            fresh = generator(seed, "parts", n_shuffled).permutation(n_examples)
            n_shuffled += 1
            wanted = fresh[~np.isin(fresh, taken)][: size - len(taken)]
            taken, left = np.concatenate([taken, wanted]), fresh[~np.isin(fresh, wanted)]
    return taken


class DynamicSampler:
    """A sampler for a torch `DataLoader`, with other examples in every epoch, and weights that make up for those left out.

    Of several processes each has its own, made alike but for `shard`. What they draw is the same; `set_epoch` has them exchange
    their losses by `torch.distributed` where that is running, so all must call it. Each saves its own state.

    Example:
        >>> sampler = DynamicSampler(4, epochs=8)
        >>> sampler.update([0, 1, 2, 3], [0.1, 0.2, 0.3, 3.0])
        >>> sampler.set_epoch(1)
        >>> len(sampler), 3 in list(sampler), float(sampler.weights(list(sampler)).sum())
        (3, True, 4.0)
    """

    def __init__(
        self,
        examples: int | ArrayLike,
        epochs: int,
        method: str | Dynamic = "infobatch",
        *,
        score: Score | ArrayLike | None = None,
        seed: int = 0,
        shard: tuple[int, int] = (0, 1),
    ) -> None:
        """Begin at epoch 0, which infobatch trains whole.

        Args:
            examples: how many the data set has, or their ids (strings, in its order).
            epochs: of the whole training.
            method: `infobatch`, `rs2` or `score`, or a `Dynamic` with its own `keep` and `whole`.
            score: of each example, for `score`; a bare array is a difficulty.
            shard: rank and number of processes, of which each gets an equal part of the draw: the last ones begin it again where
                it does not divide. Leave it out where the loader is divided otherwise, as Hugging Face's Trainer does.
        Raises:   InputError: what does not fit.
        """
        self.method = Dynamic(method) if isinstance(method, str) else method
        check_type("method", self.method, Dynamic)
        if not isinstance(examples, int | np.integer) and np.asarray(examples).dtype.kind in "iuf":
            raise invalid("examples", "be their number or ids, which are strings (`update` takes rows)", "numbers")
        names = range(int(examples)) if isinstance(examples, int | np.integer) else np.asarray(examples).tolist()
        self._n, self._rows = len(names), {str(name): row for row, name in enumerate(names)}
        self._rank, self._world = shard
        by = self.method.name
        given = score if score is None or isinstance(score, Score) else Score("given", np.asarray(score))
        self._difficulty = None if given is None else given.difficulty
        for name, fits, requirement, got in (
            ("examples", self._n > 0, "be at least 1", self._n),
            ("examples", len(self._rows) == self._n, "be ids that all differ", f"{self._n - len(self._rows)} repeats"),
            ("epochs", epochs > 0, "be at least 1", epochs),
            ("shard", 0 <= self._rank < self._world, "be a rank from 0 on and the number of processes", shard),
            ("score", (score is None) == (by != "score"), "be given with the method 'score', and only with it", f"method '{by}'"),
            ("score", given is None or len(given) == self._n, f"be of the {self._n:,} examples", len(given or ())),
        ):
            if not fits:
                raise invalid(name, requirement, got)
        self.epochs, self.seed, self.epoch = epochs, seed, 0
        self._losses, self._is_new = np.full(self._n, np.nan), np.zeros(self._n, bool)
        self._draw()

    def __len__(self) -> int:
        """The number of examples of this process in this epoch."""
        return -(-int((self._weights > 0).sum()) // self._world)

    def __iter__(self) -> Iterator[int]:
        order = generator(self.seed, "order", self.epoch).permutation(self._n)
        order = order[self._weights[order] > 0]
        yield from np.resize(order, len(self) * self._world)[self._rank :: self._world].tolist()

    def set_epoch(self, epoch: int) -> None:
        """Draw the examples of an epoch by the losses so far; a second call for the same epoch changes nothing."""
        if epoch == self.epoch:
            return
        if not 0 <= epoch < self.epochs:
            raise invalid("epoch", f"be from 0 to {self.epochs - 1}, of the {self.epochs} epochs of the sampler", epoch)
        self._exchange()
        self.epoch = epoch
        self._draw()

    def update(self, examples: Any, losses: Any) -> None:
        """Remember the losses of a batch, not weighted, one for each example (rows, or ids where the sampler knows them).

        An example whose loss is not finite is kept, like one whose loss is not known.
        """
        rows = self._row_numbers(examples)
        values = as_array(losses.float() if hasattr(losses, "float") else losses, "losses").astype(np.float64)
        if values.shape != rows.shape:
            raise invalid("losses", f"be one for each of {rows.size} examples", f"shape {values.shape}", 'Take reduction="none".')
        self._losses[rows], self._is_new[rows] = values, True

    def weights(self, examples: Any) -> Any:
        """Return by how much to multiply the loss of each example of a batch: float32, a tensor where `examples` is one.

        Over an epoch the weighted gradients add up, on average over draws, to those of all examples. They belong to the example,
        not to the batch, so accumulated gradients need nothing else.
        """
        found = self._weights[self._row_numbers(examples)].astype(np.float32)
        if not hasattr(examples, "detach"):
            return found
        import torch

        return torch.from_numpy(found).to(examples.device)

    def state_dict(self) -> dict[str, Any]:
        """Return all that a sampler made alike needs to go on, also in the middle of an epoch."""
        import torch

        arrays = {"losses": self._losses, "is_new": self._is_new, "weights": self._weights}
        return self._identity() | {"epoch": self.epoch} | {name: torch.from_numpy(one.copy()) for name, one in arrays.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state; InputError for one of other examples, epochs, method or seed."""
        for name, own in self._identity().items():
            if state.get(name) != own:
                raise invalid("state", f"be of a sampler with {name} {own}", state.get(name))
        self.epoch = int(state["epoch"])
        self._losses, self._is_new, self._weights = (as_array(state[name], name).copy() for name in ("losses", "is_new", "weights"))

    def _identity(self) -> dict[str, Any]:
        return {"examples": self._n, "epochs": self.epochs, "method": asdict(self.method), "seed": self.seed}

    def _draw(self) -> None:
        losses = self._losses if self._difficulty is None else self._difficulty
        self._weights = self.method.weights(losses, self.epoch, self.epochs, self.seed)

    def _exchange(self) -> None:
        """Take in what other processes have measured since the last time."""
        from torch import distributed

        if distributed.is_available() and distributed.is_initialized():
            parts: list[Any] = [None] * distributed.get_world_size()
            rows = np.flatnonzero(self._is_new)
            distributed.all_gather_object(parts, (rows, self._losses[rows]))
            for rows, losses in parts:
                self._losses[rows] = losses
        self._is_new[:] = False

    def _row_numbers(self, examples: Any) -> Rows:
        given = as_array(examples, "examples")
        if given.dtype.kind in "OTU":
            if unknown := [repr(name) for name in given.tolist() if name not in self._rows]:
                raise invalid("examples", "be ids that the sampler was made with", join_some(unknown))
            return np.array([self._rows[name] for name in given.tolist()], np.int64)
        if given.dtype.kind not in "iu" or given.ndim != 1:
            raise invalid("examples", "be row numbers or ids, in one dimension", f"{given.dtype} of shape {given.shape}")
        if len(bad := given[(given < 0) | (given >= self._n)]):
            raise invalid("examples", f"be rows in 0 ... {self._n - 1}", join_some(bad))
        return given.astype(np.int64)
