"""The commands, end to end on a tiny folder of pictures, and bad input to each."""

import dataclasses
import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import dataprune as dp
import dataprune.run
from command_line import CLASSES, SETTINGS, complaints, make_pictures, run_cli
from dataprune import store, tables
from dataprune.run.manifest import MemberRecord


class TestScore:
    def test_says_what_was_read_and_what_it_will_cost(self, printed):
        lines = printed.splitlines()
        assert lines[0].endswith(
            "24 examples, 3 classes, pictures brought to 12 x 12 pixels in 3 channels, source: folder, split train"
        )
        assert re.fullmatch(
            r"to train: 2 networks × 3 epochs \(model proxy, recipe fast\), [\d.]+ [MG]FLOP, under a minute", lines[1]
        )

    def test_a_log_has_a_line_at_the_first_epoch_and_at_the_last(self, printed):
        said = r"^(\d) of 6 epochs: loss [\d.]+, accuracy on training labels [\d.]+ %(?:, about .* left)?$"
        assert re.findall(said, printed, re.MULTILINE) == ["1", "6"]

    def test_says_what_came_of_it(self, printed, run_folder):
        assert re.search(r"^cost: .* on the clock, .* of members, 144 examples seen, [\d.]+ [MG]FLOP$", printed, re.MULTILINE)
        for name, score in dp.open_run(run_folder).scores.items():
            word = "larger" if score.harder > 0 else "smaller"
            assert re.search(rf"^  {name} +\S+ +\S+ +\S+  {word}$", printed, re.MULTILINE)
        assert f"next: dataprune advise {run_folder}, what to keep; " in printed
        assert (run_folder / "scores.parquet").is_file()

    def test_names_of_data_are_shown_harmlessly(self, printed):
        assert "\x1b" not in printed
        assert "\u202e" not in printed
        hardest = printed.partition("hardest by el2n:\n")[2].splitlines()[:5]
        assert all(re.match(r"  [\d.e-]+ +\S", line) for line in hardest)

    def test_serial_gives_the_same_bytes_and_a_finished_run_returns_at_once(self, cli, flowers, run_folder, tmp_path):
        again = ["score", flowers, "--out", tmp_path / "run", *SETTINGS, "--executor", "serial"]
        code, out, err = cli(*again, "--quiet")
        assert (code, out, complaints(err)) == (0, "", [])
        assert (tmp_path / "run" / "scores.parquet").read_bytes() == (run_folder / "scores.parquet").read_bytes()
        before = (tmp_path / "run" / "run.json").read_bytes()
        code, out, err = cli(*again)
        assert (code, complaints(err)) == (0, [])
        assert "nothing had to be trained" in out
        assert "to train" not in out
        assert (tmp_path / "run" / "run.json").read_bytes() == before

    def test_python_does_the_same(self, flowers, run_folder, tmp_path):
        settings = dp.Settings(effort="low", folds=0, members=2, epochs=3, batch=4)
        run = dp.score(dp.read(flowers), tmp_path / "run", settings, dp.Hardware(executor="serial"))
        assert (tmp_path / "run" / "scores.parquet").read_bytes() == (run_folder / "scores.parquet").read_bytes()
        assert len(dp.select(run.scores["el2n"], keep=0.7)) == 17

    def test_members_are_added_to_a_finished_run(self, cli, flowers, run_folder, tmp_path):
        shutil.copytree(run_folder, tmp_path / "run")
        more = ["score", flowers, "--out", tmp_path / "run", *SETTINGS, "--members", "3", "--executor", "serial"]
        assert cli(*more)[0] == 2
        code, out, err = cli(*more, "--extend")
        assert (code, err) == (0, "")
        assert "to train: 1 of 3 networks × 3 epochs" in out
        assert len(dp.open_run(tmp_path / "run").manifest.members) == 3

    def test_other_settings_in_the_same_folder_are_refused(self, cli, flowers, run_folder):
        code, _, err = cli("score", flowers, "--out", run_folder, *SETTINGS, "--seed", "1")
        assert code == 2
        assert "seed 0 there, 1 asked" in err

    def test_two_on_one_run(self, cli, flowers, tmp_path):
        with store.lock(tmp_path / "run"):
            code, _, err = cli("score", flowers, "--out", tmp_path / "run", *SETTINGS)
        assert code == 2
        assert f"is in use by process {os.getpid()}" in err

    def test_members_that_failed_are_named(self, cli, flowers, run_folder, monkeypatch):
        run = dp.open_run(run_folder)

        def ends_with(member):
            manifest = dataclasses.replace(run.manifest, members=(run.manifest.members[0], member))
            broken = dataclasses.replace(run, manifest=manifest)
            monkeypatch.setattr(dp, "score", lambda *_, **__: broken)

        ends_with(MemberRecord(1, "failed", "training \x1b diverged"))
        code, out, err = cli("score", flowers, "--out", run_folder, *SETTINGS)
        assert code == 1
        assert complaints(err) == ["error: member 1 (failed): training \\x1b diverged"]
        assert "next: " in out
        ends_with(MemberRecord(1, "at chance", "no better"))
        code, _, err = cli("score", flowers, "--out", run_folder, *SETTINGS)
        assert (code, complaints(err)) == (0, ["warning: member 1 (at chance): no better"])


class TestOwnCode:
    MINE = """
import dataprune as dp
from torch import nn


def model(shape, n_classes):
    channels, height, width = shape
    return nn.Sequential(nn.Flatten(), nn.Linear(channels * height * width, n_classes))


def recipe():
    return dp.Recipe("mine", batch=4, learning_rate=0.02)


def spread(trace):
    return trace.channel("margin").std(axis=(0, 1))


def first(group, count, generator):
    return range(count)
"""

    @pytest.mark.long
    def test_names_in_the_folder_of_the_call(self, flowers, tmp_path):
        (tmp_path / "mine_of_a_user.py").write_text(self.MINE)
        (tmp_path / "torch.py").write_text("raise SystemExit('shadowed')")
        own = ["--model", "mine_of_a_user:model", "--recipe", "mine_of_a_user:recipe"]
        as_installed = {"cwd": tmp_path, "env": os.environ | {"PYTHONSAFEPATH": "1"}}  # a script's path, not that of `python -m`
        settings = ["--folds", "0", "--members", "2", "--epochs", "4"]
        few = [*settings, "--executor", "processes", "--workers", "1"]  # the worker must find them too
        done = run_cli("score", flowers, "--out", "run", *own, *few, **as_installed)
        assert done.returncode == 0, done.stderr
        by = ["--by", "mine_of_a_user:spread", "--strategy", "mine_of_a_user:first", "--count", "5", "--out", "kept.npy"]
        done = run_cli("prune", "run", *by, **as_installed)
        assert done.returncode == 0, done.stderr
        assert np.load(tmp_path / "kept.npy").tolist() == [0, 1, 2, 3, 4]

    @pytest.mark.parametrize(("name", "said"), [("no_such_module:f", "there is no module"), ("math:nothing", "nothing")])
    def test_names_of_nothing(self, cli, flowers, tmp_path, name, said):
        code, _, err = cli("score", flowers, "--out", tmp_path / "run", "--model", name)
        assert code == 2
        assert said in err
        assert err.count("\n") == 1


class TestBadData:
    def fails(self, cli, tmp_path, data, *options):
        code, _, err = cli("score", data, "--out", tmp_path / "run", *SETTINGS, *options)
        assert err.count("\n") == err.count("error: ") + err.count("warning: ")
        assert not (tmp_path / "run").exists(), "nothing is written for data that cannot be scored"
        return code, err

    def test_missing_and_empty_folders(self, cli, tmp_path):
        (tmp_path / "empty").mkdir()
        assert self.fails(cli, tmp_path, tmp_path / "none")[0] == 2
        code, err = self.fails(cli, tmp_path, tmp_path / "empty")
        assert code == 2
        assert "no picture in" in err

    def test_a_class_without_pictures(self, cli, tmp_path):
        make_pictures(tmp_path / "set", 2, ())
        (tmp_path / "set" / "empty").mkdir()
        code, err = self.fails(cli, tmp_path, tmp_path / "set")
        assert code == 2
        assert "empty (a class folder with no picture)" in err

    def test_one_class(self, cli, tmp_path):
        make_pictures(tmp_path / "set", 4, ())
        for name in CLASSES[1:]:
            (tmp_path / "set" / name).rename(tmp_path / f"elsewhere-{name}")
        code, err = self.fails(cli, tmp_path, tmp_path / "set")
        assert code == 2
        assert "at least two classes" in err

    def test_bad_files_fail_or_are_skipped_and_listed(self, cli, tmp_path):
        data = make_pictures(tmp_path / "set", 5, ())
        whole = (data / CLASSES[0] / "0.png").read_bytes()
        (data / CLASSES[0] / "cut.png").write_bytes(whole[: len(whole) // 2])
        (data / CLASSES[0] / "zero\n.png").write_bytes(b"")
        (data / CLASSES[0] / "text.jpg").write_text("no picture")
        code, err = self.fails(cli, tmp_path, data)
        assert code == 2
        assert "zero\\n.png (empty (0 bytes))" in err
        code, out, err = cli("score", data, "--out", tmp_path / "run", *SETTINGS, "--executor", "serial", "--on-error", "skip")
        assert code == 0
        assert "15 examples" in out
        assert "warning: left out 3 items" in err
        join_some = json.loads((tmp_path / "run" / "run.json").read_text())["skipped"]
        assert {Path(one["path"]).name for one in join_some} == {"cut.png", "text.jpg", "zero\n.png"}

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("label\n0\n1\n", "have one row for each of the 24 examples"),
            ("label\n" + 23 * "0\n" + "7\n", "7 in row 23"),
            ("label\n" + 23 * "0\n" + "-1\n", "-1 in row 23"),
            ("label\n" + 23 * "0\n" + "1.5\n", "1.5 in row 23"),
        ],
    )
    def test_labels_that_do_not_fit(self, cli, tmp_path, flowers, text, words):
        (tmp_path / "labels.csv").write_text(text)
        code, err = self.fails(cli, tmp_path, flowers, "--labels", tmp_path / "labels.csv")
        assert code == 2
        assert words in err

    @pytest.mark.parametrize(
        ("option", "value", "near"),
        [("--model", "proxi", "'proxy'"), ("--recipe", "fats", "'fast'"), ("--model", "no:such", "no module")],
    )
    def test_unknown_names(self, cli, tmp_path, flowers, option, value, near):
        code, _, err = cli("score", flowers, "--out", tmp_path / "run", option, value, "--executor", "serial")
        assert code == 2
        assert near in err

    def test_features_with_nan(self, cli, tmp_path):
        x = np.zeros((6, 2))
        x[4, 1] = np.nan
        np.savez(tmp_path / "set.npz", x=x, y=np.arange(6) % 2)
        code, err = self.fails(cli, tmp_path, tmp_path / "set.npz")
        assert code == 2
        assert "row 4" in err

    def test_an_output_folder_with_other_things(self, cli, flowers, tmp_path):
        (tmp_path / "thesis.tex").write_text("precious")
        code, _, err = cli("score", flowers, "--out", tmp_path, *SETTINGS)
        assert code == 2
        assert "thesis.tex" in err


class TestPrune:
    def test_says_what_would_be_kept_and_writes_nothing(self, cli, run_folder):
        before = sorted(run_folder.rglob("*"))
        code, out, err = cli("prune", run_folder, "--keep", "0.7")
        assert (code, err.count("\n")) == (0, 1)
        assert f"dataprune advise {run_folder}" in err, "of so few random is advised"
        assert "kept 17 of 24 examples (70.8 %): hardest by el2n" in out
        assert re.search(r"^  \[red\]rot +\d+ +8$", out, re.MULTILINE)
        assert re.search(r"^seed 0, sha256 of the kept ids [0-9a-f]{64}$", out, re.MULTILINE)
        assert "nothing was written" in out
        assert sorted(run_folder.rglob("*")) == before

    def test_every_format_holds_the_same_set(self, cli, run_folder, tmp_path):
        want = dp.select(dp.open_run(run_folder).scores["aum"], count=5, strategy="stratified", seed=3)
        for ending in ("csv", "parquet", "txt", "npy"):
            out = tmp_path / f"kept.{ending}"
            code, said, _ = cli(
                "prune", run_folder, "--by", "aum", "--count", "5", "--strategy", "stratified", "--seed", "3", "--out", out
            )
            assert code == 0
            assert f"written: {out}, and kept.{ending}.json" in said
            beside = json.loads((tmp_path / f"kept.{ending}.json").read_text())
            assert beside["ids_sha256"] == want.ids_hash
            spec = run_folder / "spec.json"
            assert (beside["data"], beside["run"]) == (json.loads(spec.read_text())["data"], store.sha256(spec))
        assert (tmp_path / "kept.txt").read_text().splitlines() == want.ids.tolist()
        assert tables.read_npy(tmp_path / "kept.npy").tolist() == want.rows.tolist()
        for ending in ("csv", "parquet"):
            table = tables.read_table(tmp_path / f"kept.{ending}").columns
            assert table["id"].tolist() == want.ids.tolist()
            assert table["row"].tolist() == want.rows.tolist()
            assert table["label"].tolist() == [CLASSES[label] for label in want.labels]
            assert np.array_equal(table["score"], want.scores)

    def test_copies_and_links_are_the_kept_pictures(self, cli, run_folder, flowers, tmp_path):
        arguments = ["prune", run_folder, "--by", "el2n", "--count", "6", "--balanced"]
        code, _, err = cli(*arguments, "--copy-to", tmp_path / "copies", "--link-to", tmp_path / "links")
        assert (code, err) == (0, "")
        kept = dp.select(dp.open_run(run_folder).scores["el2n"], count=6, balanced=True)
        wanted = sorted(
            (flowers / one.split("/")[0], dp.read(flowers).paths[row]) for one, row in zip(kept.ids, kept.rows, strict=True)
        )
        for folder in ("copies", "links"):
            files = [path for path in (tmp_path / folder).rglob("*") if path.is_file()]
            assert sorted(path.read_bytes() for path in files) == sorted(Path(path).read_bytes() for _, path in wanted)
        assert all(path.is_symlink() for path in (tmp_path / "links").rglob("*.png"))
        for option, folder in (("--copy-to", "copies"), ("--link-to", "links")):
            assert cli(*arguments, option, tmp_path / folder)[0] == 0, "the same again is no other"
        out = tmp_path / "kept.csv"
        code, _, err = cli("prune", run_folder, "--count", "7", "--out", out, "--copy-to", tmp_path / "copies")
        assert (code, out.exists()) == (2, False), "nothing is written where one of both is refused"
        assert f"`{tmp_path / 'copies'}`" in err
        assert "exist" in err

    def test_default_of_moderate_is_the_distance_to_the_class(self, cli, run_folder):
        assert "moderate by median_distance" in cli("prune", run_folder, "--keep", "0.5", "--strategy", "moderate")[1]

    def test_classes_that_are_emptied_are_named(self, cli, run_folder):
        code, _, err = cli("prune", run_folder, "--count", "1")
        assert code == 0
        assert err.startswith("warning: nothing is kept of 2 classes: ")

    def test_a_score_of_a_file_by_row_and_by_id(self, cli, run_folder, tmp_path):
        ids = dp.open_run(run_folder).ids.tolist()
        mine = np.linspace(0, 1, 24) ** 2
        order = np.random.default_rng(0).permutation(24)
        tables.write_table(tmp_path / "rows.csv", {"mine": mine, "other": mine[::-1]})
        tables.write_table(tmp_path / "ids.parquet", {"id": [ids[i] for i in order], "mine": mine[order]})
        tables.write_npy(tmp_path / "mine.npy", mine)
        for spec in ("rows.csv:mine", "ids.parquet:mine", "mine.npy"):
            code, _, err = cli("prune", run_folder, "--by", tmp_path / spec, "--count", "4", "--out", tmp_path / "kept.npy")
            assert (code, err.count("error")) == (0, 0)
            assert tables.read_npy(tmp_path / "kept.npy").tolist() == [20, 21, 22, 23]

    def test_a_column_of_ours_keeps_its_direction(self, cli, run_folder, tmp_path):
        for by in ("aum", f"{run_folder / 'scores.parquet'}:aum"):
            assert cli("prune", run_folder, "--by", by, "--keep", "0.5", "--out", tmp_path / "kept.npy")[0] == 0
            hardest = np.sort(np.argsort(dp.open_run(run_folder).scores["aum"].values)[:12])
            assert tables.read_npy(tmp_path / "kept.npy").tolist() == hardest.tolist()

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (["--keep", "30"], "`--keep` must be in (0, 1], got 30. It is the fraction kept: write 0.3 to keep 30 %."),
            (["--keep", "0"], "`--keep` must be in (0, 1], got 0."),
            (["--keep", "nan"], "`--keep` must be in (0, 1], got nan."),
            (["--keep", "-0.5"], "`--keep` must be in (0, 1], got -0.5."),
            ([], "got none"),
            (["--keep", "0.5", "--count", "3"], "got --keep and --count"),
            (["--count", "25"], "`--count` must be in 1 ... 24"),
            (["--keep", "0.5", "--by", "el2m"], "Did you mean 'el2n'?"),
            (["--keep", "0.5", "--strategy", "hadrest"], "Did you mean 'hardest'?"),
            (["--keep", "0.5", "--start", "0.1"], "It belongs to 'window'."),
            (["--keep", "0.5", "--out", "kept.xls"], "`--out` must end in .txt or .csv or .parquet or .npy"),
            (["--keep", "0.5", "--by", "none.csv:x"], "no such file"),
            (["--keep", "0.5", "--by", "no_such_module:f"], "no_such_module"),
        ],
    )
    def test_wrong_calls(self, cli, run_folder, arguments, words):
        code, out, err = cli("prune", run_folder, *arguments)
        assert (code, out) == (2, "")
        assert words in err
        assert err.count("\n") == 1

    @pytest.mark.parametrize(
        ("columns", "words"),
        [
            ({"mine": [1.0, 2.0]}, "one row for each of the 24 examples, got 2 rows"),
            ({"id": ["a", "a"], "mine": [1.0, 2.0]}, "name every id once"),
            ({"id": ["a", "b"], "mine": [1.0, 2.0]}, "have a row for every example"),
            ({"mine": [*range(23), float("nan")]}, "(rows 23)"),
            ({"mine": ["x"] * 24}, "be one number for each example"),
        ],
    )
    def test_scores_of_files_that_do_not_fit(self, cli, run_folder, tmp_path, columns, words):
        tables.write_table(tmp_path / "mine.csv", columns)
        code, _, err = cli("prune", run_folder, "--by", tmp_path / "mine.csv:mine", "--keep", "0.5")
        assert code == 2
        assert words in err

    def test_what_is_no_run(self, cli, tmp_path):
        for path in (tmp_path / "none", tmp_path):
            code, _, err = cli("prune", path, "--keep", "0.5")
            assert code == 2
            assert "must be a folder made by `dataprune score`" in err

    def test_the_data_are_checked_before_they_are_copied(self, cli, run_folder, tmp_path):
        other = make_pictures(tmp_path / "other", 3, ())
        code, _, err = cli("prune", run_folder, "--keep", "0.5", "--copy-to", tmp_path / "small", "--data", other)
        assert code == 2
        assert "are not those of" in err
        assert not (tmp_path / "small").exists()


class TestVerify:
    @pytest.fixture
    def copy(self, run_folder, tmp_path):
        return Path(shutil.copytree(run_folder, tmp_path / "copy"))

    def test_sound(self, cli, run_folder):
        assert cli("verify", run_folder) == (0, "sound: 6 files\n", "")

    def test_every_fault_is_printed(self, cli, copy):
        member = copy / "trace" / "member-001.safetensors"
        data = bytearray(member.read_bytes())
        data[-1] ^= 1
        member.write_bytes(data)
        (copy / "trace" / "member-000.safetensors").unlink()
        code, out, err = cli("verify", copy)
        assert (code, out) == (3, "")
        assert re.search(r"^error: .*member-000.safetensors is missing$", err, re.MULTILINE)
        assert re.search(r"^error: .*member-001.safetensors has another checksum", err, re.MULTILINE)

    def test_damage_is_found_before_pruning(self, cli, copy):
        with (copy / "scores.parquet").open("r+b") as file:
            file.truncate(100)
        code, out, err = cli("prune", copy, "--keep", "0.5")
        assert (code, out) == (3, "")
        assert "scores.parquet" in err

    def test_an_edited_manifest(self, cli, copy):
        (copy / "run.json").write_text((copy / "run.json").read_text().replace('"member": 0', '"member": 7', 1))
        code, _, err = cli("verify", copy)
        assert code == 3
        assert "its checksum does not fit" in err


class TestShow:
    @pytest.mark.parametrize("options", [[], ["--augment", "--count", "3"]])
    def test_draws_a_sheet(self, cli, flowers, tmp_path, options):
        code, out, err = cli("show", flowers, *options, "--out", tmp_path / "sheet.png")
        assert (code, err) == (0, "")
        assert "written: " in out
        with Image.open(tmp_path / "sheet.png") as picture:
            assert picture.size == (880, 405)

    def test_feature_vectors_are_refused(self, cli, tmp_path):
        np.save(tmp_path / "x.npy", np.zeros((3, 2)))
        code, _, err = cli("show", tmp_path / "x.npy")
        assert code == 2
        assert "`DATA` must hold pictures to be shown" in err


class TestDemo:
    @pytest.mark.long
    def test_story_and_again(self, cli, tmp_path):
        """As users run it, and the story is true: most digits are easy, and few are called untidy."""
        code, out, err = cli("demo", "--out", tmp_path / "demo")
        assert (code, err) == (0, "")
        assert len(tables.read_table(tmp_path / "demo" / "kept.csv").columns["id"]) == 1006
        el2n = dp.open_run(tmp_path / "demo" / "run").scores["el2n"].values
        assert np.median(el2n) < 0.25
        assert (el2n > 0.5).mean() < 0.25
        code, again, err = cli("demo", "--out", tmp_path / "demo")
        assert (code, err) == (0, "")
        assert "nothing had to be trained" in again
        assert out.partition("3. Prune")[2] == again.partition("3. Prune")[2]

    def test_a_folder_with_other_things_is_refused(self, cli, tmp_path):
        (tmp_path / "kept.csv").write_text("mine")
        code, _, err = cli("demo", "--out", tmp_path)
        assert code == 2
        assert "holds other things" in err
        assert (tmp_path / "kept.csv").read_text() == "mine"
