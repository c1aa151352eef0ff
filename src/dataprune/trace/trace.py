"""The trace of an ensemble: what E members said about N examples after each of T epochs."""

import copy
from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64, Shaped
from numpy.typing import ArrayLike

from dataprune.errors import InputError, invalid, join_some, unknown_choice
from dataprune.notebook import Drawable, html_table
from dataprune.trace.member import CHANNELS, MemberTrace, checked_labels, labels_hash

# What one chunk may hold of one channel or of the probabilities (4 MB in float64: what a core has near), whatever E, T and K are.
CHUNK_VALUES = 2**19
CHUNK_EXAMPLES = 65_536


class Trace(Drawable):
    """The members of one ensemble, joined; immutable. `trace[a:b]` is the trace of those examples.

    Args:
        members: at least one, of the same examples, classes and way of measuring. Leave out members that failed. Of members with
            more epochs than others their last ones count, as many as the shortest has.
        labels: (N,) the class indices that the members were recorded against, or names, where the recorders were given `classes`.
        ids: (N,) one string an example, if they have names.
    """

    def __init__(self, members: Sequence[MemberTrace], labels: ArrayLike, ids: np.ndarray | None = None) -> None:
        if not isinstance(members, Sequence):
            raise invalid("members", "be a list of traces of members", f"a {type(members).__name__}")
        self._members = tuple(members)
        if not self._members:
            raise invalid("members", "hold at least one member", "none")
        for number, member in enumerate(self._members):
            if not isinstance(member, MemberTrace):
                raise invalid("members", "be what Recorder.finish() returns", f"a {type(member).__name__} at place {number}")
        self._classes = tuple(self._members[0].info.get("classes", ()))
        self._labels = checked_labels(labels, classes=self._classes)
        self._ids = None if ids is None else np.asarray(ids)
        self._start, self._stop = 0, len(self._labels)
        self._whole = min(int(member.info["epochs"]) for member in self._members)
        self._epochs = self._whole
        _check_members(self._members, self._labels)
        if ids is not None and len(ids) != len(self._labels):
            raise invalid("ids", f"be as many as labels: {len(self._labels)}", len(ids))

    @property
    def n_members(self) -> int:
        """E."""
        return len(self._members)

    @property
    def n_epochs(self) -> int:
        """T."""
        return self._epochs

    @property
    def n_examples(self) -> int:
        """N, of this view."""
        return self._stop - self._start

    @property
    def n_classes(self) -> int:
        """K."""
        return int(self._members[0].info["n_classes"])

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes by index, if the recorders were given them."""
        return self._classes

    @property
    def when(self) -> str:
        """How it was measured: "clean" or "online"."""
        return str(self._members[0].info["when"])

    @property
    def labels(self) -> Int64[np.ndarray, " examples"]:
        """The labels that the members were measured against."""
        return self._labels[self._start : self._stop]

    @property
    def ids(self) -> np.ndarray | None:
        """The examples' names, if they have any."""
        return None if self._ids is None else self._ids[self._start : self._stop]

    def __len__(self) -> int:
        return self.n_examples

    def __repr__(self) -> str:
        shape = f"{self.n_members} members, {self.n_epochs} epochs, {self.n_examples:,} examples, {self.n_classes:,} classes"
        return f"Trace({shape}, {self.when})"

    def _repr_html_(self) -> str:
        held = [name for name in CHANNELS if all(name in member.arrays for member in self._members)]
        return html_table(repr(self), {"channel": held, "type": [str(CHANNELS[name]) for name in held]})

    def __getitem__(self, rows: slice) -> "Trace":
        """Return the trace of some neighbouring examples; nothing is read."""
        start, stop, step = rows.indices(self.n_examples)
        if step != 1:
            raise invalid("rows", "be a slice without a step", rows)
        view = copy.copy(self)
        view._start, view._stop = self._start + start, self._start + max(start, stop)
        return view

    def of_members(self, members: Sequence[int]) -> "Trace":
        """Return the trace of some of the members, by their places; nothing is read."""
        bad = [place for place in members if not 0 <= place < self.n_members]
        if bad or not len(members):
            raise invalid("members", f"be places in 0 ... {self.n_members - 1}", join_some(bad) if bad else "none")
        view = copy.copy(self)
        view._members = tuple(self._members[place] for place in members)
        return view

    def until(self, epoch: int) -> "Trace":
        """Return the trace as if training had ended after `epoch` of its epochs; nothing is read.

        The probabilities of all classes are recorded after the last epoch only: before, scores that need them are absent.
        """
        if not 1 <= epoch <= self.n_epochs:
            raise invalid("until", f"be from 1 to {self.n_epochs}, the epochs of the trace", epoch)
        view = copy.copy(self)
        view._epochs = int(epoch)
        return view

    def members_at(self, rows: Int64[np.ndarray, " rows"]) -> Iterator[MemberTrace]:
        """Yield each member's trace of the examples at `rows`, in that order, without its weights."""
        at, n_classes = rows + self._start, self.n_classes
        for member in self._members:
            epochs = slice(int(member.info["epochs"]) - self._whole, None)
            kept = {name: array for name, array in member.arrays.items() if not name.startswith("weights")}
            arrays = {name: array[epochs, at] if name in CHANNELS else array[at] for name, array in kept.items()}
            info = {**member.info, "epochs": self._whole, "n_classes": n_classes, "labels": labels_hash(self._labels[at])}
            yield MemberTrace(arrays, info)

    def cross_fitted(self, evidence: Literal["in", "out"]) -> "Iterator[tuple[Int64[np.ndarray, ' rows'], Trace]]":
        """Yield rows, and their trace by those members only that were trained on them ("in") or were not ("out").

        Other members speak for other examples, so a place in such a trace is not always the same member's. All channels are read
        at once: take `chunks` first.

        Raises:   InputError: an example has no such member.
        """
        speaks = self._speaking(evidence)
        counts, order = speaks.sum(axis=0), np.argsort(~speaks, axis=0, kind="stable")
        held = [name for name in CHANNELS if all(name in member.arrays for member in self._members)]
        values = {name: self.channel(name) for name in held}
        if self.ends_whole:
            values["probabilities"] = np.stack([self.member_probabilities(member) for member in range(self.n_members)])
            mirrored = [one for member in range(self.n_members) if (one := self.mirrored(member)) is not None]
            values |= {"mirrored": np.stack(mirrored)} if len(mirrored) == self.n_members else {}
        info = {"epochs": self.n_epochs, "n_classes": self.n_classes, "when": self.when}
        for count in np.unique(counts).tolist():
            rows = np.flatnonzero(counts == count)
            members = []
            for place in order[:count, rows]:
                arrays = {name: values[name][place, :, rows].T for name in held} | {
                    "trained_on": np.full(len(rows), evidence == "in")
                }
                arrays |= {name: values[name][place, rows] for name in ("probabilities", "mirrored") if name in values}
                members.append(MemberTrace(arrays, info))
            yield rows, Trace(members, self.labels[rows], None if self.ids is None else self.ids[rows])

    def chunks(self, size: int | None = None) -> "Iterator[Trace]":
        """Yield the trace piece by piece: views of `size` examples, by default as many as fit a bounded memory."""
        if size is None:
            size = min(CHUNK_EXAMPLES, max(1, CHUNK_VALUES // (self.n_members * max(self.n_epochs, self.n_classes))))
        for start in range(0, self.n_examples, size):
            yield self[start : start + size]

    def channel(self, name: str) -> Shaped[np.ndarray, "members epochs examples"]:
        """Read one channel for all members and epochs; one that a member has not recorded is an error."""
        return self._read(name, 0)

    def last(self, name: str) -> Shaped[np.ndarray, "members examples"]:
        """Read one channel for all members at the last epoch only."""
        return self._read(name, self.n_epochs - 1)[:, 0]

    @property
    def trained_on(self) -> Bool[np.ndarray, "members examples"]:
        """Which member saw which example in training."""
        return np.stack([np.asarray(member.arrays["trained_on"][self._start : self._stop], bool) for member in self._members])

    @property
    def second_split(self) -> Int64[np.ndarray, "members examples"]:
        """From which epoch on, of a second training on what a member had not seen, it never named the label again; its number of
        epochs + 1 where it did to the end. For examples that a member was first trained on."""
        if not self.ends_whole or any("second_split" not in member.arrays for member in self._members):
            raise InputError("the trace holds no second training. Score with --record second_split, without --until or --evidence.")
        rows = slice(self._start, self._stop)
        return np.stack([np.asarray(member.arrays["second_split"][rows], np.int64) for member in self._members])

    def member_probabilities(self, member: int, *, mirrored: bool = False) -> Float32[np.ndarray, "examples classes"]:
        """Read one member's class probabilities at the last epoch.

        They are stored in half precision; the label's own is taken from the channel `p_label`, which is exact, and the others are
        scaled to what it leaves, so that rows sum to 1. Where only the largest were stored, the rest is spread evenly over the
        other classes. `mirrored` gives the mean with those of the mirror image, where the member holds them.
        """
        arrays, rows = self._members[member].arrays, slice(self._start, self._stop)
        if not self.ends_whole:
            raise InputError(f"probabilities of all classes are not recorded after epoch {self._epochs}. Take the whole trace.")
        if "probabilities" in arrays:
            p = np.asarray(arrays["probabilities"][rows]).astype(np.float32)
        elif "top_probabilities" in arrays:
            top = np.asarray(arrays["top_probabilities"][rows]).astype(np.float32)
            spread = np.asarray(arrays["rest"][rows]) / max(1, self.n_classes - top.shape[1])
            p = np.repeat(spread[:, None], self.n_classes, axis=1).astype(np.float32)
            np.put_along_axis(p, np.asarray(arrays["top_classes"][rows], np.int64), top, axis=1)
        else:
            raise InputError(f"member {member} holds no probabilities of its last epoch. Record it with Recorder.finish().")
        p_label = np.asarray(arrays["p_label"][-1, rows])
        np.put_along_axis(p, self.labels[:, None], 0.0, axis=1)
        others = np.einsum("nk->n", p)  # along short rows faster than a sum
        p *= np.divide(1.0 - p_label, others, out=np.zeros_like(others), where=others > 0)[:, None]
        np.put_along_axis(p, self.labels[:, None], p_label[:, None], axis=1)
        if mirrored and (of_mirror := self.mirrored(member)) is not None:
            p += of_mirror
            p /= p.sum(axis=1, keepdims=True)
        return p

    def mirrored(self, member: int) -> Float32[np.ndarray, "examples classes"] | None:
        """Read one member's class probabilities of the mirror images at the last epoch, None where it holds none."""
        held = self._members[member].arrays.get("mirrored") if self.ends_whole else None
        return None if held is None else np.asarray(held[self._start : self._stop], np.float32)

    @property
    def has_mirrored(self) -> bool:
        """Whether some member holds its answers to mirror images."""
        return self.ends_whole and any("mirrored" in member.arrays for member in self._members)

    def probabilities(self, which: Literal["all", "in", "out"] = "all") -> Float32[np.ndarray, "examples classes"]:
        """Return the class probabilities at the last epoch, whose rows sum to 1: the mean over all members, over those trained on
        the example ("in") or over those that were not ("out"); an example without such a member is an error."""
        counted = self._speaking(which)
        total: Float64[np.ndarray, "examples classes"] = np.zeros((self.n_examples, self.n_classes), np.float64)
        for member in range(self.n_members):
            total += self.member_probabilities(member) * counted[member][:, None]
        return np.asarray(total / counted.sum(axis=0)[:, None], dtype=np.float32)

    @property
    def ends_whole(self) -> bool:
        """Whether it ends where the training did, after which more is recorded than the channels."""
        return self._epochs == self._whole

    def _speaking(self, evidence: str) -> Bool[np.ndarray, "members examples"]:
        """Return which members speak for which example; an example for which none does is an error."""
        if evidence not in ("all", "in", "out"):
            raise unknown_choice("evidence", evidence, ("all", "in", "out"))
        seen = self.trained_on
        speaks = np.ones_like(seen) if evidence == "all" else seen if evidence == "in" else ~seen
        lacking = np.flatnonzero(~speaks.any(axis=0)) + self._start
        if len(lacking):
            every, cure = ("was trained on", "Score with --folds.") if evidence == "out" else ("left out", "Use 'all'.")
            where = f"{len(lacking)} of {self.n_examples} examples (rows {join_some(lacking)})"
            raise InputError(f"evidence '{evidence}' is not there for {where}: every member {every} them. {cure}")
        return speaks

    def _read(self, name: str, first: int) -> np.ndarray:
        """Read a channel from an epoch on."""
        if name not in CHANNELS:
            raise unknown_choice("channel", name, CHANNELS)
        lacking = [number for number, member in enumerate(self._members) if name not in member.arrays]
        if lacking:
            cure = "Pass features=, the last layer's inputs, to Recorder.update." if name == "grand" else "Record it again."
            raise InputError(f"the trace has no channel '{name}' (members {join_some(lacking)}). {cure}")
        skipped = [int(member.info["epochs"]) - self._whole for member in self._members]
        epochs = [slice(skip + first, skip + self.n_epochs) for skip in skipped]
        parts = zip(self._members, epochs, strict=True)
        return np.stack([np.asarray(member.arrays[name][some, self._start : self._stop]) for member, some in parts])


def _check_members(members: Sequence[MemberTrace], labels: Int64[np.ndarray, " examples"]) -> None:
    first, hashed = members[0].info, labels_hash(labels)
    for number, member in enumerate(members):
        n_examples = member.arrays["trained_on"].shape[0]
        if n_examples != len(labels):
            raise invalid("labels", f"be as many as the examples of member {number}: {n_examples}", len(labels))
        for key in ("n_classes", "when", "classes"):
            if member.info.get(key) != first.get(key):
                raise invalid("members", f"agree in {key}", f"{first.get(key)!r} and {member.info.get(key)!r} of member {number}")
        if member.info.get("labels", hashed) != hashed:
            raise invalid("labels", "be those of the recording", f"others than member {number}'s", "Record the trace again.")
        status = member.info.get("status", "ok")
        if status != "ok":
            raise InputError(f"member {number} is marked '{status}' and must not feed a score. Leave it out of `members`.")
