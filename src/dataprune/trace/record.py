"""The recorder: fills the trace of one member, batch by batch and epoch by epoch, from logits."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from numbers import Integral
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Int64
from numpy.typing import ArrayLike

from dataprune.blocks import as_array, slices
from dataprune.errors import InputError, invalid, join_some, unknown_choice
from dataprune.trace.member import CHANNELS, MODES, MemberTrace, checked_labels, labels_hash

if TYPE_CHECKING:
    import torch

_log = logging.getLogger(__name__)

# Up to this many values (half a gigabyte) the last epoch's probabilities are kept whole, beyond it only the largest.
FULL_VALUES = 2**28
TOP_CLASSES = 16
# Logits are measured in blocks of at most this many values, so that a whole epoch may come in one call.
BLOCK_VALUES = 2**23
# A probability of e^-10000 is zero in every float, and its logarithm still fits float16: no infinity enters a divergence.
LOWEST_LOG = -1.0e4


class Recorder:
    """Fills one member's trace from the logits of your own training loop.

    After each epoch, pass the logits of every example, in batches of any size and order; `finish` returns the trace.

    Args:
        labels: (N,) class indices that the trace is measured against, or names of classes.
        n_classes: width of the logits, at least 2; or the names of the classes, in the order of the logits.
        epochs: how many will be recorded at most; as many as come if not given.
        trained_on: (N,) bool, which examples this member was trained on; all if not given.
        when: "clean" if logits come from a pass over clean inputs after the epoch, "online" if from the training steps.
        seed: the member's, for the record.
        last_bias: whether the last layer has a bias, which its gradient norm (`grand`) then counts.

    Example:
        >>> recorder = Recorder([0, 1], n_classes=2, epochs=1)
        >>> recorder.update([1, 0], np.log([[0.3, 0.7], [0.9, 0.1]]), epoch=0)
        >>> recorder.finish().arrays["p_label"].round(3).tolist()
        [[0.8999999761581421, 0.699999988079071]]
    """

    def __init__(
        self,
        labels: ArrayLike,
        n_classes: int | Sequence[str],
        epochs: int | None = None,
        *,
        trained_on: ArrayLike | None = None,
        when: str = "clean",
        seed: int = 0,
        last_bias: bool = True,
    ) -> None:
        if not isinstance(n_classes, Integral | Iterable):
            raise invalid("n_classes", "be a whole number, or the names of the classes", repr(n_classes))
        self._classes = () if isinstance(n_classes, Integral) else tuple(map(str, n_classes))
        n_classes = int(n_classes) if isinstance(n_classes, Integral) else len(self._classes)
        if n_classes < 2:
            raise invalid("n_classes", "be at least 2", n_classes)
        if len(set(self._classes)) < len(self._classes):
            raise invalid("n_classes", "hold different names", join_some(self._classes))
        if epochs is not None and epochs < 1:
            raise invalid("epochs", "be at least 1", epochs)
        if when not in MODES:
            raise unknown_choice("when", when, MODES)
        self._labels = checked_labels(labels, n_classes, self._classes)
        n_examples = len(self._labels)
        if n_examples == 0:
            raise invalid("labels", "name at least one example", "none")
        self._trained_on = np.array(np.ones(n_examples, bool) if trained_on is None else trained_on)
        if self._trained_on.dtype != bool or self._trained_on.shape != (n_examples,):
            raise invalid("trained_on", f"be {n_examples} bools", f"{self._trained_on.dtype} of shape {self._trained_on.shape}")
        self._n_classes, self._epochs, self._when, self._seed, self._last_bias = n_classes, epochs, when, seed, last_bias
        self._channels: dict[str, list[np.ndarray]] = {name: [np.zeros(n_examples, dtype)] for name, dtype in CHANNELS.items()}
        for name in ("kl_previous", "kl_previous_abs"):
            self._channels[name][0][:] = np.nan
        # The latest log-probabilities of each example, and those after the epoch before, which are what a stop inside one leaves.
        precision = np.float32 if n_examples * n_classes <= FULL_VALUES else np.float16
        self._log_p = np.zeros((n_examples, n_classes), precision)
        self._before = self._log_p
        self._epoch = 0
        self._seen = np.zeros(n_examples, bool)
        self._has_features: bool | None = None
        self._only_probabilities = True

    def __repr__(self) -> str:
        n_examples, n_classes = self._log_p.shape
        of = "" if self._epochs is None else f" of {self._epochs}"
        return f"Recorder({n_examples:,} examples, {n_classes:,} classes, {self.n_recorded}{of} epochs, {self._when})"

    def __len__(self) -> int:
        return len(self._labels)

    @property
    def n_recorded(self) -> int:
        """How many epochs are there whole."""
        return self._epoch + bool(self._seen.all())

    def update(self, rows: Any, logits: Any, epoch: int, features: Any = None) -> None:
        """Record what the member says about some examples in one epoch.

        Args:
            rows: (B,) row numbers, NumPy or torch, each once an epoch.
            logits: (B, K) outputs of the last layer before the softmax, NumPy or torch, of any device and float type; measured
                in float32 on their device.
            epoch: a whole number from 0, one after the other.
            features: (B, D) inputs of the last layer, in every call or in none; with them the channel `grand` is recorded.
        Raises:   InputError: what does not fit is refused with its rows, and nothing is recorded.
        """
        import torch

        index = self._checked_rows(rows, epoch)
        if len(index) == 0:
            return
        values, hidden = _as_tensor(logits), None if features is None else _as_tensor(features)
        with torch.no_grad():
            self._check_logits(values, index)
            if self._has_features is not None and self._has_features != (hidden is not None):
                raise invalid("features", "be given in every call or in none", "them in some")
            if hidden is not None:
                if hidden.ndim != 2 or len(hidden) != len(index):
                    raise invalid("features", f"have shape ({len(index)}, D)", tuple(hidden.shape))
                _check_finite("features", hidden, index, "")
            if epoch > self._epoch:
                self._epoch, self._before = epoch, self._log_p.copy()
                self._seen[:] = False
                for name, dtype in CHANNELS.items():
                    self._channels[name].append(np.zeros(len(self._labels), dtype))
            for block in slices(len(index), self._n_classes, BLOCK_VALUES):
                self._write(index[block], values[block], None if hidden is None else hidden[block])
        self._seen[index] = True
        if self._seen.all():
            self._before = self._log_p
        self._has_features = hidden is not None

    def accuracy(self, epoch: int) -> float:
        """Return the share of the examples trained on whose label was predicted in a recorded epoch, in [0, 1]."""
        self._check_recorded(epoch)
        right = self._channels["predicted"][epoch] == self._labels
        return float(right[self._trained_on].mean())

    def loss(self, epoch: int) -> float:
        """Return the mean cross-entropy (nats) of the examples trained on in a recorded epoch."""
        self._check_recorded(epoch)
        p_label = self._channels["p_label"][epoch][self._trained_on]
        return float(-np.log(np.maximum(p_label, np.finfo(np.float32).tiny), dtype=np.float64).mean())

    def finish(
        self, weights: Mapping[str, np.ndarray] | None = None, status: str = "ok", mirrored: ArrayLike | None = None
    ) -> MemberTrace:
        """Return the trace of the epochs that are there whole; of one that ended inside, nothing is in it. None at all is refused.

        Args:
            weights: the member's final weights by name, kept with the trace.
            status: "ok", or in words why this member must not feed a score.
            mirrored: (N, K) class probabilities of the mirror images at the end, which `noise find` and `el2n` read.
        """
        epochs = self.n_recorded
        if not epochs:
            self._check_complete()
        if not self._seen.all():
            _log.warning("the last epoch has %d of %d rows and is left out", self._seen.sum(), len(self._seen))
        held = [name for name in CHANNELS if name != "grand" or self._has_features]
        arrays = {name: np.stack(self._channels[name][:epochs]) for name in held}
        arrays |= {"trained_on": self._trained_on} | _last_epoch(self._log_p if self._seen.all() else self._before)
        if mirrored is not None:
            given, shape = np.asarray(mirrored), self._log_p.shape
            if given.shape != shape or not np.issubdtype(given.dtype, np.floating):
                raise invalid("mirrored", f"hold probabilities of shape {shape}", f"{given.dtype} of shape {given.shape}")
            if not (np.abs(given.sum(axis=1, dtype=np.float64) - 1) < 1e-2).all() or not (given >= 0).all():
                raise invalid("mirrored", "hold probabilities, whose rows sum to 1", "other numbers")
            arrays["mirrored"] = given.astype(np.float16)
        arrays |= {f"weights.{name}": np.asarray(value) for name, value in (weights or {}).items()}
        info = {"when": self._when, "seed": self._seed, "epochs": epochs, "n_classes": self._n_classes}
        info |= {"classes": list(self._classes)} if self._classes else {}
        return MemberTrace(arrays, info | {"labels": labels_hash(self._labels), "status": status})

    def state(self) -> "dict[str, torch.Tensor]":
        """Return all that was recorded so far, as tensors of its own, for a checkpoint."""
        import torch

        arrays = {name: np.stack(values) for name, values in self._channels.items()}
        features = -1 if self._has_features is None else int(self._has_features)
        arrays["position"] = np.array([self._epoch, features, int(self._only_probabilities)], np.int64)
        arrays |= {"log_p": self._log_p, "seen": self._seen, "labels": self._labels}
        arrays |= {} if self._seen.all() else {"before": self._before}
        return {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}

    def restore(self, state: "Mapping[str, torch.Tensor | np.ndarray]") -> None:
        """Go on from a checkpoint of the same labels, epochs and classes: what follows has the bits of one uninterrupted."""
        given = {name: np.asarray(value).copy() for name, value in state.items()}
        epoch, features, only_probabilities = given["position"].tolist()
        if not np.array_equal(given["labels"], self._labels):
            raise invalid("state", "be of the same labels", "other labels", "Start the member again.")
        if epoch >= (self._epochs or epoch + 1) or given["log_p"].shape != self._log_p.shape:
            got = f"epoch {epoch} and {given['log_p'].shape[1]} classes"
            most = "" if self._epochs is None else f"at most {self._epochs} epochs and of "
            raise invalid("state", f"be of {most}{self._n_classes} classes", got)
        self._channels = {name: list(given[name]) for name in CHANNELS}
        self._log_p, self._seen, self._epoch = given["log_p"], given["seen"], epoch
        self._before = given.get("before", self._log_p)
        self._has_features = None if features < 0 else bool(features)
        self._only_probabilities = bool(only_probabilities)

    def _check_recorded(self, epoch: int) -> None:
        if not self._trained_on.any():
            raise invalid("trained_on", "name an example, where accuracy or loss is asked for", "none")
        if not isinstance(epoch, Integral) or not 0 <= epoch < self.n_recorded:
            there = f"be in 0 ... {self.n_recorded - 1}, the recorded ones" if self.n_recorded else "be recorded first"
            raise invalid("epoch", there, epoch, "Pass every example's logits to update() before.")

    def _checked_rows(self, rows: Any, epoch: int) -> Int64[np.ndarray, " batch"]:
        if not isinstance(epoch, Integral):
            raise invalid("epoch", "be a whole number", repr(epoch))
        index = as_array(rows, "rows")
        if index.ndim != 1 or not (np.issubdtype(index.dtype, np.integer) or index.size == 0):
            raise invalid("rows", "be a list of row numbers", f"an array of {index.dtype} of shape {index.shape}")
        bad = index[(index < 0) | (index >= len(self._labels))]
        if len(bad):
            raise invalid("rows", f"be in 0 ... {len(self._labels) - 1}", join_some(bad))
        if epoch < 0 or epoch >= (self._epochs or epoch + 1):
            raise invalid("epoch", f"be in 0 ... {'' if self._epochs is None else self._epochs - 1}", epoch, "Epochs count from 0.")
        if epoch not in (self._epoch, self._epoch + 1):
            raise invalid("epoch", f"come in order, {self._epoch} or {self._epoch + 1} now", epoch)
        if epoch > self._epoch:
            self._check_complete()
        rows, counts = np.unique(index, return_counts=True)
        repeated = rows[(counts > 1) | (self._seen[rows] & (epoch == self._epoch))]
        if len(repeated):
            raise InputError(f"`rows` repeat within epoch {epoch}: {join_some(repeated)}. Record each once, or count `epoch` up.")
        return index.astype(np.int64)

    def _check_complete(self) -> None:
        missing = np.flatnonzero(~self._seen)
        if len(missing):
            cure = "Record every example in every epoch (in a DataLoader: drop_last=False)."
            raise InputError(f"epoch {self._epoch} lacks {len(missing)} of {len(self._seen)} rows: {join_some(missing)}. {cure}")

    def _check_logits(self, logits: "torch.Tensor", index: Int64[np.ndarray, " batch"]) -> None:
        import torch

        if tuple(logits.shape) != (len(index), self._n_classes):
            raise invalid("logits", f"have shape ({len(index)}, {self._n_classes})", tuple(logits.shape))
        _check_finite("logits", logits, index, "The training diverged: lower its learning rate.")
        if not self._only_probabilities:
            return
        # One row of logits may look like probabilities by chance; all rows from the start on do not.
        sums_to_one = (logits.sum(dim=1, dtype=torch.float32) - 1.0).abs() < (1e-4 if logits.dtype.itemsize >= 4 else 1e-2)
        self._only_probabilities = bool((sums_to_one & ((logits >= 0) & (logits <= 1)).all(dim=1)).all())
        if self._only_probabilities and len(index) + int(self._seen.sum()) >= 2:
            cure = "Pass the outputs before the softmax, or the logarithm of the probabilities."
            raise invalid("logits", "not be probabilities", f"rows that lie in [0, 1] and sum to 1 (rows {join_some(index)})", cure)

    def _write(self, rows: Int64[np.ndarray, " batch"], logits: "torch.Tensor", features: "torch.Tensor | None") -> None:
        import torch

        labels = torch.from_numpy(self._labels[rows]).to(logits.device)
        previous = torch.from_numpy(self._log_p[rows]).to(logits.device).float() if self._epoch else None
        measured, predicted, log_p = _measure(logits.float(), labels, previous)
        if features is not None:
            squared = features.float().square().sum(dim=1)
            measured["grand"] = measured["el2n"] * (squared + (1.0 if self._last_bias else 0.0)).sqrt()
        moved = torch.stack(list(measured.values())).cpu().numpy()
        for name, values in zip(measured, moved, strict=True):
            self._channels[name][self._epoch][rows] = values
        self._channels["predicted"][self._epoch][rows] = predicted.cpu().numpy()
        self._log_p[rows] = log_p.cpu().numpy()


def _measure(
    logits: "torch.Tensor", labels: "torch.Tensor", previous: "torch.Tensor | None"
) -> tuple[dict[str, "torch.Tensor"], "torch.Tensor", "torch.Tensor"]:
    """Return the channels of a block of float32 logits, the predicted classes and the log-probabilities."""
    import torch

    column = labels[:, None]
    log_p = torch.log_softmax(logits, dim=1).clamp_(min=LOWEST_LOG)
    p = log_p.exp()
    others = p.scatter(1, column, 0.0)
    best_other = logits.scatter(1, column, -torch.inf).amax(dim=1)
    measured = {
        "p_label": p.gather(1, column)[:, 0],
        "margin": logits.gather(1, column)[:, 0] - best_other,
        # 1 - p_label as the sum of the others: the same number, but it does not round to zero for the easiest examples.
        "el2n": torch.hypot(others.sum(dim=1), torch.linalg.vector_norm(others, dim=1)),
        "entropy": -(p * log_p).sum(dim=1),
    }
    if previous is not None:
        change = log_p - previous
        measured["kl_previous"] = (p * change).sum(dim=1)
        measured["kl_previous_abs"] = (p * change.abs()).sum(dim=1)
    return measured, logits.argmax(dim=1).to(torch.int32), log_p


def _last_epoch(log_p: Float[np.ndarray, "examples classes"]) -> dict[str, np.ndarray]:
    """Return the last epoch's probabilities in half precision, or of a very large set the largest of each example."""
    n_examples, n_classes = log_p.shape
    blocks = list(slices(n_examples, n_classes, BLOCK_VALUES))
    if n_examples * n_classes <= FULL_VALUES:
        full = np.empty((n_examples, n_classes), np.float16)
        for block in blocks:
            full[block] = np.exp(log_p[block])
        return {"probabilities": full}
    width = min(TOP_CLASSES, n_classes)
    top = np.empty((n_examples, width), np.float16)
    classes = np.empty((n_examples, width), np.int32)
    rest = np.empty(n_examples, np.float32)
    for block in blocks:
        p = np.exp(log_p[block].astype(np.float32))
        largest = np.argpartition(p, n_classes - width, axis=1)[:, n_classes - width :]
        order = np.argsort(-np.take_along_axis(p, largest, axis=1), axis=1, kind="stable")
        classes[block] = np.take_along_axis(largest, order, axis=1)
        values = np.take_along_axis(p, classes[block], axis=1)
        top[block] = values
        rest[block] = np.maximum(0.0, 1.0 - values.sum(axis=1))
    return {"top_probabilities": top, "top_classes": classes, "rest": rest}


def _as_tensor(values: Any) -> "torch.Tensor":
    import torch

    if isinstance(values, torch.Tensor):
        return values.detach()
    given = as_array(values, "logits")
    if not np.issubdtype(given.dtype, np.number) or np.iscomplexobj(given):
        raise invalid("logits", "be numbers", f"an array of {given.dtype}")
    return torch.from_numpy(np.array(given, dtype=np.float32))


def _check_finite(name: str, values: "torch.Tensor", index: Int64[np.ndarray, " batch"], cure: str) -> None:
    """Refuse what is no finite number in single precision, in which it is measured."""
    finite = (values.float() if values.dtype.itemsize > 4 else values).isfinite().all(dim=1)
    if not bool(finite.all()):
        rows = index[(~finite).cpu().numpy()]
        raise InputError(f"`{name}` are NaN or infinite at rows {join_some(rows)}, in float32. {cure}")
