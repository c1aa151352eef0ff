"""Sharing a data set with worker processes."""

import pickle

import numpy as np

from dataprune.data import from_arrays, read
from dataprune.data.handle import open_shared, share
from dataprune.workers import ExecutorConfig, Job, run_jobs


def test_arrays_in_memory_are_written_once(tmp_path):
    data = from_arrays(np.arange(24, dtype=np.uint8).reshape(2, 3, 4), [0, 1])
    shared = share(data, tmp_path)
    inputs, labels, _ = open_shared(pickle.loads(pickle.dumps(shared)))
    assert np.array_equal(inputs, data.images)
    assert labels.tolist() == [0, 1]
    assert isinstance(inputs, np.memmap)
    assert not inputs.flags.writeable
    assert {path.name for path in tmp_path.iterdir()} == {"inputs.npy", "labels.npy"}


def test_without_labels(tmp_path):
    assert open_shared(share(from_arrays(np.zeros((2, 3), np.float32)), tmp_path))[1] is None


def test_mapped_files_are_shared_by_path(tmp_path):
    features = np.random.default_rng(0).normal(size=(6, 2)).astype(np.float32)
    np.save(tmp_path / "f.npy", features)
    data = read(tmp_path / "f.npy")
    shared = share(data, tmp_path / "scratch")
    assert shared.inputs == tmp_path / "f.npy"
    assert np.array_equal(open_shared(shared)[0], features)
    assert share(data.take(np.arange(6)), tmp_path / "scratch").inputs == tmp_path / "f.npy"


def test_part_of_a_map_is_written(tmp_path):
    features = np.arange(12, dtype=np.float32).reshape(6, 2)
    np.save(tmp_path / "f.npy", features)
    data = read(tmp_path / "f.npy")
    for rows in (np.array([1, 2]), np.array([5, 0]), np.arange(5, -1, -1)):
        inputs, *_ = open_shared(share(data.take(rows), tmp_path / "scratch"))
        assert np.array_equal(inputs, features[rows])


def test_another_process_sees_the_same(tmp_path):
    data = from_arrays(np.ones((2, 3, 4), np.uint8), [0, 1])

    def total(shared, report):
        return int(open_shared(shared)[0].sum())

    (outcome,) = run_jobs([Job("one", total, share(data, tmp_path))], ExecutorConfig(workers=1))
    assert outcome.error is None
    assert outcome.value == 24
