"""Data sets of torch and Hugging Face."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset as TorchDataset
from torch.utils.data import IterableDataset, Subset, TensorDataset

from dataprune.data import from_huggingface, from_torch, read, read_splits
from dataprune.errors import InputError, MachineError

PIXELS = np.random.default_rng(0).integers(0, 256, (5, 6, 7, 3), dtype=np.uint8)


class Items(TorchDataset):
    """Gives what it was given."""

    def __init__(self, items):
        self.items = items

    def __len__(self):
        return len(self.items)

    def __getitem__(self, row):
        item = self.items[row]
        return item(row) if callable(item) else item


FORMS = {
    "pillow": Image.fromarray,
    "array": lambda pixels: pixels,
    "array channels first": lambda pixels: pixels.transpose(2, 0, 1),
    "tensor": lambda pixels: torch.from_numpy(pixels).permute(2, 0, 1),
    "tensor channels last": torch.from_numpy,
    "float tensor": lambda pixels: torch.from_numpy(pixels).permute(2, 0, 1).float() / 255,
    "float array": lambda pixels: pixels / 255,
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_pictures(form):
    found = from_torch(Items([(FORMS[form](pixels), row % 2) for row, pixels in enumerate(PIXELS)]))
    assert np.array_equal(found.images, PIXELS)
    assert found.labels.tolist() == [0, 1, 0, 1, 0]
    assert found.ids.tolist() == ["0", "1", "2", "3", "4"]
    assert found.classes == ("0", "1")


def test_names_ids_and_kinds_of_labels():
    items = Items([(PIXELS[row], torch.tensor(row % 2)) for row in range(4)])
    items.classes = ["cat", "dog", "eel"]
    found = read(items)
    assert found.classes == ("cat", "dog", "eel")
    assert found.labels.tolist() == [0, 1, 0, 1]
    assert from_torch(items, ids=list("wxyz"), classes=["a", "b"]).ids.tolist() == list("wxyz")
    assert read_splits(items).train.fingerprint == found.fingerprint
    assert from_torch(Items([(PIXELS[0], "b"), (PIXELS[1], np.str_("a"))])).labels.tolist() == [1, 0]
    assert from_torch(Items([(PIXELS[0], None), (PIXELS[1], None)])).labels is None


def test_gray_and_features():
    gray = torch.arange(2 * 4 * 4, dtype=torch.uint8).reshape(2, 4, 4)
    assert from_torch(TensorDataset(gray, torch.tensor([0, 1]))).images.shape == (2, 4, 4, 1)
    vectors = torch.randn(3, 7)
    found = from_torch(Subset(TensorDataset(vectors, torch.tensor([0, 1, 0])), [2, 0]))
    assert np.array_equal(found.features, vectors[[2, 0]].numpy())


def test_augmentation_is_refused():
    rng = np.random.default_rng(0)

    def flipped(row):
        return (PIXELS[row][:, ::-1] if rng.random() < 0.5 else PIXELS[row]), 0

    for _ in range(20):
        with pytest.raises(InputError, match=r"item .* differs.*without augmentation"):
            from_torch(Items([flipped] * 5))
    with pytest.raises(InputError, match="item 0 of the data set differs"):
        from_torch(Items([lambda row: (rng.integers(0, 256, (4, 4, 3), dtype=np.uint8), 0)] * 2))


class Stream(IterableDataset):
    def __iter__(self):
        yield PIXELS[0], 0


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ([], "no example"),
        ([PIXELS[0]], r"`item 0` must be \(picture, label\), got ndarray"),
        ([(PIXELS[0], 0), (PIXELS[0][:3], 0)], r"`picture 1` must be like the first, .*\(6, 7, 3\), got .*\(3, 7, 3\)"),
        ([(PIXELS[0], 0), (torch.from_numpy(PIXELS[0]), 0)], "like the first"),
        ([(PIXELS[0] / 255 * 0 - 0.5, 0)], r"got float64 from -0\.5 to -0\.5\. .*np\.interp"),
        ([(np.full((2, 2, 3), np.nan), 0)], "finite"),
        ([(PIXELS, 0)], "three dimensions"),
        ([(PIXELS[0], 0), (PIXELS[1], None)], "none in row 1"),
        ([(PIXELS[0], 0), (PIXELS[1], -2)], "got -2 in row 1"),
        ([(Image.fromarray(np.ones((2, 2), np.float32)), 0)], "picture 0: 32-bit pixels"),
    ],
)
def test_items_that_do_not_fit(items, message):
    with pytest.raises(InputError, match=message):
        from_torch(Items(items))


def test_streams_are_refused():
    with pytest.raises(InputError, match="map-style data set"):
        from_torch(Stream())


@pytest.mark.parametrize("thing", [3, None, {"x": 1}, [1, 2], (1, 2, 3), (PIXELS, 3), b"digits", {1, 2}, object()])
def test_other_objects_are_refused_with_what_is_accepted(thing):
    with pytest.raises(InputError, match=rf"`DATA` .*a folder.*got {type(thing).__name__}.*\(x, y\)"):
        read(thing)


def test_a_table_of_pandas_is_refused_but_its_columns_are_arrays():
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame({"a": [1.0, 2.0], "b": [3.0, 4.0], "y": ["u", "v"]})
    with pytest.raises(InputError, match=r"got DataFrame.*\(x, y\)"):
        read(table)
    assert read((table[["a", "b"]], table["y"])).classes == ("u", "v")


def test_arrays_as_objects():
    assert read((PIXELS, [0, 1, 0, 1, 1])).labels.tolist() == [0, 1, 0, 1, 1]
    assert read(PIXELS).labels is None
    data = read(PIXELS)
    assert read(data) is data
    with pytest.raises(InputError, match=r"`split`.*'test'"):
        read(PIXELS, split="test")


def test_a_name_without_the_library():
    try:
        import datasets  # noqa: F401
    except ImportError:
        with pytest.raises(MachineError, match=r"hf:some/thing .*dataprune\[huggingface\]"):
            read("hf:some/thing")
    else:
        pytest.skip("the library is here")


def test_huggingface(tmp_path):
    datasets = pytest.importorskip("datasets")
    paths = []
    for row, pixels in enumerate(PIXELS):
        Image.fromarray(pixels).save(tmp_path / f"{row}.png")
        paths.append(str(tmp_path / f"{row}.png"))
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["x", "y"])})
    made = datasets.Dataset.from_dict({"image": paths, "label": [0, 1, 1, 0, 1]}, features=features)
    found = from_huggingface(made)
    assert found.classes == ("x", "y")
    assert found.labels.tolist() == [0, 1, 1, 0, 1]
    assert found.images.shape == (5, 8, 8, 3)
    both = read_splits(datasets.DatasetDict({"train": made, "test": made.select([0, 1])}))
    assert len(both.test) == 2
    assert both.train.fingerprint == found.fingerprint
    with pytest.raises(InputError, match="`image` must be one of the columns"):
        from_huggingface(made, image="picture")
    assert from_huggingface(made, ids=list("edcba")).ids.tolist() == list("edcba")
    for wrong in (["a"], list("aabcd")):
        with pytest.raises(InputError, match="`ids` must"):
            from_huggingface(made, ids=wrong)


def test_a_name_is_loaded_by_the_library(tmp_path, monkeypatch):
    """The library takes a local folder for a name too, so its real loading code runs without a network."""
    datasets = pytest.importorskip("datasets")
    hub = pytest.importorskip("huggingface_hub")  # both read their variables when they are imported, which was before
    monkeypatch.setattr(hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "home" / "datasets"))
    squares = np.random.default_rng(1).integers(0, 256, (5, 8, 8, 3), dtype=np.uint8)
    for split, rows in (("train", squares), ("test", squares[:2])):
        for row, pixels in enumerate(rows):
            folder = tmp_path / "set" / split / "xy"[row % 2]
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(folder / f"{row}.png")
    splits = read_splits(f"hf:{tmp_path / 'set'}")
    assert splits.train.classes == ("x", "y")
    assert np.bincount(splits.train.labels).tolist() == [3, 2]
    assert len(splits.test) == 2
    assert np.array_equal(splits.train.images, squares[[0, 2, 4, 1, 3]]), "by class, then by name"
    with pytest.raises((InputError, MachineError), match="cannot load hf:no/such-set"):
        read("hf:no/such-set")


def test_huggingface_checks_what_it_is_given():
    with pytest.raises(InputError, match=r"must be a datasets\.Dataset, got ndarray"):
        from_huggingface(PIXELS)
