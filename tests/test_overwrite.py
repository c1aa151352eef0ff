"""Nothing that a person may have edited is overwritten: decisions are carried over, other files are kept unless it is asked."""

import numpy as np
import pytest

import dataprune as dp
from dataprune.errors import InputError
from dataprune.tables import read_table, write_table

CLASSES = ("0", "10", "2")


@pytest.fixture
def found():
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 3
    p = np.full((60, 3), 0.02)
    p[np.arange(60), labels] = 0.96
    p[:3] = p[:3, [1, 2, 0]]
    names = [f"{label}/{row}.png" for row, label in enumerate(labels)]
    return dp.find_suspects(dp.Evidence(labels, p * (1 + 0.01 * rng.random(p.shape)), ids=np.array(names), classes=CLASSES))


def filled(path, rows, column="decision", word="drop"):
    columns = read_table(path, as_text=True).columns
    columns.setdefault(column, np.full(60, "", object))[rows] = word
    order = np.random.default_rng(1).permutation(60)
    write_table(path, {name: values[order] for name, values in columns.items()})


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_decisions_are_carried_over(found, tmp_path, ending):
    out = tmp_path / f"s.{ending}"
    assert dp.write_suspects(found, out) == 0
    filled(out, [4, 0])
    dropped = {name for name, word in zip(*map(read_table(out).columns.get, ("id", "decision")), strict=True) if word}
    undecided = next(name for name in found.ids.tolist() if name not in dropped)
    filled(out, [list(read_table(out).columns["id"]).index(undecided)], "new_label", "2")
    assert dp.write_suspects(found, out) == 3
    table = read_table(out, as_text=True).columns
    assert table["id"].tolist() == found.ids[found.order].tolist(), "the most suspect first"
    assert {name for name, word in zip(table["id"], table["decision"], strict=True) if word} == dropped
    assert [name for name, word in zip(table["id"], table["new_label"], strict=True) if word] == [undecided]
    assert dp.read_suspects(out).labels.tolist() == found.labels[found.order].tolist()
    dp.write_suspects(found, out, overwrite=True)
    assert "new_label" not in read_table(out).columns
    assert not any(read_table(out).columns["decision"])


@pytest.mark.parametrize("change", ["suggestion", "example", "column"])
def test_what_cannot_be_carried_over_is_refused(found, tmp_path, change):
    out = tmp_path / "s.csv"
    dp.write_suspects(found, out)
    filled(out, [5])
    columns = read_table(out, as_text=True).columns
    row = list(columns["decision"]).index("drop")
    if change == "suggestion":
        given = columns["label"][row]
        columns["suggested_label"][row] = next(one for one in CLASSES if one not in (given, columns["suggested_label"][row]))
    elif change == "example":
        columns["id"][row] = "other.png"
    else:
        columns["who"] = columns["id"]
    write_table(out, columns)
    before = out.read_bytes()
    with pytest.raises(InputError, match=r"s\.csv.*--overwrite"):
        dp.write_suspects(found, out)
    assert out.read_bytes() == before
    dp.write_suspects(found, out, overwrite=True)
    assert out.read_bytes() != before


def test_another_kept_set_is_refused_and_the_same_is_not(tmp_path):
    score, out = np.arange(10.0), tmp_path / "kept.csv"
    dp.write_kept(dp.select(score, 0.5), out)
    dp.write_kept(dp.select(score, 0.5), out)
    with pytest.raises(InputError, match=r"kept\.csv.*--overwrite"):
        dp.write_kept(dp.select(score, 0.4), out)
    assert len(read_table(out).columns["id"]) == 5
    dp.write_kept(dp.select(score, 0.4), out, overwrite=True)
    assert len(read_table(out).columns["id"]) == 4


@pytest.mark.parametrize("theirs", ['{"mine": 1}', "no JSON"])
def test_what_lies_beside_a_kept_set_or_a_finding_is_not_replaced(found, tmp_path, theirs):
    kept = dp.select(np.arange(10.0), 0.5)
    for out, write in (
        (tmp_path / "kept.csv", lambda **how: dp.write_kept(kept, tmp_path / "kept.csv", **how)),
        (tmp_path / "s.csv", lambda **how: dp.write_suspects(found, tmp_path / "s.csv", **how)),
    ):
        beside = out.with_name(f"{out.name}.json")
        beside.write_text(theirs)
        with pytest.raises(InputError, match=rf"{beside.name}.*--overwrite"):
            write()
        assert (beside.read_text(), out.exists()) == (theirs, False)
        write(overwrite=True)
        write()


def test_on_the_command_line(cli, tmp_path):
    out = tmp_path / "noisy.csv"
    inject = ("noise", "inject", "digits", "--rate", "0.1", "--out", out, "--seed")
    assert cli(*inject, 0)[0] == 0
    assert cli(*inject, 0)[0] == 0
    code, _, err = cli(*inject, 1)
    assert (code, "--overwrite" in err, str(out) in err) == (2, True, True)
    assert cli(*inject, 1, "--overwrite")[0] == 0


def test_a_picture_that_somebody_made_is_not_drawn_over(cli, tmp_path):
    out = tmp_path / "sheet.png"
    show = ("show", "digits", "--count", "1", "--out", out)
    for seed in (0, 1):  # another sheet of ours is replaced
        assert cli(*show, "--seed", seed)[0] == 0
    out.write_bytes(b"mine")
    code, _, err = cli(*show)
    assert (code, "--overwrite" in err, out.read_bytes()) == (2, True, b"mine")
    assert cli(*show, "--overwrite")[0] == 0


@pytest.mark.usefixtures("undrawn")
def test_a_page_that_somebody_wrote_is_not_replaced(cli, run_folder, tmp_path):
    page = tmp_path / "report.html"
    page.write_text("<p>mine</p>")
    code, _, err = cli("report", run_folder, "--out", page)
    assert (code, "--overwrite" in err, page.read_text()) == (2, True, "<p>mine</p>")
    for more in (["--overwrite"], ["--static"]):
        assert cli("report", run_folder, "--out", page, *more)[0] == 0
