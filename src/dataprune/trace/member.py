"""The trace of one member: its channels, and how it lies in a file."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int64
from numpy.typing import ArrayLike

from dataprune.blocks import as_array
from dataprune.errors import InputError, invalid, join_some

CHANNELS: dict[str, np.dtype[Any]] = {
    "p_label": np.dtype(np.float32),
    "predicted": np.dtype(np.int32),
    "margin": np.dtype(np.float32),
    "el2n": np.dtype(np.float32),
    "entropy": np.dtype(np.float32),
    "kl_previous": np.dtype(np.float32),
    "kl_previous_abs": np.dtype(np.float32),
    "grand": np.dtype(np.float32),
}
"""The channels of a trace, each (epochs, examples), and their types."""

MODES = ("clean", "online")


@dataclass(frozen=True, eq=False)
class MemberTrace:
    """One member's trace.

    Attributes:
        arrays: the channels (T, N); `trained_on` (N,) bool; of the last epoch `probabilities` (N, K) float16, or for very large
            sets `top_probabilities` (N, 16) float16, `top_classes` (N, 16) int32 and `rest` (N,) float32; `mirrored` (N, K)
            float16, the probabilities of the mirror images, where the member was trained on such; the final `weights.<name>`;
            what was asked to be recorded: `weights@<epoch>.<name>`, and `second_split` (N,) int32 (see `Trace.second_split`).
            Arrays may be memory maps.
        info: `when`, `seed`, `epochs`, `n_classes`, `labels` (a hash of those it was measured against), `status` ("ok", or why the
            member must not be scored); where there are such, `classes`, their names, and `incomplete`, why epochs are missing.
    """

    arrays: Mapping[str, np.ndarray]
    info: Mapping[str, Any]


def save_member(path: Path, member: MemberTrace) -> None:
    """Write one member to one file; equal members give equal bytes (nothing of time, host or path is in it)."""
    from dataprune.store import save_arrays  # a recorder in a user's own loop needs no store

    save_arrays(path, dict(member.arrays), dict(member.info))


def open_member(path: Path) -> MemberTrace:
    """Open a member's file; its arrays are memory maps, read when they are sliced."""
    from dataprune.store import open_arrays

    opened = open_arrays(path)
    return MemberTrace(opened.arrays, opened.info)


def labels_hash(labels: Int64[np.ndarray, " examples"]) -> str:
    """Hash the labels, so that a member is never scored against others than it was measured with."""
    return hashlib.sha256(labels.astype("<i8").tobytes()).hexdigest()


def are_names(labels: np.ndarray) -> bool:
    return labels.dtype.kind in "OUT" and all(isinstance(one, str) for one in labels.tolist())


def checked_labels(labels: ArrayLike, n_classes: int | None = None, classes: Sequence[str] = ()) -> Int64[np.ndarray, " examples"]:
    """Return the labels as int64; those that are no class index below `n_classes`, and no name in `classes`, are refused with
    their rows."""
    given = as_array(labels, "labels")
    if given.ndim != 1:
        raise invalid("labels", "be one class index for each example", f"an array of shape {given.shape}")
    if classes and are_names(given):
        index_of = {str(name): index for index, name in enumerate(classes)}
        if unknown := [f"{name!r} in row {row}" for row, name in enumerate(given.tolist()) if name not in index_of]:
            raise invalid("labels", f"be names of the classes ({join_some(classes)})", join_some(unknown))
        given = np.array([index_of[name] for name in given.tolist()], np.int64)
    if not np.issubdtype(given.dtype, np.integer):
        raise invalid("labels", "be integers", f"an array of {given.dtype}", "Names need `classes`, their order.")
    bad = given < 0 if n_classes is None else (given < 0) | (given >= n_classes)
    if bad.any():
        rows = np.flatnonzero(bad)
        span = "be 0 or more" if n_classes is None else f"be in 0 ... {n_classes - 1}"
        raise InputError(f"`labels` must {span}, got {given[rows[0]]} (rows {join_some(rows, most=5)}).")
    return given.astype(np.int64)
