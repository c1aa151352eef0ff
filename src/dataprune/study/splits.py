"""The examples that a study is trained, validated and judged on."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from jaxtyping import Int64

from dataprune.data import Dataset, Splits
from dataprune.errors import InputError, invalid, join_some
from dataprune.noise import inject_noise
from dataprune.noise.duplicates import identical
from dataprune.selection import select
from dataprune.selection.ids import Ids, ids_sha256
from dataprune.streams import torch_seed
from dataprune.study.trainer import Trainer

OWN_TEST = (
    "the trainer was not told which examples are test ({test}): it judges on data of its own, which nobody compared with train"
)


@dataclass(frozen=True, eq=False)
class StudyData:
    """The data of one arm of a study.

    Attributes:
        pool: rows of train that may be kept: all but those of validation.
        validation: the source's own, or None where it is cut from train.
        test: None where a trainer judges on data of its own.
        cut_test: the share of test that was cut from train before scoring; 0 where the source has its own.
        uncut: the fingerprint of the data before test was cut from it; of a run that saw these, test is not unseen.
    """

    train: Dataset
    pool: Int64[np.ndarray, " pool"]
    validation: Dataset | None
    test: Dataset | None
    cut_test: float
    uncut: str | None
    notes: tuple[str, ...]

    @cached_property
    def pool_ids(self) -> Ids:
        """The ids of the pool, from which every kept set is chosen."""
        return Ids(self.train.ids[self.pool])

    @cached_property
    def validation_rows(self) -> Int64[np.ndarray, " validation"]:
        """Rows of train that are validation; none where the source has a split of its own."""
        return np.setdiff1d(np.arange(len(self.train)), self.pool)

    @cached_property
    def validation_key(self) -> str:
        """What stands for the validation set."""
        if self.validation is not None:
            return self.validation.fingerprint
        if not len(self.validation_rows):
            return "none"
        return f"train rows {ids_sha256(self.train.ids[self.validation_rows].tolist())}"


def cut(splits: Splits, *, validation_share: float, test_share: float, seed: int, trainer: Trainer | None = None) -> StudyData:
    """Return the splits of a study: the source's own where it has them, else cut from train, test first.

    For a trainer that asks for no test data, or none for validation, none are cut.
    """
    asked = {"test", "validation"} if trainer is None else trainer.places
    for name, one in splits.parts.items():
        if one.labels is None:
            raise InputError(f"the {name} data have no labels, and a study needs them. Give --labels FILE.")
    train, test, uncut, notes = splits.train, splits.test, None, []
    if test is None and "test" in asked:
        rows = _stratified(train, np.arange(len(train)), test_share, seed, "test")
        uncut = train.fingerprint
        test = train.take(rows)
        train = train.take(np.delete(np.arange(len(train)), rows))
        notes.append(f"the data have no test split: {len(rows):,} of {len(rows) + len(train):,} examples were cut from them")
    pool = np.arange(len(train))
    if splits.validation is None and "validation" in asked:
        rows = _stratified(train, pool, validation_share, seed, "validation")
        pool = np.delete(pool, rows)
    assert train.labels is not None
    trained = set(train.labels[pool].tolist())
    if len(trained) < 2:
        raise InputError("the data must hold at least two classes to be studied, got one.")
    notes += _notes_on_test(train, test, trained) if test is not None and "test" in asked else [OWN_TEST]
    return StudyData(train, pool, splits.validation, test, test_share if uncut else 0.0, uncut, tuple(notes))


def _notes_on_test(train: Dataset, test: Dataset, trained: set[int]) -> list[str]:
    notes, n_train = [], len(train)
    is_double = identical([train.content, test.content])[n_train:] < n_train
    if doubles := [repr(name) for name in test.ids[is_double].tolist()]:
        how = f"{'is' if len(doubles) == 1 else 'are'} in train too, byte by byte ({join_some(doubles, most=3)})"
        notes.append(f"{len(doubles):,} of the {len(test):,} test examples {how}: accuracies may be too high by up to that share")
    assert test.labels is not None
    if missing := sorted(set(test.labels.tolist()) - trained):
        notes.append(f"test has examples of class {join_some(repr(test.classes[index]) for index in missing)}, train has none")
    return notes


def with_noise(data: StudyData, rate: float, seed: int) -> StudyData:
    """Return the same data with a share of each class's labels wrong: in train and validation alike, not in test."""

    def noisy(dataset: Dataset, name: str) -> Dataset:
        assert dataset.labels is not None
        named_seed = torch_seed(seed, "study", name)
        labels = inject_noise(dataset.labels, rate, "per-class", n_classes=dataset.n_classes, ids=dataset.ids, seed=named_seed)
        return replace(dataset.with_labels(labels), origin=None)  # read again, it would have other labels

    own = None if data.validation is None else noisy(data.validation, "validation")
    return replace(data, train=noisy(data.train, "train"), validation=own, uncut=None)


def _stratified(
    dataset: Dataset, rows: Int64[np.ndarray, " rows"], share: float, seed: int, name: str
) -> Int64[np.ndarray, " cut"]:
    """Choose a share of each class; classes with one example are not cut, nor is the last example of any other."""
    assert dataset.labels is not None
    counts = np.bincount(dataset.labels[rows], minlength=dataset.n_classes)
    able = rows[counts[dataset.labels[rows]] >= 2]
    if not len(able) or len(rows) < 8:
        cure = f"Give --{name} DATA, or more examples." if name == "test" else "Give more examples."
        raise invalid(f"{name}_share", f"leave both {name} and train with examples", f"{share:g} of {len(rows)}", cure)
    labels, ids = dataset.labels[able], dataset.ids[able]
    chosen = select(None, share, strategy="random", balanced=True, labels=labels, ids=ids, seed=torch_seed(seed, name)).rows
    return np.sort(able[chosen])
