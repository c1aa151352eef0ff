"""Every kind of file that we leave on disk, with a bit turned, cut short, emptied or gone: it is found, said, and never used.

A fault in a file is found by `dataprune verify`; who reads the file refuses in one line, or makes it again with the same bytes.
"""

import json
from contextlib import suppress

import numpy as np
import pytest

from dataprune import store
from dataprune.errors import DatapruneError, InputError, StoreError
from dataprune.run.run import SCORES_FILE, open_run
from dataprune.study.study import SUMMARY, open_study, verify_study
from fault_kit import DAMAGES, Damage, copy_of, quick_run, stored_files, vectors_file
from study_toys import toy_spec, toy_study

FLIPS_EVERYWHERE = tuple(Damage("a bit turned", at) for at in np.linspace(0, 1, 60))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return quick_run(tmp_path_factory.mktemp("run") / "run").path


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return toy_study(tmp_path_factory.mktemp("study") / "study", toy_spec("half", seeds=1)).path


@pytest.fixture(scope="module")
def files(run, tmp_path_factory):
    """Return a folder with features of `embed`, the output of `km`, kept sets in every format, each with its .json."""
    from dataprune.cli import main

    folder = tmp_path_factory.mktemp("files")
    assert main(["embed", "digits", "--encoder", "pixels", "--components", "8", "--out", str(folder / "x.npy"), "--quiet"]) == 0
    vectors = vectors_file(tmp_path_factory.mktemp("vectors"))
    assert main(["km", str(vectors), "--clusters", "30", "--out", str(folder / "km.parquet"), "--quiet"]) == 0
    for ending in ("csv", "parquet", "txt", "npy"):
        assert main(["prune", str(run), "--keep", "0.5", "--out", str(folder / f"kept.{ending}")]) == 0
    return folder


def one_error(said):
    """Return whether stderr holds complaints and nothing else: no traceback, no defect of ours."""
    lines = said.splitlines()
    return bool(lines) and all(line.startswith("error: ") and "internal" not in line for line in lines)


def verified(cli, place):
    """Run `dataprune verify`; look at its words; give its exit code, None where it says that the work is not finished."""
    code, out, err = cli("verify", place)
    assert code == 0 or one_error(err), err
    return None if "not finished" in out else code


class TestVerify:
    """`dataprune verify` finds every fault.

    Exit 3. Where the very manifest is gone, exit 2, or of a study that it is not finished: that is what such a folder looks like.
    """

    def faults(self, cli, whole, place, target, damages=DAMAGES):
        """Damage each file of a folder in each way, and name what was not found; `target` gives what to verify."""
        folder = copy_of(whole, place)
        unfound = []
        for name in stored_files(folder):
            path = folder / name
            content = path.read_bytes()
            for damage in damages:
                damage.to(path)
                wanted = (2, 3, None) if damage.name == "missing" and path.suffix == ".json" else (3,)
                if verified(cli, target(path)) not in wanted:
                    unfound.append(f"{name}: {damage}")
                path.write_bytes(content)
            assert verified(cli, target(path)) == 0
        return unfound

    def test_of_a_run(self, cli, run, tmp_path):
        assert self.faults(cli, run, tmp_path / "run", lambda _: tmp_path / "run") == []

    def test_of_a_study_and_the_run_in_it(self, cli, study, tmp_path):
        few = (Damage("a bit turned", 0.4), Damage("emptied"), Damage("missing"))
        assert self.faults(cli, study, tmp_path / "study", lambda _: tmp_path / "study", few) == []

    def test_of_single_files(self, cli, files, tmp_path):
        def target(path):
            return path.with_suffix(".npy") if path.name == "x.json" else path.with_name(path.name.removesuffix(".json"))

        assert self.faults(cli, files, tmp_path / "files", target) == []

    @pytest.mark.slow
    def test_of_bits_everywhere(self, cli, run, study, tmp_path):
        for whole in (run, study):
            assert self.faults(cli, whole, tmp_path / whole.name, lambda _, w=whole: tmp_path / w.name, FLIPS_EVERYWHERE) == []

    def test_a_file_that_nobody_speaks_for(self, cli, tmp_path):
        (tmp_path / "a.csv").write_text("id\n1\n")
        assert cli("verify", tmp_path / "a.csv") == (
            2,
            "",
            f"error: `{tmp_path / 'a.csv'}` has no a.csv.json beside it that says how it was written.\n",
        )

    def test_sound_files(self, cli, files):
        assert cli("verify", files / "kept.csv") == (0, "sound: 1 file\n", "")


class TestReaders:
    """Who reads a damaged file gives the numbers of the sound one, or refuses."""

    def test_scores_and_traces(self, run, tmp_path):
        whole, folder = open_run(run), copy_of(run, tmp_path / "run")
        sound = np.array(whole.trace.channel("p_label"))
        for name in stored_files(folder):
            content = (folder / name).read_bytes()
            for damage in DAMAGES:
                damage.to(folder / name)
                with suppress(DatapruneError):
                    assert np.array_equal(open_run(folder).scores["el2n"].values, whole.scores["el2n"].values), (name, damage)
                with suppress(DatapruneError):
                    assert np.array_equal(open_run(folder).trace.channel("p_label"), sound), (name, damage)
                (folder / name).write_bytes(content)

    @pytest.mark.parametrize("command", ["prune", "report", "export", "find"])
    def test_commands_on_a_damaged_run(self, cli, run, tmp_path, command):
        arguments = {
            "prune": lambda folder: ("prune", folder, "--keep", "0.5"),
            "report": lambda folder: ("report", folder, "--out", tmp_path / "page.html"),
            "export": lambda folder: ("export", folder, "--probabilities", tmp_path / "p.npy"),
            "find": lambda folder: ("noise", "find", folder, "--out", tmp_path / "s.csv"),
        }[command]
        read = {"prune": ["scores.parquet"], "report": ["scores.parquet"]}.get(command, ["trace/member-001.safetensors"])
        folder = copy_of(run, tmp_path / "run")
        for name in read:
            content = (folder / name).read_bytes()
            for damage in DAMAGES:
                damage.to(folder / name)
                code, _, err = cli(*arguments(folder))
                assert (code, one_error(err)) == (3, True), (name, str(damage), code, err)
                (folder / name).write_bytes(content)

    def test_files_that_other_commands_read(self, cli, run, files, tmp_path):
        folder = copy_of(files, tmp_path / "files")
        readers = {
            "x.npy": ("km", folder / "x.npy", "--clusters", "30", "--out", tmp_path / "k.csv"),
            "km.parquet": ("prune", run, "--by", f"{folder / 'km.parquet'}:km", "--keep", "0.5"),
        }
        for name, command in readers.items():
            content = (folder / name).read_bytes()
            for damage in DAMAGES:
                damage.to(folder / name)
                code, _, err = cli(*command)
                assert code == (2 if damage.name == "missing" else 3), (name, str(damage), err)
                assert one_error(err)
                (folder / name).write_bytes(content)

    def test_what_was_changed_on_purpose_is_read_once_its_manifest_is_gone(self, cli, files, tmp_path):
        folder = copy_of(files, tmp_path / "files")
        np.save(folder / "x.npy", np.load(folder / "x.npy")[:, :4])
        command = ("km", folder / "x.npy", "--clusters", "30", "--out", tmp_path / "k.csv", "--quiet")
        code, _, err = cli(*command)
        assert code == 3
        assert err.endswith("Make it again, or remove x.json if the change was meant.\n")
        (folder / "x.json").unlink()
        assert cli(*command)[0] == 0

    def test_a_manifest_of_somebody_else_says_nothing(self, cli, tmp_path):
        vectors = vectors_file(tmp_path)
        for content in ("[1]", "{", '{"files": {"vectors.npy": 3}}', '{"files": {"vectors.npy": {}}, "format": 7}'):
            vectors.with_suffix(".json").write_text(content)
            assert cli("km", vectors, "--clusters", "30", "--out", tmp_path / "k.csv", "--quiet")[0] == 0


class TestMended:
    """The same call on a damaged folder ends with the bytes of the sound one, or refuses in one line and says what to do."""

    def test_a_run(self, run, tmp_path):
        for name in stored_files(run):
            for damage in (Damage("a bit turned", 0.5), Damage("cut short"), Damage("emptied"), Damage("missing")):
                folder = copy_of(run, tmp_path / "run")
                damage.to(folder / name)
                mended = quick_run(folder).path
                for same in (SCORES_FILE, "spec.json", "trace/member-000.safetensors", "trace/member-001.safetensors"):
                    assert (mended / same).read_bytes() == (run / same).read_bytes(), (name, str(damage), same)
                assert store.faults(mended, "run.json") == []

    def test_an_unfinished_run_whose_identity_is_damaged_is_refused(self, run, tmp_path):
        for damage in (Damage("a bit turned", 0.5), Damage("emptied")):
            folder = copy_of(run, tmp_path / "run")
            (folder / "run.json").unlink()
            damage.to(folder / "spec.json")
            with pytest.raises(StoreError, match=r"spec\.json` is damaged.*Choose another folder, or remove this one\."):
                quick_run(folder)

    def test_a_members_note_is_not_believed(self, run, tmp_path):
        folder = copy_of(run, tmp_path / "run")
        note = json.loads((folder / "trace" / "member-000.json").read_text())
        (folder / "trace" / "member-000.json").write_text(json.dumps(note | {"status": "at chance"}))
        (folder / "run.json").unlink()
        mended = quick_run(folder)
        assert [member.status for member in mended.manifest.members] == ["ok", "ok"]

    def test_a_study(self, study, tmp_path):
        names = [name for name in stored_files(study) if not name.startswith("run/")]
        trials = [name for name in names if name.startswith("trials/")]
        for name in (*(name for name in names if name not in trials), *trials[:1]):
            for damage in (Damage("a bit turned", 0.5), Damage("emptied")):
                folder = copy_of(study, tmp_path / "study")
                damage.to(folder / name)
                if name == "study-spec.json":
                    with pytest.raises(StoreError, match=r"study-spec\.json` is damaged"):
                        toy_study(folder, toy_spec("half", seeds=1))
                    continue
                mended = toy_study(folder, toy_spec("half", seeds=1)).path
                assert (mended / SUMMARY).read_bytes() == (study / SUMMARY).read_bytes(), (name, str(damage))
                assert verify_study(mended) == []

    def test_an_unfinished_study_does_not_answer_a_question_that_nobody_asked(self, study, tmp_path):
        folder = copy_of(study, tmp_path / "study")
        (folder / "study.json").unlink()
        asked = json.loads((folder / "study-spec.json").read_text())
        (folder / "study-spec.json").write_text(
            json.dumps(asked | {"question": asked["question"].replace("seeds = 1", "seeds = 3")})
        )
        with pytest.raises(StoreError, match="checksum does not fit"):
            open_study(folder)

    def test_pixels_that_a_study_clusters(self, tmp_path):
        from dataprune.study.conditions import pixel_features
        from study_toys import vectors

        data = vectors(60)
        made = pixel_features(data, tmp_path)
        file = next(tmp_path.glob("pixels-*.npy"))
        content = file.read_bytes()
        for damage in DAMAGES:
            for victim in (file, file.with_name(f"{file.name}.json")):
                kept = victim.read_bytes()
                damage.to(victim)
                assert np.array_equal(pixel_features(data, tmp_path), made)
                assert file.read_bytes() == content
                victim.write_bytes(kept)

    def test_features(self, files, cli, tmp_path):
        folder = copy_of(files, tmp_path / "files")
        command = ("embed", "digits", "--encoder", "pixels", "--components", "8", "--out", folder / "x.npy", "--quiet")
        content = (folder / "x.npy").read_bytes()
        for damage in DAMAGES:
            damage.to(folder / "x.npy")
            assert cli(*command)[0] == 0
            assert (folder / "x.npy").read_bytes() == content
        with pytest.raises(InputError):
            open_run(folder)
