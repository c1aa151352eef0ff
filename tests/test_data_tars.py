"""WebDataset: members of one key are one example; shards, splits, odd members; nothing is unpacked."""

import io
import json
import tarfile

import numpy as np
import pytest
from PIL import Image

from dataprune.data import read, read_splits
from dataprune.errors import InputError


def png(grey):
    file = io.BytesIO()
    Image.new("RGB", (8, 8), (grey,) * 3).save(file, "PNG")
    return file.getvalue()


def tar(path, members, mode="w"):
    """Write members, (name, bytes) each."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode) as file:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            file.addfile(info, io.BytesIO(content))
    return path


def pairs(numbers, ending="cls", say=lambda n: str(n % 2).encode()):
    return [pair for n in numbers for pair in ((f"{n:04}.png", png(n)), (f"{n:04}.{ending}", say(n)))]


@pytest.mark.parametrize(
    ("ending", "say", "classes"),
    [
        ("cls", lambda n: str(n % 2).encode(), ("0", "1")),
        ("cls", lambda n: b"cat\n" if n % 2 else b"dog", ("cat", "dog")),
        ("txt", lambda n: b"cat" if n % 2 else b"dog", ("cat", "dog")),
        ("json", lambda n: json.dumps({"label": n % 2, "width": 8}).encode(), ("0", "1")),
        ("json", lambda n: json.dumps({"cls": 5 + n % 2, "classname": "ab"[n % 2]}).encode(), ("a", "b")),
    ],
)
def test_labels_by_members(tmp_path, ending, say, classes):
    found = read(tar(tmp_path / "set.tar", pairs(range(6), ending, say)))
    assert found.ids.tolist() == [f"{n:04}.png" for n in range(6)]
    assert found.images[:, 0, 0, 0].tolist() == list(range(6))
    assert found.classes == classes
    assert len({(label, n % 2) for n, label in enumerate(found.labels.tolist())}) == 2


def test_shards_and_splits(tmp_path):
    tar(tmp_path / "train-0001.tar", pairs(range(3, 6)))
    tar(tmp_path / "train-0000.tar", pairs(range(3)))
    tar(tmp_path / "test-0000.tar", pairs(range(2)))
    splits = read_splits(tmp_path)
    assert splits.train.ids.tolist() == [f"{n:04}.png" for n in range(6)]
    assert splits.test.ids.tolist() == ["0000.png", "0001.png"]
    tar(tmp_path / "train-0001.tar", pairs(range(3)))
    assert read(tmp_path).ids.tolist()[3:] == [f"train-0001.tar/{n:04}.png" for n in range(3)]


def test_a_tar_that_changed_is_read_again(tmp_path):
    assert read(tar(tmp_path / "a.tar", pairs(range(4)))).images[0].max() == 0
    assert read(tar(tmp_path / "a.tar", pairs(range(7, 11)))).images[0].max() == 7


def test_members_are_never_written_whatever_they_are_called(tmp_path):
    members = [
        ("/etc/x.png", png(1)),
        ("../../y.png", png(2)),
        ("./d/z.png", png(3)),
        ("d/.hidden.png", png(4)),
        ("a\\b.png", png(5)),
    ]
    members += [(name.replace("png", "cls"), b"1") for name, _ in members]
    found = read(tar(tmp_path / "in" / "odd.tar", members))
    assert found.ids.tolist() == ["etc/x.png", "../../y.png", "d/z.png", "a/b.png"]
    assert sorted(tmp_path.rglob("*")) == [tmp_path / "in", tmp_path / "in" / "odd.tar"]


def test_members_that_cannot_be_used_are_named(tmp_path):
    path = tar(tmp_path / "a.tar", [*pairs(range(4)), ("0001.png", png(9)), ("0002.jpg", png(9)), ("0007.png", png(7))])
    with tarfile.open(path, "a") as file:
        link = tarfile.TarInfo("0008.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        file.addfile(link)
    with pytest.raises(InputError, match="4 items cannot be used"):
        read(path)
    found = read(path, on_error="skip")
    assert found.ids.tolist() == ["0000.png", "0003.png"]
    reasons = {item.path.rpartition(": ")[2]: item.reason for item in found.skipped}
    assert {key: reason.split()[-1] for key, reason in reasons.items()} == {
        "0001": "twice",
        "0002": "0002.jpg",
        "0007": "label",
        "0008": "file",
    }


@pytest.mark.parametrize("damage", ["header", "two archives", "cut", "compressed", "no tar", "nothing"])
def test_damage_is_one_line(tmp_path, damage):
    path = tar(tmp_path / "a.tar", pairs(range(6)), "w:gz" if damage == "compressed" else "w")
    content = path.read_bytes()
    at = content.find(b"0003.png")
    changed = {
        "header": content[:at] + b"X" + content[at + 1 :],
        "two archives": content + content,
        "cut": content[: at + 520],
        "no tar": b"nothing of the kind" * 100,
        "nothing": b"",
    }
    path.write_bytes(changed.get(damage, content))
    with pytest.raises(InputError) as refused:
        read(path)
    assert "\n" not in str(refused.value)


def test_compressed_tars_are_refused_with_a_way(tmp_path):
    for name in ("a.tar.gz", "b.tgz"):
        with pytest.raises(InputError, match=r"uncompressed.*\.tar"):
            read(tar(tmp_path / name, pairs(range(2)), "w:gz"))
    with pytest.raises(InputError, match="uncompressed"):
        read(tmp_path)


def test_class_folders_in_a_tar(tmp_path):
    members = [(f"set/{label}/{n}.png", png(n)) for label in ("ant", "bee") for n in range(2)]
    found = read(tar(tmp_path / "a.tar", members))
    assert [found.classes[label] for label in found.labels] == ["ant", "ant", "bee", "bee"]


def test_captions_are_no_labels(tmp_path):
    found = read(tar(tmp_path / "a.tar", pairs(range(4), "txt", lambda n: f"a picture of {n} things".encode())))
    assert found.labels is None
    assert any("label_column" in note for note in found.notes)


def test_multi_label_is_refused(tmp_path):
    with pytest.raises(InputError, match="Multi-label"):
        read(tar(tmp_path / "a.tar", pairs(range(4), "json", lambda n: b'{"labels": [1, 2]}')))


def test_other_formats(tmp_path):
    pillow_heif = pytest.importorskip("pillow_heif")
    pillow_heif.register_heif_opener()
    pixels = np.full((16, 16, 3), 120, np.uint8)
    for label in "ab":
        (tmp_path / label).mkdir()
        for ending in ("avif", "heic"):
            Image.fromarray(pixels).save(tmp_path / label / f"1.{ending}", quality=95)
    assert np.abs(read(tmp_path).images.astype(int) - 120).max() <= 3


def test_heic_without_its_library_says_how_to_get_it(tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    for label in "ab":
        (tmp_path / label).mkdir()
        (tmp_path / label / "1.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    with pytest.raises(InputError, match=r"dataprune\[heic\]"):
        read(tmp_path)
