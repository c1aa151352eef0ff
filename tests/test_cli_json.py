"""`--json`: one object on stdout for every command, with the keys that docs/howto.md names; nothing else is printed."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from command_line import SETTINGS, make_pictures, run_cli
from dataprune.cli import main
from dataprune.cli.app import COMMANDS, NOISE_COMMANDS
from dataprune.cli.results import plain, take_json
from dataprune.tables import read_table

BESIDE = {"command", "exit_code", "written", "warnings", "errors"}
FEW = ["--seeds", "2", "--epochs", "1", "--keep", "0.5", "--scores", "el2n"]
SUMMARY = {"cells", "table", "areas", "droppable", "ranks", "multipliers", "arms", "standard_deviation", "degrees_of_freedom"}
SUSPECTS = {"n_wrong", "n_wrong_low", "n_wrong_high", "why_no_count", "accuracy", "classes", "method", "notes", "rows"}
KEYS = {
    "score": {"path", "manifest"},
    "prune": {"strategy", "keep", "score", "seed", "ids_sha256", "notes", "n_kept", "n_total", "rows"},
    "embed": {"path", "manifest"},
    "km": {"k", "elbow", "curve", "inertia", "sizes", "rows_fitted", "notes"},
    "duplicates": {"n_examples", "limit", "classes", "notes", "rows"},
    "check": {"data", "n_train", "n_examples", "holds", "findings", "absent"},
    "show": {"ids"},
    "study": {"path", "summary", "n_failed"},
    "advise": {"n_examples", "reasons", "sizes", "notes"},
    "report": {"out", "size_bytes", "n_pictures", "n_suspects", "missing", "figures"},
    "export": {"n_rows"},
    "verify": {"faults", "n_files", "is_finished"},
    "map": {"n_shown"},
    "completion": set(),
    "noise inject": {"n_examples", "n_wrong", "kind", "seed"},
    "noise find": SUSPECTS,
    "noise audit": {"ids", "n_left", "result"},
    "noise check": {"all", "by_label"},
    "noise apply": {"classes", "n_left", "rows"},
}
CALLS = """
    noise inject SET --rate 0.1 --out noisy.csv
    prune RUN --keep 0.5 --out kept.csv
    embed SET --encoder pixels --components 4 --out features.npy
    km features.npy --clusters 2 --out km.csv
    map features.npy --color cluster --clusters 2 --out map.png
    duplicates SET --out duplicates.csv
    check RUN
    show SET --count 4
    advise RUN
    report RUN --out page.html
    export RUN --probabilities p.npy
    verify RUN
    noise find RUN --out suspects.csv
    noise check RUN --truth noisy.csv
    noise apply RUN --drop --out cleaned.csv
    noise audit RUN --size 12
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Make a set of pictures, and a run of it."""
    folder = tmp_path_factory.mktemp("json")
    make_pictures(folder / "set")
    make_pictures(folder / "other")
    assert main(["score", str(folder / "set"), "--out", str(folder / "run"), *SETTINGS, "--executor", "serial", "--quiet"]) == 0
    return folder


@pytest.fixture
def call(place, capfd, monkeypatch):
    """Return a function that runs a command line with --json, and gives its object."""
    monkeypatch.chdir(place)

    def run(words):
        capfd.readouterr()
        code = main([*words, "--json"])
        out, err = capfd.readouterr()
        assert err == ""
        (line,) = out.splitlines()
        found = json.loads(line)
        assert found["exit_code"] == code
        assert set(found) - {"result", "error"} | {"command"} == BESIDE
        return found

    return run


@pytest.mark.parametrize("words", [one.split() for one in CALLS.strip().splitlines()], ids=lambda words: "-".join(words[:2]))
@pytest.mark.usefixtures("undrawn")
def test_every_command_gives_an_object_with_its_keys(words, call, place):
    found = call([{"SET": "set", "RUN": "run"}.get(word, word) for word in words])
    assert found["exit_code"] == 0
    assert KEYS[found["command"]] <= set(found["result"])
    if "--out" in words:
        assert words[words.index("--out") + 1] in found["written"]
        assert (place / words[words.index("--out") + 1]).exists()


def test_a_run_too_and_the_question_of_a_study(call):
    assert call(["score", "set", "--out", "run", *SETTINGS])["result"].keys() >= KEYS["score"]
    assert call(["study", "set", "--preset", "half", "--print-spec"])["result"]["preset"] == "half"


@pytest.mark.long
def test_a_study_too(call):
    study = call(["study", "set", "--preset", "half", "--run", "run", "--out", "study", "--test", "other", *FEW])["result"]
    assert study.keys() == KEYS["study"]
    assert study["summary"].keys() >= SUMMARY


def test_every_command_is_among_the_tested():
    names = {one.__name__.rstrip("_") for one in COMMANDS} | {f"noise {one.__name__}" for one in NOISE_COMMANDS}
    assert names - set(KEYS) <= {"demo", "review"}  # the one gives what score does, the other serves and is refused


def test_labels_are_names_and_rows_are_complete(call, place):
    Image.open(place / "set" / "grün" / "7.png").save(place / "set" / "[red]rot" / "copy.png")
    pair = call(["duplicates", "set"])["result"]["rows"][0]
    assert {pair["label"], pair["other_label"]} == {"[red]rot", "grün"}
    (place / "set" / "[red]rot" / "copy.png").unlink()
    rows = call(["prune", "run", "--count", "3"])["result"]["rows"]
    assert len(rows) == 3
    assert all(row["id"].startswith(row["label"]) for row in rows)


def test_suspects_come_first_as_in_the_file(call, place):
    rows = call(["noise", "find", "run", "--out", "first.csv"])["result"]["rows"]
    assert [row["rank"] for row in rows] == list(range(1, 25))
    assert [row["id"] for row in rows] == read_table(place / "first.csv").columns["id"].tolist()
    assert {"is_suspect", "probability", "score", "reason"} <= rows[0].keys()


@pytest.mark.parametrize(
    ("words", "code", "kind"),
    [
        (["prune", "run"], 2, "input"),
        (["prune", "run", "--kep", "1"], 2, "input"),
        (["verify", "nowhere"], 2, "input"),
        (["review", "run"], 2, "input"),
    ],
)
def test_errors_are_objects_with_the_same_exit_code(words, code, kind, call):
    found = call(words)
    assert (found["exit_code"], found["error"]["kind"], "result" in found) == (code, kind, False)
    assert found["error"]["message"]


def test_a_damaged_run_is_told(call, place):
    file = place / "run" / "scores.parquet"
    whole = file.read_bytes()
    file.write_bytes(whole[:-4])
    try:
        assert call(["prune", "run", "--keep", "0.5"])["error"]["kind"] == "store"
        found = call(["verify", "run"])
        assert (found["exit_code"], len(found["result"]["faults"]), len(found["errors"])) == (3, 1, 1)
    finally:
        file.write_bytes(whole)


def test_in_a_process_of_its_own_and_words_are_back_afterwards(place, capsys):
    done = run_cli("prune", place / "run", "--keep", "0.5", "--json")
    assert json.loads(done.stdout)["result"]["n_kept"] == 12
    assert json.loads(run_cli("--version", "--json").stdout)["command"] == "version"
    assert main(["prune", str(place / "run"), "--keep", "0.5"]) == 0
    assert capsys.readouterr().out.startswith("kept 12 of 24")


def test_json_is_an_option_and_no_value():
    assert take_json(["prune", "--json", "run"]) == (["prune", "run"], True)
    assert take_json(["prune", "--", "--json"]) == (["prune", "--", "--json"], False)


@dataclass(frozen=True)
class Said:
    path: Path
    value: np.float32
    names: tuple[str, ...]
    table: dict[str, np.ndarray]

    def __str__(self):
        return "words"


def test_plain_data_of_what_results_hold():
    said = plain(Said(Path("a/b"), np.float32("nan"), ("x",), {"y": np.array([1.5, np.inf])}))
    assert said == {"path": "a/b", "value": None, "names": ["x"], "table": {"y": [1.5, None]}, "text": "words"}
