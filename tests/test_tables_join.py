"""Joining by name: whatever the names look like, no row moves to another example."""

import unicodedata

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataprune.errors import InputError
from dataprune.tables.join import align, join, key_column

IDS = ["lily/0.png", "lily/1.png", "rose/0.png"]


@pytest.mark.parametrize(
    "form",
    ["{}", "./{}", "/home/me/flowers/{}", "C:\\me\\{}", "flowers/{}"],
)
@pytest.mark.parametrize("has_ending", [True, False])
def test_forms_of_a_path(form, has_ending):
    keys = [form.format(name if has_ending else name.removesuffix(".png")) for name in reversed(IDS)]
    assert join(IDS, keys, "labels", "a.csv").rows.tolist() == [2, 1, 0]


def test_files_of_one_name_in_two_folders_are_never_mixed():
    with pytest.raises(InputError, match=r"labels.*lily/0\.png"):
        join(IDS, ["0.png", "1.png", "0.png"], "labels", "a.csv")


def test_both_sides_are_shown_where_some_fit():
    with pytest.raises(InputError, match=r"none for the id 'rose/0\.png' \(1 of 3\).*'tulip/0\.png'"):
        join(IDS, ["lily/0.png", "lily/1.png", "tulip/0.png"], "labels", "a.csv")


def test_a_key_that_stands_twice():
    with pytest.raises(InputError, match=r"once, got 'lily/1\.png' more than once in a\.csv"):
        join(IDS, [*IDS, "lily/1.png"], "labels", "a.csv")


def test_versions_are_no_endings():
    assert join(["a.1", "a.2"], ["a.2", "a.1"], "labels", "a.csv").rows.tolist() == [1, 0]
    with pytest.raises(InputError):
        join(["a.1", "a.2"], ["a", "b"], "labels", "a.csv")


names = st.text(st.sampled_from("ab0é\u0301/._- "), min_size=1, max_size=8).filter(lambda name: name.strip("/. ") != "")


@settings(max_examples=150, deadline=None)
@given(ids=st.lists(names, min_size=1, max_size=8, unique=True), seed=st.integers(0, 999), form=st.sampled_from(["NFC", "NFD"]))
def test_no_row_moves(ids, seed, form):
    order = np.random.default_rng(seed).permutation(len(ids))
    keys = [unicodedata.normalize(form, "./" + ids[row]) for row in order]
    try:
        joined = join(ids, keys, "labels", "a.csv")
    except InputError:
        return  # two that cannot be told apart in any form
    for row, place in enumerate(joined.rows.tolist()):
        assert unicodedata.normalize("NFC", ids[order[place]]) == unicodedata.normalize("NFC", ids[row])


def test_the_key_is_the_column_that_names_the_examples():
    columns = {"split": ["x"] * 3, "photo": ["rose/0", "lily/1", "lily/0"], "label": ["a", "b", "b"]}
    assert key_column(columns, IDS) == "photo"
    assert key_column({"label": ["a"] * 3}, IDS) is None
    assert key_column({"Id": ["7", "8", "9"], "label": ["a"] * 3}, IDS) == "Id"


def test_a_column_of_ids_of_something_else_is_refused_and_not_taken_by_row():
    with pytest.raises(InputError, match="row for every example"):
        align({"patient_id": ["P2", "P0", "P1"], "truth": ["a", "b", "b"]}, 3, ["0", "1", "2"], "truth", "truth.csv")


def test_a_ranking_is_no_key_of_row_numbers():
    assert key_column({"rank": ["2", "0", "1"]}, ["0", "1", "2"]) is None
    assert key_column({"id": ["2", "0", "1"]}, ["0", "1", "2"]) == "id"


@pytest.mark.parametrize("name", ["row", "index", "nr", "row_number"])
def test_rows_are_named_by_their_number_and_a_ranking_names_nothing(name):
    ids, order = list("0123"), list("2031")
    assert key_column({name: order, "label": list("xxyy")}, ids) == name
    assert key_column({"rank": order, "label": list("xxyy")}, ids) is None
    assert key_column({name: order, "label": list("xxyy")}, ["a.png", "b.png", "c.png", "d.png"]) is None
