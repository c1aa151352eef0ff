"""What is fuzzed: for each kind of file that comes from outside, who reads it, and some that are right to begin with.

A target takes any bytes. It returns, or raises the library's own error of one line, which `survives` takes for an answer; whatever
else comes out is a defect. Files with a checksum are given a right one first: a stranger's folder has that too.
"""

import hashlib
import io
import json
import pickle
import struct
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from dataprune import store, tables
from dataprune.data import decode, read, read_features
from dataprune.data.labels import read_labels
from dataprune.errors import DatapruneError
from dataprune.store.files import json_text

PIXELS = 2**22  # a picture of the real limit, 100 million, takes seconds
NAMES = [f"c{number}" for number in range(10)]


@dataclass(frozen=True)
class Target:
    """Who reads a kind of file, and right ones; `folder` is empty and the target's own, the same at each call."""

    seeds: Callable[[Path], Iterator[bytes]]
    read: Callable[[bytes, Path], object]


def survives(name: str, content: bytes, folder: Path) -> bool:
    """Return the bytes to a target: True where they were read, False where they were refused in one line; else it raises."""
    try:
        TARGETS[name].read(content, folder)
    except (DatapruneError, decode.BadPicture) as error:
        assert "\n" not in str(error), f"more than one line: {error}"
        return False
    return True


def any_of(*calls: Callable[[], object]) -> None:
    """Call all; where all refuse, that is the answer."""
    errors = []
    for call in calls:
        try:
            call()
        except DatapruneError as error:
            assert "\n" not in str(error), f"more than one line: {error}"
            errors.append(error)
    if len(errors) == len(calls):
        raise errors[-1]


def file_of(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def pictures(folder: Path) -> Iterator[bytes]:
    draw = np.random.default_rng(0)
    picture = Image.fromarray(draw.integers(0, 256, (9, 7, 3), dtype=np.uint8))
    kinds = {
        "RGB": ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM"),
        "CMYK": ("JPEG", "TIFF"),
        "P": ("PNG", "GIF"),
        "LA": ("PNG",),
    }
    for mode, formats in (kinds | {"I;16": ("PNG", "TIFF"), "1": ("PNG", "TIFF"), "F": ("TIFF",), "RGBA": ("WEBP", "PNG")}).items():
        for kind in formats:
            into = io.BytesIO()
            made = Image.fromarray(draw.integers(0, 2**16, (9, 7), dtype=np.uint16)) if mode == "I;16" else picture.convert(mode)
            made.save(into, kind)
            yield into.getvalue()
    turned, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = 6
    picture.save(turned, "JPEG", exif=exif)
    yield turned.getvalue()


def read_picture(content: bytes, folder: Path) -> None:
    before, decode.MAX_PIXELS = decode.MAX_PIXELS, PIXELS
    try:
        for fit in decode.FITS:
            assert decode.decode(content, 8, fit).pixels.shape == (8, 8, 3)
        decode.picture_size(content)
        decode.extremes(content)
    finally:
        decode.MAX_PIXELS = before


def batches(folder: Path) -> Iterator[bytes]:
    rows = np.arange(2 * 3072, dtype=np.int64).astype(np.uint8).reshape(2, 3072)
    for protocol in (0, 2, 4, 5):
        yield pickle.dumps({b"data": rows, b"labels": [0, 9], b"filenames": [b"a", b"b"]}, protocol)
        yield pickle.dumps({"data": rows[:0], "labels": np.array([], ">i8")}, protocol)
    dtype = b"cnumpy\ndtype\n(S'u1'\nI0\nI1\ntR(I3\nS'|'\nNNNI-1\nI-1\nI0\ntb"
    array = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR(I1\n(I0\nI3072\nt" + dtype + b"I00\nS''\ntb"
    yield b"(dS'data'\n" + array + b"sS'labels'\n(lI4\nas."  # as Python 2 wrote it


def cifar(folder: Path, **files: bytes) -> None:
    meta = pickle.dumps({b"label_names": [name.encode() for name in NAMES]}, 2)
    batch = pickle.dumps({b"data": np.zeros((1, 3072), np.uint8), b"labels": [1]}, 2)
    for name, content in ({"batches.meta": meta, "data_batch_1": batch} | files).items():
        file_of(folder, name, content)
    read(folder)


def names(folder: Path) -> Iterator[bytes]:
    for protocol in (0, 2, 4):
        yield pickle.dumps({b"label_names": [name.encode() for name in NAMES], b"num_vis": 3072}, protocol)
        yield pickle.dumps({"label_names": NAMES}, protocol)


def csvs(folder: Path) -> Iterator[bytes]:
    yield b"id,label\n" + b"".join(b'"i%d",%d\n' % (row, row % 3) for row in range(4))
    yield b"label\r\n0\r\n1.5\r\nnan\r\n"
    yield b"id;label\na;1\n"
    yield b'\xef\xbb\xbfid,given_label,decision,new_label\ni0,a,drop,\ni1,b,relabel,c\n"i2",c,keep,\n'
    yield b"id,label,decision\ni3,1,relabel\n'i\n0',a,keep\n"
    yield b"id,decision\ni3,keep\n"


def parquets(folder: Path) -> Iterator[bytes]:
    small = {
        "numbers": pa.table({"id": ["i0", "i1", "i2", "i3"], "label": [0, 1, 1, 0]}),
        "words": pa.table({"label": ["a", "b", None, "é"]}),
        "vectors": pa.table({"id": ["a", "b"], "vector": [[1.0, 2.0], [3.0, 4.0]]}),
        "pictures": pa.table({"image": [{"bytes": b"\x89PNG", "path": "a.png"}], "label": [0]}),
    }
    for name, table in small.items():
        for compression in ("none", "snappy", "zstd"):
            path = folder / f"{name}.parquet"
            pq.write_table(table, path, compression=compression)
            yield path.read_bytes()


def read_any_labels(suffix: str) -> Callable[[bytes, Path], None]:
    def reader(content: bytes, folder: Path) -> None:
        path = file_of(folder, f"x{suffix}", content)
        found = read_labels(str(path))
        any_of(
            lambda: found.align([f"i{row}" for row in range(found.sheet.n_rows)], ()),
            lambda: found.align([f"i{row}" for row in range(4)], ("a", "b", "c")),
        )

    return reader


def annotations(folder: Path) -> Iterator[bytes]:
    """Yield labels.json and samples.json of FiftyOne, and tasks of Label Studio in its long and its short form."""
    choice = {"from_name": "label", "type": "choices", "value": {"choices": ["a"]}}
    sample = {"filepath": "/d/i0.png", "ground_truth": {"_cls": "Classification", "label": "a"}}
    for said in (
        {"classes": ["a", "b"], "labels": {"i0": 0, "i1": [1], "i2": None, "i3": {"label": "b"}}},
        {"samples": [sample, {"filepath": "i1.png", "ground_truth": None}]},
        [{"data": {"image": "/data/upload/1/0a1b2c3d-i0.png"}, "annotations": [{"result": [choice], "was_cancelled": False}]}],
        [{"image": "/data/local-files/?d=i0.png", "choice": "a"}, {"image": "http://x/i1.png", "choice": "b"}],
    ):
        yield json.dumps(said).encode()


def read_any_table(content: bytes, folder: Path) -> None:
    path = file_of(folder, "x.parquet", content)
    tables.read_table(path)


def read_vectors(content: bytes, folder: Path) -> None:
    for block in read_features(file_of(folder, "v.parquet", content)):
        block.sum()


def read_decided(content: bytes, folder: Path) -> None:
    from dataprune.run.decisions import read_decisions

    ids = [f"i{row}" for row in range(4)]
    read_decisions(file_of(folder, "x.csv", content), ids, np.array([0, 1, 2, 0]), ("a", "b", "c"))


def npys(folder: Path) -> Iterator[bytes]:
    plain = [np.arange(6.0).reshape(2, 3), np.zeros((0, 3), "u1"), np.array(["a", "bc"]), np.asfortranarray(np.eye(3))]
    odd = [np.array([1 + 2j]), np.arange(3, dtype=">i4"), np.ones(3, np.float16), np.array(5)]
    for array in plain + odd:
        into = io.BytesIO()
        np.save(into, array)
        yield into.getvalue()


def npzs(folder: Path) -> Iterator[bytes]:
    for write in (np.savez, np.savez_compressed):
        into = io.BytesIO()
        write(into, x=np.zeros((4, 2, 2, 3), np.uint8), y=np.arange(4))
        yield into.getvalue()
    pictures, columns = np.arange(4 * 36).reshape(4, 6, 6), {"train_labels": np.array([[0], [1]] * 2), "test_labels": np.eye(4)}
    for arrays in (
        {"train_images": pictures.astype("u2") * 99, "test_images": pictures.astype("u2"), **columns},
        {"x_train": (pictures / 143).astype("f4"), "y_train": np.array(["a", "b"] * 2), "ids": np.arange(4)},
        {"arr_1": pictures[:, None].astype("u1"), "arr_0": np.arange(4)},
        {"Xval": np.ones((2, 3)), "data": np.zeros((4, 784), "u1"), "targets": np.arange(4.0)},
    ):
        into = io.BytesIO()
        np.savez(into, **arrays)
        yield into.getvalue()
    into = io.BytesIO()
    with zipfile.ZipFile(into, "w") as archive:
        archive.writestr("../x.npy", next(npys(folder)))
    yield into.getvalue()


def read_any_npy(content: bytes, folder: Path) -> None:
    path = file_of(folder, "x.npy", content)
    tables.read_npy(path)
    for block in read_features(path):
        block.sum()


def read_any_npz(content: bytes, folder: Path) -> None:
    path = file_of(folder, "x.npz", content)
    tables.read_npz(path)
    read(path)


def read_spec(content: bytes, folder: Path) -> None:
    from dataprune.study.spec import from_toml, to_toml

    spec = from_toml(content.decode("utf-8", "surrogateescape"))
    assert from_toml(to_toml(spec)) == spec


def members(folder: Path) -> Iterator[bytes]:
    from dataprune.trace import save_member
    from toys import toy_member

    save_member(folder / "m.safetensors", toy_member())
    yield (folder / "m.safetensors").read_bytes()
    store.save_arrays(folder / "a.safetensors", {"x": np.arange(3), "none": np.zeros((0, 2))}, {"a": 1})
    yield (folder / "a.safetensors").read_bytes()


def read_any_member(content: bytes, folder: Path) -> None:
    """The file begins with the header's length; where that is beyond the file it is put right, or nothing gets further."""
    from dataprune.trace import open_member

    if len(content) > 8 and int.from_bytes(content[:8], "little") > len(content) - 8:
        content = struct.pack("<Q", content.rfind(b"}") - 7 if b"}" in content[8:] else len(content) - 8) + content[8:]
    path = file_of(folder, "m.safetensors", content)

    def look() -> None:
        for array in store.open_arrays(path).arrays.values():
            array.sum()

    any_of(look, lambda: open_member(path))


def manifests(folder: Path) -> Iterator[bytes]:
    yield (finished(folder) / "run.json").read_bytes()


def finished(folder: Path) -> Path:
    """Return a run, made once and kept beside."""
    from fault_kit import quick_run

    place = folder.parent / f"{folder.name}-run"
    if not (place / "run.json").exists():
        quick_run(place)
        (place / "run.json").rename(place / "right.json")
        (place / "run.json").write_bytes((place / "right.json").read_bytes())
    return place


def read_manifest(content: bytes, folder: Path) -> None:
    """A run with another manifest, whose files and checksum are right."""
    from dataprune.run.run import open_run

    place = finished(folder)
    try:
        said = json.loads(content)
    except (ValueError, RecursionError):
        said = None
    if isinstance(said, dict):
        right = json.loads((place / "right.json").read_bytes())
        said |= {"format": right["format"], "files": right["files"]}
        said.pop("sha256", None)
        try:
            text = store.canonical_json(said)
            content = json_text(json.loads(text) | {"sha256": hashlib.sha256(text.encode()).hexdigest()})
        except (ValueError, RecursionError, DatapruneError):
            pass
    (place / "run.json").write_bytes(content)
    run = open_run(place)
    assert len(run.classes) + len(run.failed) >= 0
    assert len(run.ids) == len(run.labels)
    assert run.trace.n_members > 0


def trials(folder: Path) -> Iterator[bytes]:
    from dataprune.study.trial import TrialResult, write_trial
    from study_toys import toy_trial

    spec = toy_trial()
    for result in (
        TrialResult(
            spec.name,
            "ok",
            loss=(0.5,),
            validation=(0.25,),
            n_test=2,
            test_correct=b"\x80",
            made_with={"torch": "2"},
        ),
        TrialResult(spec.name, "failed", error="no", traceback="x"),
    ):
        write_trial(folder, spec, result)
        yield (folder / "trials" / f"{spec.name}.json").read_bytes()


def read_any_trial(content: bytes, folder: Path) -> None:
    """A trial whose name and checksum are right, whatever else it says."""
    from dataprune.study.trial import read_trial

    trial = "0" * 24
    try:
        said = json.loads(content)
        trial = hashlib.sha256(store.canonical_json(said["spec"]).encode()).hexdigest()[:24]
        if isinstance(said["result"], dict) and "trial" in said["result"]:
            said["result"]["trial"] = trial
        said.pop("sha256", None)
        content = json.dumps(said | {"sha256": hashlib.sha256(store.canonical_json(said).encode()).hexdigest()}).encode()
    except (ValueError, RecursionError, KeyError, TypeError, DatapruneError):
        pass
    (folder / "trials").mkdir(exist_ok=True)
    file_of(folder / "trials", f"{trial}.json", content)
    try:
        found = read_trial(folder, trial)
        assert found is not None
        assert found.test_accuracy != 2
        assert found.validation_accuracy != 2
    finally:
        (folder / "trials" / f"{trial}.json").unlink()


def sealed_files(folder: Path) -> Iterator[bytes]:
    store.write_sealed(folder / "a.json", {"a": [1, 2.5, None, "é"], "b": {"c": True}})
    yield (folder / "a.json").read_bytes()
    yield b'{"a": 1}'


def read_any_sealed(content: bytes, folder: Path) -> None:
    store.read_sealed(file_of(folder, "a.json", content))


def specs(folder: Path) -> Iterator[bytes]:
    from dataprune.study.presets import PRESETS, preset
    from dataprune.study.spec import to_toml

    for name in PRESETS:
        yield to_toml(preset(name)).encode()


def picture_tables(mark: str) -> Callable[[Path], Iterator[bytes]]:
    def seeds(folder: Path) -> Iterator[bytes]:
        for rows in (
            ["file_name,label", "0.png,cat", "1.png,dog", "a/2.png,cat"],
            ["id,breed,split", "0,x,train", "1,y,test", "2,x,train", "0,x,train"],
            ["image_id,rust,scab", "0,1,0", "1,0,1", "./2,1,0"],
            ["path,class_id,class_name", "/k/0.png,1,b", "/k/1.png,0,a"],
        ):
            yield "\n".join(rows).replace(",", mark).encode()

    return seeds


def picture_lines(folder: Path) -> Iterator[bytes]:
    yield b'{"file_name": "0.png", "label": 1}\n{"file_name": "1.png", "label": 0}\n\n{"file_name": "a/2.png", "label": null}\n'
    yield b'{"image": "0.png", "class": "a", "box": [1, 2]}\r\n{"image": "caf\\u00e9.png", "class": "b", "x": {"y": 1}}'
    yield b'{"image": "0.png", "labels": ["a", "b"]}\n{"image": "1.png", "labels": ["b"]}\n'


def read_pictures_of(suffix: str) -> Callable[[bytes, Path], None]:
    """Read a table as DATA and as the table beside the pictures of a folder: what either makes of it names each picture once."""

    def reader(content: bytes, folder: Path) -> None:
        from dataprune.data import table, walk
        from dataprune.data.labels import Reading

        for name in ("0.png", "1.png", "a/2.png"):
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes(b"x")
        path = file_of(folder, f"t{suffix}", content)
        any_of(
            lambda: check_source(table.read_table(path, Reading())),
            lambda: check_source(table.read_beside(walk.walk(folder), Reading())[0]),
        )

    return reader


def check_source(source: object) -> None:
    for part in getattr(source, "parts", {}).values():
        assert len(set(part.ids)) == len(part.ids)
        assert part.pictures is None or part.pictures.count == len(part.ids)
        assert part.labels is None or len(part.labels) == len(part.ids)


def tar_files(folder: Path) -> Iterator[bytes]:
    for kind in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        made = b""
        for name, content in (("0.png", b"x"), ("0.cls", b"1"), ("d/1.png", b"yy"), ("d/1.json", b'{"label": 2, "e": "b"}')):
            info = tarfile.TarInfo(name if kind == tarfile.USTAR_FORMAT else name.replace("d/", "é/" * 60))
            info.size = len(content)
            made += info.tobuf(kind) + content.ljust(512, b"\0")
        yield made + bytes(1024)


def read_any_tar(content: bytes, folder: Path) -> None:
    from dataprune.data.labels import Reading
    from dataprune.data.tars import read_tars

    path = file_of(folder, "t.tar", content)
    source = read_tars({"t.tar": str(path)}, str(folder), Reading(), False)
    check_source(source)
    for chunk in source.parts["train"].pictures.chunks:
        for read_one in chunk.open():
            read_one(-1)


TARGETS: dict[str, Target] = {
    "picture": Target(pictures, read_picture),
    "cifar-batch": Target(batches, lambda content, folder: cifar(folder, data_batch_1=content)),
    "cifar-names": Target(names, lambda content, folder: cifar(folder, **{"batches.meta": content})),
    "labels-csv": Target(csvs, read_any_labels(".csv")),
    "labels-parquet": Target(parquets, read_any_labels(".parquet")),
    "labels-json": Target(annotations, read_any_labels(".json")),
    "table-parquet": Target(parquets, read_any_table),
    "vectors-parquet": Target(parquets, read_vectors),
    "decisions": Target(csvs, read_decided),
    "npy": Target(npys, read_any_npy),
    "npz": Target(npzs, read_any_npz),
    "spec": Target(specs, read_spec),
    "member": Target(members, read_any_member),
    "run": Target(manifests, read_manifest),
    "trial": Target(trials, read_any_trial),
    "sealed": Target(sealed_files, read_any_sealed),
    "pictures-csv": Target(picture_tables(","), read_pictures_of(".csv")),
    "pictures-tsv": Target(picture_tables("\t"), read_pictures_of(".tsv")),
    "pictures-jsonl": Target(picture_lines, read_pictures_of(".jsonl")),
    "tar": Target(tar_files, read_any_tar),
}
