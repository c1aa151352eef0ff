"""`dataprune study` and `verify STUDY` as somebody types them."""

import shlex
import sys

import numpy as np
import pytest

from dataprune.study.presets import PRESETS, preset
from dataprune.study.spec import from_toml
from dataprune.tables import read_table
from study_toys import vectors

QUICK = ["--model", "linear", "--epochs", "3", "--batch", "16", "--effort", "low", "--seeds", "2", "--executor", "serial"]


@pytest.fixture(scope="module")
def arrays(tmp_path_factory):
    """Write train and test as one .npz file."""
    train, test = vectors(120), vectors(45, 1)
    path = tmp_path_factory.mktemp("data") / "toy.npz"
    np.savez(path, x=train.inputs, y=train.labels, x_test=test.inputs, y_test=test.labels)
    return path


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_prints_as_the_toml_that_is_read_back(cli, name, tmp_path):
    code, out, err = cli("study", "digits", "--preset", name, "--print-spec")
    assert (code, err) == (0, "")
    assert from_toml(out) == preset(name)
    (tmp_path / "spec.toml").write_text(out)
    code, again, _ = cli("study", "digits", "--spec", tmp_path / "spec.toml", "--print-spec")
    assert from_toml(again) == preset(name)


def test_options_change_the_spec(cli):
    options = ["--seeds", "5", "--scores", "el2n, forget", "--keep", "0.9,0.5", "--strategy", "hardest,stratified", "--balanced"]
    spec = from_toml(cli("study", "digits", "--print-spec", *options, "--budget", "steps", "--seed", "3", "--model", "mlp")[1])
    assert (spec.preset, spec.seeds, spec.scores, spec.budget, spec.seed) == ("sweep", 5, ("el2n", "forget"), "steps", 3)
    assert [(part.strategy, part.keep) for part in spec.parts] == [("hardest", (0.9, 0.5)), ("stratified", (0.9, 0.5))]
    assert spec.balanced
    window = from_toml(cli("study", "digits", "--preset", "window", "--print-spec", "--keep", "0.5")[1])
    assert window.parts[0].start == (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)
    window = from_toml(cli("study", "digits", "--preset", "window", "--print-spec", "--start", "0,0.2")[1])
    assert window.parts[0].start == (0.0, 0.2)
    stages = from_toml(cli("study", "digits", "--preset", "curriculum", "--stages", "2:0.1,3:1", "--print-spec")[1])
    assert stages.stages == ((2, 0.1), (3, 1.0))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--preset", "sweap"], "Did you mean 'sweep'?"),
        (["--preset", "half", "--spec", "x.toml"], "one of --preset and --spec"),
        (["--spec", "x.toml"], "`--spec` must be a TOML file, got x.toml"),
        (["--keep", "30"], "write 0.3 to keep 30 %"),
        (["--keep", "half"], "fractions with commas"),
        (["--keep", "0.5,,0.3"], "with commas between"),
        (["--start", "0.1"], "`--start` must go with the strategy window"),
        (["--preset", "curriculum", "--keep", "0.5"], "`--keep` must go with a study of kept sets"),
        (["--preset", "curriculum", "--stages", "ten"], "EPOCHS:SHARE"),
        (["--strategy", "hardst"], "Did you mean 'hardest'?"),
        (["--scores", "el2n", "--features", "pixels"], "`--features` must go with the score km"),
        (["--clusters", "5"], "`--clusters` must go with the score km"),
        (["--test-share", "0.2"], "left out where the data have a test split"),
        (["--reuse", "nowhere"], "a folder made by dataprune study, got nowhere"),
        (["--scores", "nothing", *QUICK], "`--scores` must be one of aleatoric, aum, "),
        (["--recipe", "fats"], "`--recipe` must be one of"),
        (["--model", "prxy"], "`--model` must be one of"),
    ],
)
def test_wrong_calls_are_one_line(cli, arrays, tmp_path, options, message):
    code, _, err = cli("study", arrays, "--out", tmp_path / "s", *options)
    assert code == 2
    assert err.count("\n") == 1
    assert err.startswith("error: ")
    assert message in err


def test_without_a_folder_the_cure_is_named(cli):
    code, _, err = cli("study", "digits")
    assert code == 2
    assert "--print-spec" in err


def test_a_study_says_the_price_the_table_and_where_things_are(cli, arrays, tmp_path, monkeypatch):
    out, asked = tmp_path / "s", ("study", arrays, "--preset", "half", "--keep", "0.5", "--scores", "el2n")
    code, said, err = cli(*asked, "--out", out, *QUICK)
    assert code == 0, err
    assert "to train: 6 trials" in said
    assert "trial 6 of 6" in said
    assert "equal epochs, 2 seeds" in said
    assert "all data" in said
    assert "(stopped at 50 %)" in said
    assert f"next: dataprune advise {out}" in said
    assert all(file.stat().st_size > 1000 for file in (out / "plots").glob("*.png"))
    assert len(read_table(out / "trials.parquet").columns["trial"]) == 6
    monkeypatch.setattr("dataprune.report.study_figures.write_study_plots", lambda *_: [])
    code, said, _ = cli(*asked, "--out", out, *QUICK)
    assert "nothing had to be trained" in said
    assert cli(*asked, "--run", out / "run", "--out", tmp_path / "quiet", *QUICK, "--quiet")[:2] == (0, "")
    assert cli("verify", out)[:2] == (0, "sound: 9 files\n")
    victim = next((out / "trials").iterdir())
    victim.write_bytes(b"{}")
    code, _, err = cli("verify", out)
    assert code == 3
    assert victim.name in err


def test_where_every_training_failed_it_ends_with_exit_code_1_and_names_them(cli, arrays, tmp_path):
    trainer = f"{shlex.quote(sys.executable)} -I -S -c 'import sys; sys.exit(3)' {{ids}} {{result}}"
    asked = ("study", arrays, "--preset", "half", "--scores", "el2n", "--trainer", trainer, "--seeds", "1")
    code, said, err = cli(*asked, "--effort", "low", "--out", tmp_path / "s", "--executor", "serial")
    assert code == 1
    assert "exit code 3" in err
    assert "no training of this study" not in err
    assert "next:" not in said
