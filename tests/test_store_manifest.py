"""JSON and manifests: text by hand, damage, other versions, paths that lead out."""

import hashlib
import json
import os
from dataclasses import dataclass

import pytest

from dataprune import store
from dataprune.errors import InputError, StoreError
from machine_kit import names


class TestJson:
    def test_text_by_hand(self, tmp_path):
        store.write_json(tmp_path / "a.json", {"b": [1, 2.5], "a": "é\udcff"})
        assert (tmp_path / "a.json").read_text() == '{\n  "a": "\\u00e9\\udcff",\n  "b": [\n    1,\n    2.5\n  ]\n}\n'
        assert store.read_json(tmp_path / "a.json") == {"b": [1, 2.5], "a": "é\udcff"}

    @pytest.mark.parametrize("value", [float("nan"), {"a": [float("inf")]}])
    def test_nan_is_refused(self, tmp_path, value):
        with pytest.raises(InputError, match=r"`a\.json` must hold finite numbers only, got"):
            store.write_json(tmp_path / "a.json", value)
        with pytest.raises(InputError, match="must hold finite numbers only"):
            store.canonical_json(value)
        assert names(tmp_path) == []

    @pytest.mark.parametrize("content", [b"", b'{"a": 1', b'{"a": NaN}', b"\xff\xfe\xff", b"[" * 100_000])
    def test_damaged(self, tmp_path, content):
        (tmp_path / "a.json").write_bytes(content)
        with pytest.raises(StoreError, match=r"a\.json` is damaged: not valid JSON \(.+\)\.$"):
            store.read_json(tmp_path / "a.json")

    def test_missing(self, tmp_path):
        with pytest.raises(StoreError, match=r"a\.json` is missing, or not a file\."):
            store.read_json(tmp_path / "a.json")

    def test_canonical_form_does_not_depend_on_the_kind_of_keys(self):
        assert store.canonical_json({10: 1, 9: 2}) == store.canonical_json({"10": 1, "9": 2}) == '{"10":1,"9":2}'


@pytest.fixture
def run(tmp_path):
    """Return a folder with two files and their manifest."""
    (tmp_path / "trace").mkdir()
    (tmp_path / "a").write_bytes(b"abc")
    (tmp_path / "trace" / "b").write_bytes(b"")
    store.write_manifest(tmp_path, "run.json", {"seed": 1, "by": {1: 2.5}}, ["a", "trace/b"])
    return tmp_path


def edited(run, change, resign=True):
    manifest = json.loads((run / "run.json").read_text())
    change(manifest)
    if resign:
        manifest.pop("sha256", None)
        manifest["sha256"] = hashlib.sha256(store.canonical_json(manifest).encode()).hexdigest()
    store.write_json(run / "run.json", manifest)


class TestManifest:
    def test_by_hand(self, run):
        manifest = json.loads((run / "run.json").read_text())
        digest = manifest.pop("sha256")
        assert store.read_manifest(run, "run.json", dict) == manifest
        assert manifest == {
            "seed": 1,
            "by": {"1": 2.5},
            "format": 1,
            "files": {
                "a": {"bytes": 3, "sha256": hashlib.sha256(b"abc").hexdigest()},
                "trace/b": {"bytes": 0, "sha256": hashlib.sha256(b"").hexdigest()},
            },
        }
        text = json.dumps(manifest, sort_keys=True, separators=(",", ":"))
        assert digest == hashlib.sha256(text.encode()).hexdigest()
        assert store.faults(run, "run.json") == []

    def test_faults_in_words(self, run):
        (run / "a").write_bytes(b"abd")
        (run / "trace" / "b").unlink()
        assert store.faults(run, "run.json") == ["a has another checksum than when it was written", "trace/b is missing"]
        (run / "a").write_bytes(b"ab")
        assert store.faults(run, "run.json")[0] == "a has 2 bytes instead of 3"
        assert store.read_manifest(run, "run.json", dict)["seed"] == 1
        assert not store.is_whole(run, "run.json")

    def test_a_pipe_in_place_of_a_file_is_not_waited_for(self, run):
        (run / "a").unlink()
        os.mkfifo(run / "a")
        assert store.faults(run, "run.json") == ["a is missing"]

    def test_missing(self, tmp_path):
        with pytest.raises(InputError, match=rf"`{tmp_path}` must hold run\.json, there is none\."):
            store.read_manifest(tmp_path, "run.json", dict)

    def test_every_flipped_bit_is_found(self, run):
        raw = (run / "run.json").read_bytes()
        # A blank may become another blank, or the end of a line a blank: JSON says the same then.
        places = [at for at, byte in enumerate(raw) if byte not in b" \n"]
        for at in places[::3]:
            damaged = bytearray(raw)
            damaged[at] ^= 1 << (at % 7)
            (run / "run.json").write_bytes(damaged)
            with pytest.raises(StoreError, match=r"run\.json` (is damaged|has format)"):
                store.read_manifest(run, "run.json", dict)

    @pytest.mark.parametrize("edit", [{"seed": 2}, {"seed": 2, "sha256": None}])
    def test_edited(self, run, edit):
        edited(run, lambda manifest: manifest.update(edit), resign=False)
        with pytest.raises(StoreError, match=r"run\.json` is damaged or was edited: its checksum does not fit"):
            store.read_manifest(run, "run.json", dict)

    @pytest.mark.parametrize(
        ("version", "message"),
        [
            (2, r"has format 2, this version reads format 1\. It is from a newer dataprune: upgrade\."),
            (0, r"has format 0, this version reads format 1\. It is from an older dataprune: write it again\."),
            ("1", "is damaged: it is not a manifest of dataprune"),
        ],
    )
    def test_other_versions(self, run, version, message):
        edited(run, lambda manifest: manifest.update(format=version))
        with pytest.raises(StoreError, match=message):
            store.read_manifest(run, "run.json", dict)

    @pytest.mark.parametrize("content", ["[]", "{}", '{"format": 1, "files": []}'])
    def test_no_manifest(self, run, content):
        (run / "run.json").write_text(content)
        with pytest.raises(StoreError, match="is damaged: it is not a manifest of dataprune"):
            store.read_manifest(run, "run.json", dict)

    @pytest.mark.parametrize("path", ["../a", "/etc/passwd", "a/../../b", "", "a\\b", "a\0b"])
    def test_paths_that_escape(self, run, path):
        edited(run, lambda manifest: manifest["files"].update({path: manifest["files"]["a"]}))
        with pytest.raises(StoreError, match="names a file outside of it"):
            store.read_manifest(run, "run.json", dict)
        with pytest.raises(StoreError, match="names a file outside of it"):
            store.write_manifest(run, "run.json", {}, [path])

    def test_an_entry_without_size(self, run):
        edited(run, lambda manifest: manifest["files"].update(a=3))
        with pytest.raises(StoreError, match=r"damaged.*files"):
            store.read_manifest(run, "run.json", dict)


@dataclass(frozen=True)
class Said:
    seed: int
    by: dict[str, float]
    later: tuple[str, ...] = ()


class TestRecords:
    def test_written_and_read_as_a_record(self, run):
        store.write_manifest(run, "m.json", Said(1, {"a": 0.5}, ("x",)), ["a"])
        assert store.read_manifest(run, "m.json", Said) == Said(1, {"a": 0.5}, ("x",))
        assert store.read_manifest(run, "m.json", store.Listing).files["a"].bytes == 3

    def test_what_an_older_version_did_not_say_has_its_default_and_what_a_newer_says_is_left_out(self, run):
        edited(run, lambda manifest: manifest.update(new=[]))
        assert store.read_manifest(run, "run.json", Said) == Said(1, {"1": 2.5})

    @pytest.mark.parametrize(
        ("change", "said"), [({"seed": "1"}, r"str.*seed"), ({"by": [1]}, r"array.*by"), ({"by": {"1": "x"}}, "by")]
    )
    def test_of_another_kind(self, run, change, said):
        edited(run, lambda manifest: manifest.update(change))
        with pytest.raises(StoreError, match=rf"run\.json` is damaged or of another kind: .*{said}"):
            store.read_manifest(run, "run.json", Said)

    def test_lacking(self, run):
        edited(run, lambda manifest: manifest.pop("seed"))
        with pytest.raises(StoreError, match="seed"):
            store.read_manifest(run, "run.json", Said)
