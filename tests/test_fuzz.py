"""Anything at all is given to the readers, the spec and the store: they answer, or refuse in one line; nothing else comes out.

Files that were right and then had bytes changed, cut out or put in go further into a reader than noise does.
"""

import json
import pickle
import string
from dataclasses import fields

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dataprune import store, tables
from dataprune.data import read, read_features
from dataprune.data.labels import read_labels
from dataprune.errors import DatapruneError
from dataprune.study.presets import PRESETS, preset
from dataprune.study.spec import StudySpec, from_toml, to_toml
from dataprune.study.trial import TrialResult, read_trial, write_trial
from study_toys import toy_trial
from toys import toy_member

QUICK = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
LONG = settings(QUICK, max_examples=3000)

CHANGES = st.lists(
    st.tuples(st.sampled_from(["change", "cut", "insert", "end"]), st.floats(0, 1), st.binary(min_size=1, max_size=9)),
    min_size=1,
    max_size=4,
)


def changed(content, changes):
    """Change, cut out or put in some bytes, or end the file early."""
    for what, where, with_what in changes:
        at = int(where * len(content))
        end = at + (0 if what == "insert" else len(content) if what == "end" else len(with_what))
        content = content[:at] + (b"" if what in ("cut", "end") else with_what) + content[end:]
    return content


def write_npy(path):
    np.save(path, np.arange(40, dtype=np.float32).reshape(10, 4))


def write_npz(path):
    np.savez_compressed(path, x=np.arange(1920, dtype=np.uint8).reshape(10, 8, 8, 3), y=np.arange(10) % 2)


def write_vectors(path):
    column = pa.array(np.arange(40.0).reshape(10, 4).tolist())
    pq.write_table(pa.table({"id": [f"i{row}" for row in range(10)], "vector": column}), path)


def write_csv(path):
    path.write_text("id,label,score\n" + "".join(f'"a,{row}",{row % 2},{row / 3}\n' for row in range(10)), encoding="utf-8")


def write_cifar(path):
    path.write_bytes(pickle.dumps({b"data": np.zeros((2, 3072), np.uint8), b"labels": [0, 1]}, 2))


def read_cifar(path):
    folder = path.with_name("cifar")
    folder.mkdir(exist_ok=True)
    for name in ("data_batch_1", "test_batch"):
        (folder / name).write_bytes(path.read_bytes())
    (folder / "batches.meta").write_bytes(pickle.dumps({b"label_names": [f"c{n}".encode() for n in range(10)]}, 2))
    return read(folder)


def write_member(path):
    from dataprune.trace import save_member

    save_member(path, toy_member())


def read_member(path):
    from dataprune.trace import open_member

    return open_member(path)


# A writer of something right, and who reads it.
FILES = {
    "x.npy": (write_npy, (tables.read_npy, read_features)),
    "x.npz": (write_npz, (tables.read_npz, read)),
    "x.parquet": (write_vectors, (lambda path: [block.sum() for block in read_features(path)],)),
    "x.csv": (write_csv, (tables.read_table, lambda path: read_labels(f"{path}:label"))),
    "cifar.bin": (write_cifar, (read_cifar,)),
    "m.safetensors": (write_member, (read_member, store.open_arrays)),
}


def is_one_line(error):
    assert "\n" not in str(error), error


def answers(reader, path):
    """Return whether a reader gave something; an error of ours is an answer too, if it is one line."""
    try:
        reader(path)
    except DatapruneError as error:
        is_one_line(error)
        return False
    return True


def survive(name, folder, change):
    writer, readers = FILES[name]
    path = folder / name
    writer(path)
    assert all(answers(reader, path) for reader in readers), "unchanged, it is right"
    path.write_bytes(changed(path.read_bytes(), change))
    for reader in readers:
        answers(reader, path)


@pytest.mark.parametrize("name", FILES)
@QUICK
@given(change=CHANGES)
def test_readers_of_changed_files(tmp_path, name, change):
    survive(name, tmp_path, change)


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
@LONG
@given(change=CHANGES)
def test_readers_of_many_changed_files(tmp_path, name, change):
    survive(name, tmp_path, change)


@pytest.mark.parametrize("name", FILES)
@QUICK
@given(content=st.binary(max_size=300))
def test_readers_of_noise(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    for reader in FILES[name][1]:
        answers(reader, tmp_path / name)


class TestSpec:
    VALUES = st.one_of(
        st.integers(-3, 10**20),
        st.floats(),
        st.booleans(),
        st.text(string.printable, max_size=6),
        st.lists(st.one_of(st.floats(), st.integers(-2, 5), st.text(max_size=4)), max_size=3),
        st.sampled_from(["el2n", "random", "hardest", "window", "epochs", "steps", "test", [0.5], [1.0, 0.3], ["el2n", "km"]]),
    )

    @QUICK
    @given(text=st.text(max_size=200))
    def test_text(self, text):
        self.read(text)

    @settings(QUICK, max_examples=200)
    @given(name=st.sampled_from(sorted(PRESETS)), key=st.sampled_from([one.name for one in fields(StudySpec)]), value=VALUES)
    def test_one_value_of_a_preset_is_another(self, name, key, value):
        text = to_toml(preset(name))
        lines = [line for line in text.splitlines() if not line.startswith(f"{key} =")]
        self.read("\n".join([f"{key} = {self.toml(value)}", *lines]))

    @pytest.mark.parametrize("name", sorted(PRESETS))
    def test_presets_come_back(self, name):
        assert from_toml(to_toml(preset(name))) == preset(name)

    def read(self, text):
        """Read a spec; what is taken must come back from its own text."""
        try:
            spec = from_toml(text)
        except DatapruneError as error:
            is_one_line(error)
            return
        assert from_toml(to_toml(spec)) == spec

    def toml(self, value):
        if isinstance(value, bool):
            return str(value).lower()
        if isinstance(value, list):
            return f"[{', '.join(self.toml(one) for one in value)}]"
        return json.dumps(value) if isinstance(value, str) else str(value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
BODIES = st.dictionaries(st.text(string.ascii_letters, min_size=1, max_size=6), JSON, max_size=4)


class TestStore:
    @QUICK
    @given(body=BODIES.filter(lambda body: "seal" not in body))
    def test_sealed_files_come_back(self, tmp_path, body):
        store.write_sealed(tmp_path / "a.json", body)
        assert store.read_sealed(tmp_path / "a.json") == body

    @QUICK
    @given(body=BODIES.filter(lambda body: "seal" not in body), change=CHANGES)
    def test_a_changed_sealed_file_says_the_same_or_nothing(self, tmp_path, body, change):
        store.write_sealed(tmp_path / "a.json", body)
        content = (tmp_path / "a.json").read_bytes()
        (tmp_path / "a.json").write_bytes(changed(content, change))
        self.same_or_nothing(lambda: store.read_sealed(tmp_path / "a.json"), body)

    @QUICK
    @given(body=BODIES.filter(lambda body: not {"format", "files", "sha256"} & set(body)), change=CHANGES)
    def test_a_changed_manifest_is_not_believed(self, tmp_path, body, change):
        (tmp_path / "file").write_bytes(b"content")
        store.write_manifest(tmp_path, "m.json", body, ["file"])
        content = (tmp_path / "m.json").read_bytes()
        (tmp_path / "m.json").write_bytes(changed(content, change))
        try:
            store.read_manifest(tmp_path, "m.json", dict)
        except DatapruneError as error:
            is_one_line(error)
        else:
            assert changed(content, change) == content

    @QUICK
    @given(change=CHANGES)
    def test_a_changed_trial_says_the_same_or_nothing(self, tmp_path, change):
        spec = toy_trial()
        write_trial(tmp_path, spec, TrialResult(spec.name, "ok", loss=(0.5,), validation=(0.25,), n_test=2, test_correct=b"\x80"))
        file = tmp_path / "trials" / f"{spec.name}.json"
        whole = read_trial(tmp_path, spec.name)
        file.write_bytes(changed(file.read_bytes(), change))
        try:
            found = read_trial(tmp_path, spec.name)
        except DatapruneError:
            return
        assert (found.status, found.loss, found.validation) == (whole.status, whole.loss, whole.validation)
        assert np.array_equal(found.test_correct, whole.test_correct)

    def same_or_nothing(self, reading, body):
        try:
            found = reading()
        except DatapruneError as error:
            is_one_line(error)
        else:
            assert found == body


def test_changes_change():
    assert changed(b"abcdef", [("cut", 0.5, b"xy")]) == b"abcf"
    assert changed(b"abcdef", [("insert", 0.5, b"xy")]) == b"abcxydef"
    assert changed(b"abcdef", [("change", 0.5, b"xy")]) == b"abcxyf"
    assert changed(b"abcdef", [("end", 0.5, b"x")]) == b"abc"
