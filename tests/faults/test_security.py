"""Files from strangers: nothing in them is run, nothing leads out of the output, and what we write tells nothing of us."""

import ast
import csv
import json
import os
import pickle
import struct
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dataprune.errors import DatapruneError
from dataprune.run.run import open_run
from fault_kit import copy_of, quick_run, vectors_file

PACKAGE = Path(__file__).parents[2] / "src" / "dataprune"
ODD_IDS = ("../../x", "/etc/x", "..", "a/../../b", "~/x", "-rf", "C:\\x", "con\x01trol", "=1+1", "@x", "n\nl")

QUICK = ("--folds", "0", "--members", "2", "--epochs", "3", "--batch", "4", "--model", "linear", "--executor", "serial", "--quiet")


class Shell:
    """Runs a command wherever it is unpickled."""

    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return os.system, (f"touch {self.target}",)


@pytest.fixture
def canary(tmp_path):
    """Yield a path that a hostile file would make, and see in the end that nobody did."""
    target = tmp_path / "canary"
    yield target
    assert not target.exists(), "something from a file was run"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return quick_run(tmp_path_factory.mktemp("run") / "run").path


def everything_below(folder):
    return set(folder.rglob("*"))


class TestNothingIsRun:
    def test_the_shell_would(self, tmp_path):
        """Show that the bait bites where pickles are loaded as they are."""
        pickle.loads(pickle.dumps(Shell(tmp_path / "bitten")))
        assert (tmp_path / "bitten").exists()

    def objects(self, canary):
        array = np.empty(3, object)
        array[:] = [Shell(canary)] * 3
        return array

    def test_npy_of_objects(self, cli, canary, tmp_path, run):
        np.save(tmp_path / "x.npy", self.objects(canary), allow_pickle=True)
        (tmp_path / "bare.npy").write_bytes(pickle.dumps(Shell(canary)))
        for name in ("x.npy", "bare.npy"):
            file = tmp_path / name
            for command in (
                ("score", file, "--out", tmp_path / "out"),
                ("km", file, "--out", tmp_path / "km.csv"),
                ("map", file, "--out", tmp_path / "map.png"),
                ("noise", "find", "--probabilities", file, "--labels", file, "--out", tmp_path / "s.csv"),
                ("prune", run, "--by", f"{file}:value", "--keep", "0.5"),
                ("prune", run, "--by", file, "--keep", "0.5"),
            ):
                code, _, err = cli(*command)
                assert (code, err.count("\n")) == (2, 1), (command, err)

    def test_npz_of_objects_and_of_paths_that_lead_out(self, cli, canary, tmp_path):
        np.savez(tmp_path / "objects.npz", x=self.objects(canary), y=np.arange(3))
        with zipfile.ZipFile(tmp_path / "out.npz", "w") as archive:
            archive.writestr("../../x.npy", b"no array")
        with zipfile.ZipFile(tmp_path / "pickle.npz", "w") as archive:
            archive.writestr("x.npy", pickle.dumps(Shell(canary)))
        for name in ("objects.npz", "out.npz", "pickle.npz"):
            code, _, err = cli("score", tmp_path / name, "--out", tmp_path / "out")
            assert (code, err.count("\n")) == (2, 1), err
        assert not (tmp_path.parent.parent / "x.npy").exists()

    def test_cifar(self, cli, canary, tmp_path):
        folder = tmp_path / "cifar"
        folder.mkdir()
        for name in ("data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5", "test_batch", "batches.meta"):
            (folder / name).write_bytes(pickle.dumps({b"data": Shell(canary), b"labels": [], b"label_names": Shell(canary)}, 2))
        code, _, err = cli("score", folder, "--out", tmp_path / "out")
        assert (code, err.count("\n")) == (2, 1)
        assert "it was not run" in err

    @pytest.mark.parametrize(
        "header",
        [
            {"x": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 1 << 40]}},
            {"x": {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 16]}},
            {"x": {"dtype": "F32", "shape": [-4], "data_offsets": [0, 16]}},
            {"x": {"dtype": "F32", "shape": [4], "data_offsets": [8, 24]}},
            {"x": {"dtype": "OBJECT", "shape": [4], "data_offsets": [0, 16]}},
            {"../../x": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}},
            [],
            {},
        ],
        ids=str,
    )
    def test_safetensors_with_a_lying_header(self, run, canary, tmp_path, header):
        """Believed by its checksum, as in a run from a stranger; its header is looked at all the same."""
        from dataprune import store

        folder = copy_of(run, tmp_path / "run")
        text = json.dumps(header).encode()
        (folder / "trace" / "member-000.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + bytes(16))
        whole = open_run(run).manifest
        store.write_manifest(folder, "run.json", whole.plain, list(whole.files))
        with pytest.raises(DatapruneError) as error:
            open_run(folder).trace  # noqa: B018
        assert "\n" not in str(error.value)

    def test_a_header_longer_than_the_file(self, tmp_path):
        from dataprune import store

        for length in (0, 100, 1 << 40, (1 << 64) - 1):
            (tmp_path / "a.safetensors").write_bytes(struct.pack("<Q", length) + b"{}")
            with pytest.raises(DatapruneError):
                store.open_arrays(tmp_path / "a.safetensors")

    def test_code_named_in_a_stored_file(self, run, canary, tmp_path, monkeypatch, cli):
        """`module:function` counts on the command line alone."""
        (tmp_path / "evil.py").write_text(f"import os\nos.system('touch {canary}')\ndef model(*_): ...\n")
        monkeypatch.syspath_prepend(str(tmp_path))
        folder = copy_of(run, tmp_path / "run")
        (folder / "spec.json").write_text((folder / "spec.json").read_text().replace('"linear"', '"evil:model"'))
        (folder / "run.json").unlink()
        cli("prune", folder, "--keep", "0.5")
        cli("verify", folder)
        cli("report", folder, "--out", tmp_path / "page.html")
        (tmp_path / "spec.toml").write_text('preset = "half"\nmodel = "evil:model"\n')
        assert cli("study", "digits", "--spec", tmp_path / "spec.toml", "--out", tmp_path / "s")[0] == 2


class TestNothingLeadsOut:
    def parquet(self, folder):
        from io import BytesIO

        from PIL import Image

        rows = []
        for number, name in enumerate(ODD_IDS * 2):
            content = BytesIO()
            Image.fromarray(np.full((8, 8, 3), 200 * (number % 2) + number, np.uint8)).save(content, "PNG")
            rows.append(
                {"id": f"{name}{'' if number < len(ODD_IDS) else '#'}", "label": f"../{number % 2}", "bytes": content.getvalue()}
            )
        table = pa.table(
            {
                "id": [row["id"] for row in rows],
                "label": [row["label"] for row in rows],
                "image": [{"bytes": row["bytes"], "path": row["id"]} for row in rows],
            }
        )
        folder.mkdir()
        pq.write_table(table, folder / "train-00000-of-00001.parquet")
        return folder

    @pytest.mark.usefixtures("undrawn")
    def test_ids_that_are_paths(self, cli, tmp_path):
        box = tmp_path / "a" / "b" / "c"
        box.mkdir(parents=True)
        data = self.parquet(tmp_path / "data")
        code, _, err = cli("score", data, "--out", box / "run", *QUICK)
        assert code == 0, err
        before = everything_below(tmp_path)
        assert cli("prune", box / "run", "--keep", "1", "--copy-to", box / "out", "--data", data)[0] == 0
        new = everything_below(tmp_path) - before
        assert len([path for path in new if path.is_file()]) == 2 * len(ODD_IDS)
        assert all(path.resolve().is_relative_to(box / "out") for path in new)
        assert cli("report", box / "run", "--out", box / "page.html", "--data", data)[0] == 0
        assert all(path.is_relative_to(box) for path in everything_below(tmp_path) - before)

    @pytest.mark.parametrize("how", ["copy", "link"])
    def test_links_in_the_data(self, cli, tmp_path, how):
        """A picture that is a link is read, wherever it leads; links that are made lead to the data and nowhere else."""
        from command_line import make_pictures

        data = make_pictures(tmp_path / "data", names=())
        secret = tmp_path / "secret.png"
        first = next(data.rglob("*.png"))
        secret.write_bytes(first.read_bytes())
        first.unlink()
        first.symlink_to(secret)
        code, _, err = cli("score", data, "--out", tmp_path / "run", *QUICK)
        assert code == 0, err
        assert cli("prune", tmp_path / "run", "--keep", "1", f"--{how}-to", tmp_path / "kept")[0] == 0
        made = [path for path in (tmp_path / "kept").rglob("*") if not path.is_dir()]
        assert len(made) == len(open_run(tmp_path / "run").ids)
        assert all(path.is_symlink() == (how == "link") for path in made)
        home = data if how == "link" else tmp_path / "kept"
        assert all(path.resolve() == secret or path.resolve().is_relative_to(home) for path in made)
        assert any(path.resolve() == secret for path in made) == (how == "link")

    def test_an_output_that_is_a_link_is_replaced_and_not_followed(self, cli, run, tmp_path):
        (tmp_path / "precious.csv").write_text("mine")
        (tmp_path / "kept.csv").symlink_to(tmp_path / "precious.csv")
        asked = ("prune", run, "--keep", "0.5", "--out", tmp_path / "kept.csv")
        assert cli(*asked)[0] == 2
        assert cli(*asked, "--overwrite")[0] == 0
        assert (tmp_path / "precious.csv").read_text() == "mine"

    @pytest.mark.usefixtures("undrawn")
    def test_labels_that_are_formulas(self, cli, tmp_path):
        """Names stay as they are, and on the page they are text."""
        vectors = vectors_file(tmp_path)
        formulas = ("=cmd|' /C calc'!A0", "@SUM(1,1)", "<script>alert(1)</script>")
        with (tmp_path / "labels.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([("label",), *((formulas[row % 3],) for row in range(240))])
        code, _, err = cli("score", vectors, "--labels", f"{tmp_path / 'labels.csv'}:label", "--out", tmp_path / "run", *QUICK)
        assert code == 0, err
        assert set(open_run(tmp_path / "run").classes) == set(formulas)
        assert cli("report", tmp_path / "run", "--out", tmp_path / "page.html")[0] == 0
        assert "<script>alert(1)" not in (tmp_path / "page.html").read_text(encoding="utf-8")


class TestNothingIsTold:
    """What may be handed on names no home, no user's path and no machine; `local.json` alone does."""

    @pytest.mark.usefixtures("undrawn")
    def test_runs_pages_and_kept_sets(self, cli, tmp_path, monkeypatch):
        from command_line import make_pictures

        home = tmp_path / "homeof-jane"
        home.mkdir()
        monkeypatch.setenv("HOME", str(home))
        monkeypatch.setattr("socket.gethostname", lambda: "hostof-jane")  # a name that no bytes hold by chance
        monkeypatch.setattr("platform.node", lambda: "hostof-jane")
        data = make_pictures(home / "data", names=())
        assert cli("score", data, "--out", home / "run", *QUICK)[0] == 0
        run = home / "run"
        assert cli("prune", run, "--keep", "0.5", "--out", run / "kept.csv")[0] == 0
        assert cli("prune", run, "--keep", "0.5", "--out", run / "kept.parquet")[0] == 0
        assert cli("noise", "find", run, "--out", run / "suspects.csv")[0] in (0, 2)
        assert cli("report", run, "--out", run / "page.html", "--figures", run / "figures")[0] == 0
        assert cli("embed", data, "--encoder", "pixels", "--out", run / "x.npy", "--quiet")[0] == 0
        assert cli("km", run / "x.npy", "--clusters", "5", "--out", run / "km.parquet", "--quiet")[0] == 0
        files = [path for path in run.rglob("*") if path.is_file() and path.name != "local.json"]
        assert len(files) > 15
        words = [str(home), "homeof-jane", "hostof-jane"]
        told = [(path.name, word) for path in files for word in words if word.encode() in path.read_bytes()]
        assert told == []
        assert "homeof-jane" in (run / "local.json").read_text()


# What turns bytes into objects and may run something on the way, and who may: those that hear their own workers over pipes of
# their own, and the reader of CIFAR, whose loader lets nothing but arrays through.
LOADERS = {"pickle": {"load", "loads", "Unpickler", "_Unpickler"}, "cloudpickle": {"load", "loads"}, "marshal": {"load", "loads"}}
LOADERS |= {"torch": {"load"}, "joblib": {"load"}, "shelve": {"open"}, "dill": {"load", "loads"}, "yaml": {"load", "unsafe_load"}}
ALLOWED = {
    ("workers/child.py", "pickle.loads"),
    ("workers/pool.py", "pickle.loads"),
    ("workers/ray.py", "cloudpickle.loads"),
    ("data/cifar.py", "pickle.Unpickler"),
    ("encoders/efficientnet.py", "torch.load"),  # weights_only, of a file whose SHA-256 is pinned
    ("integrations/huggingface.py", "torch.load"),  # weights_only, out of the training's own checkpoint
}


DOORS = (("allow_pickle", True), ("weights_only", False))


def loaders(source):
    """Return every loader that a source names, and every `allow_pickle` and `weights_only` that opens a door."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.attr in LOADERS.get(node.value.id, ()):
            found.add(f"{node.value.id}.{node.attr}")
        if isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{one.name}" for one in node.names if one.name in LOADERS.get(node.module or "", ())}
        if isinstance(node, ast.keyword) and isinstance(node.value, ast.Constant) and (node.arg, node.value.value) in DOORS:
            found.add(f"{node.arg}={node.value.value}")
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("eval", "exec"):
            found.add(node.func.id)
    return found


class TestLoaders:
    def test_no_other_file_unpickles(self):
        found = {
            (path.relative_to(PACKAGE).as_posix(), one)
            for path in sorted(PACKAGE.rglob("*.py"))
            for one in loaders(path.read_text(encoding="utf-8"))
        }
        assert found == ALLOWED

    @pytest.mark.parametrize(
        ("source", "found"),
        [
            ("import torch\ntorch.load(p)", {"torch.load"}),
            ("from pickle import loads", {"pickle.loads"}),
            ("np.load(p, allow_pickle=True)", {"allow_pickle=True"}),
            ("torch.hub(p, weights_only=False)", {"weights_only=False"}),
            ("eval('1')", {"eval"}),
            ("json.load(p)", set()),
        ],
    )
    def test_it_sees_them(self, source, found):
        assert loaders(source) == found
