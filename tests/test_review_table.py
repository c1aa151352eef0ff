"""The table of a review: filters and orders against plain loops, groups, cells, lassos."""

from dataclasses import fields

import numpy as np
import pytest

from dataprune.errors import InputError
from dataprune.review.table import Lasso, Query, ReviewTable, groups_of, region


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(0)
    n = 200
    values = {"el2n": rng.integers(-3, 4, n).astype(np.float32), "aum": rng.normal(size=n).astype(np.float32)}
    values["el2n"][150:] = np.nan
    names = np.array([f"{'Cat' if row % 3 else 'dog'}/ß{row}.png" for row in range(n)], np.dtypes.StringDType())
    split = np.where(np.arange(n) < 150, 0, 2).astype(np.int8)
    label, prediction = rng.integers(0, 3, n).astype(np.int32), rng.integers(-1, 3, n).astype(np.int32)
    group = groups_of(np.array([[3, 9], [9, 160], [20, 21]]), n)
    made = ReviewTable(names, split, label, prediction, group, values)
    made.decision[:6] = [1, 2, 3, 0, 2, 1]
    return made


def slow(table, asked):
    """Answer a query row by row."""

    def fits(row):
        value = {name: float(column[row]) for name, column in table.values.items()}
        word = ("none", "keep", "drop", "relabel")[table.decision[row]]
        return (
            all(getattr(asked, name) in (None, getattr(table, name)[row]) for name in ("split", "label", "prediction"))
            and all(low <= value[name] <= high for name, (low, high) in asked.ranges.items())
            and asked.text.lower() in str(table.ids[row]).lower()
            and (asked.decision in ("any", word) or (asked.decision == "made" and word != "none"))
            and not (asked.changed and table.prediction[row] in (-1, table.label[row]))
        )

    rows = [row for row in range(len(table)) if fits(row)]
    if not asked.sort:
        return rows
    column = table.values.get(asked.sort)
    column = column if column is not None else getattr(table, asked.sort).astype(float)
    is_missing = np.isnan(column) | ((column == -1) & (asked.sort not in table.values))
    return sorted(
        rows, key=lambda row: (is_missing[row], 0 if is_missing[row] else (-1 if asked.descending else 1) * column[row], row)
    )


@pytest.mark.parametrize(
    "asked",
    [
        Query(),
        Query(sort="el2n"),
        Query(sort="el2n", descending=False),
        Query(sort="prediction", descending=False),
        Query(label=1, prediction=2, sort="aum"),
        Query(split=2, changed=True),
        Query(ranges={"el2n": (-1, 1), "aum": (0, 9)}, sort="aum", descending=False),
        Query(text="CAT/ß1", sort="el2n"),
        Query(text="ß7.PNG"),
        Query(decision="none", split=0),
        Query(decision="made", sort="aum"),
        Query(decision="drop"),
        Query(text="nobody"),
    ],
    ids=lambda asked: "-".join(f.name for f in fields(asked) if getattr(asked, f.name) not in (f.default, {})),
)
def test_a_query_is_what_a_loop_finds(table, asked):
    assert table.query(asked).tolist() == slow(table, asked)


def test_groups_copies_and_leaks(table):
    assert table.query(Query(group=-1)).tolist() == [3, 9, 20, 21, 160]
    assert table.query(Query(group=1)).tolist() == [20, 21]
    assert table.query(Query(leaks=True)).tolist() == [3, 9, 160]
    assert table.query(Query(copies=True)).tolist() == [9, 21, 160]


def test_a_lasso_holds_what_lies_in_it(table):
    corners = ((-1.0, -1.0), (1.0, -1.0), (0.0, 1.0))
    rows = table.query(Query(lasso=Lasso("el2n", "aum", corners)))
    x, y = table.values["el2n"], table.values["aum"]
    assert rows.tolist() == [row for row in range(150) if -1 < y[row] < 1 and abs(x[row]) < (1 - y[row]) / 2]
    assert len(rows) > 5
    assert not region(np.array([[np.nan, 0.0]], np.float32), np.array(corners, np.float32)).any()


def test_a_lone_end_of_a_range_is_exact():
    values = np.array([0.1, 0.95, 0.3], np.float32)
    none = np.full(3, -1, np.int32)
    one = ReviewTable(np.array(["a", "b", "c"], np.dtypes.StringDType()), np.zeros(3, np.int8), none, none, none, {"p": values})
    assert one.query(Query(ranges={"p": (0.95, np.inf)})).tolist() == [1]
    assert one.count_decisions() == {"keep": 0, "drop": 0, "relabel": 0}
    assert values[one.query(Query(sort="p", descending=False))].tolist() == np.sort(values).tolist()


@pytest.mark.parametrize("asked", [Query(sort="el2m"), Query(ranges={"el2m": (0, 1)}), Query(decision="dropp")])
def test_what_is_unknown_is_named(table, asked):
    with pytest.raises(InputError, match=r"el2m|dropp"):
        table.query(asked)
