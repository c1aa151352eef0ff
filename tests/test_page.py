"""The page: what it says, what it carries, and that nothing in the data can break out of it."""

import base64
import hashlib
import json
import re
import shutil
from dataclasses import replace
from functools import cache
from html import unescape
from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix

import dataprune as dp
from dataprune.data import read_features
from dataprune.data.dataset import EncoderRecord
from dataprune.data.decode import thumbnail
from dataprune.errors import InputError
from dataprune.report.figures import write_plot
from dataprune.report.page import Options, write_report
from dataprune.report.page.build import run_page
from dataprune.report.page.data import gather
from dataprune.report.page.examples import PAGE_BYTES, RESERVED_BYTES, class_ends, ends, nearest, pictures, records, wanted
from dataprune.report.page.findings import class_rows, drop_finding, findings, matrix_of
from dataprune.report.page.render import html, policy, script_json
from dataprune.report.predictions import predictions_of
from dataprune.report.run_figures import distribution_data
from dataprune.run.clusters import add_features
from dataprune.run.manifest import MemberRecord
from dataprune.run.run import write_local
from dataprune.trace import MemberTrace
from pages import HOSTILE, material, pairs


class Reader(HTMLParser):
    """Collects what a page holds: scripts, addresses, attributes that act, and text."""

    def __init__(self):
        super().__init__()
        self.scripts, self.addresses, self.acting, self.text = [], [], [], []
        self._inside = None

    def handle_starttag(self, tag, attributes):
        self._inside = tag
        if tag == "script":
            self.scripts.append(dict(attributes).get("type"))
        self.addresses += [value for name, value in attributes if name in ("src", "href", "srcset", "action", "data") and value]
        self.acting += [name for name, _ in attributes if name.startswith("on") or name == "style"]

    def handle_data(self, data):
        if self._inside not in ("script", "style"):
            self.text.append(data)


def page_of(one, **options):
    asked = Options(**options)
    return html(run_page(one, asked), is_static=asked.is_static)


@cache
def usual_page():
    return page_of(material())


def read(text):
    reader = Reader()
    reader.feed(text)
    return reader


def payload_of(text):
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)[1])


# EnsemblePredictions, by hand and by another route


def trace_by_hand():
    """Two members, two epochs, three examples of two classes; member 0 saw examples 0 and 1, member 1 saw examples 1 and 2."""
    labels = np.array([0, 1, 0])
    predicted = np.array([[[0, 0, 1], [0, 1, 1]], [[1, 1, 0], [1, 1, 0]]], np.int32)
    p_label = np.array([[[0.6, 0.4, 0.3], [0.8, 0.75, 0.25]], [[0.2, 0.6, 0.7], [0.25, 0.875, 0.5]]], np.float32)
    seen = np.array([[True, True, False], [False, True, True]])
    members = []
    for m in range(2):
        last = np.where(labels == 0, p_label[m, -1], 1 - p_label[m, -1])
        arrays = {"predicted": predicted[m], "p_label": p_label[m], "trained_on": seen[m]}
        arrays["probabilities"] = np.stack([last, 1 - last], axis=1).astype(np.float16)
        members.append(MemberTrace(arrays, {"when": "clean", "seed": m, "epochs": 2, "n_classes": 2, "status": "ok"}))
    return dp.Trace(members, labels)


def test_answers_by_hand():
    told = predictions_of(trace_by_hand())
    assert told.which == "all"  # nobody left example 1 out, and not everybody saw example 0
    assert told.p_label == pytest.approx([0.525, 0.8125, 0.375], abs=1e-3)
    assert told.predicted.tolist() == [0, 1, 1]
    assert told.vote == pytest.approx([2 / 3, 1])  # ties go to class 0: first epoch (0,1)→0 right, (0,1)→0 wrong, (1,0)→0 right
    assert told.trained == pytest.approx([3 / 4, 1])
    assert told.held_out == pytest.approx([0, 0])
    assert np.isnan(told.changed[0])
    assert told.changed[1] == pytest.approx(1 / 6)


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 60), st.integers(2, 7), st.integers(0, 99))
def test_confusion_is_that_of_scikit_learn(n, n_classes, seed):
    rng = np.random.default_rng(seed)
    one = material(n, [f"class {c}" for c in range(n_classes)])
    predicted = rng.integers(0, n_classes, (n, 2)).astype(np.int32)
    one = replace(one, predictions=replace(one.predictions, top_classes=predicted))
    want = confusion_matrix(one.labels, predicted[:, 0], labels=np.arange(n_classes))
    assert np.array_equal(matrix_of(one)[1], want)


@settings(max_examples=20, deadline=None)
@given(st.integers(2, 80), st.integers(1, 30), st.integers(0, 99))
def test_ends_are_the_sorted_ends(n, count, seed):
    rng = np.random.default_rng(seed)
    score, ties = dp.Score("s", rng.integers(0, 5, n).astype(np.float64), -1), rng.permutation(n)
    order = sorted(range(n), key=lambda row: (score.values[row], ties[row]))
    assert ends(score, ties, count).hardest.tolist() == order[:count]
    labels = rng.integers(0, 3, n)
    for label, one in enumerate(class_ends(score, labels, 3, ties, count)):
        assert one.hardest.tolist() == [row for row in order if labels[row] == label][:count]


def test_nearest_is_that_of_a_naive_loop():
    features = np.random.default_rng(0).random((30, 4)).astype(np.float32)
    for row in (3, 17):
        distance = ((features - features[row]) ** 2).sum(axis=1)
        distance[row] = np.inf
        assert nearest(features, row, 4).tolist() == np.argsort(distance)[:4].tolist()
    assert sorted(nearest(features[:3], 1, 8).tolist()) == [0, 2]


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 400), st.integers(0, 99))
def test_distribution_counts_every_example_once(n, seed):
    rng = np.random.default_rng(seed)
    labels, values = rng.integers(0, 4, n), rng.normal(size=n) * 10.0 ** rng.integers(-6, 6)
    data = distribution_data(dp.Score("s", values, 1), labels, list("abcd"))
    assert data.counts[0].sum() == n
    assert np.array_equal(data.counts[1:].sum(axis=0), data.counts[0])
    assert data.quantiles[0, 2] == pytest.approx(np.median(values))


def test_thumbnails_are_small_and_keep_tiny_pictures_as_they_are():
    import io

    from PIL import Image

    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(thumbnail(pixels))).convert("RGB")), pixels)
    assert Image.open(io.BytesIO(thumbnail(np.zeros((200, 100, 1), np.uint8), 96))).size == (48, 96)


@pytest.mark.usefixtures("undrawn")
def test_first_mention_decides_on_importance_and_pictures_stop_at_the_limit():
    one = material()
    rows = wanted([np.array([5, 3]), np.array([3, 9])])
    assert rows.rows.tolist() == [5, 3, 9]
    found, left_out = pictures(one, rows.rows, Options(max_pictures=2), 0)
    assert ([bool(picture) for picture in found], left_out) == ([True, True, False], "")
    assert records(one, rows.rows)["id"] == ["5.png", "3.png", "9.png"]


@pytest.mark.usefixtures("undrawn")
def test_a_page_has_room_for_so_much_and_says_what_is_left_out():
    one = material(400)
    one = replace(one, images=np.random.default_rng(0).integers(0, 256, (400, 112, 112, 3), np.uint8))
    rows, taken = np.arange(400), PAGE_BYTES - RESERVED_BYTES
    assert sum(map(len, pictures(one, rows, Options(), 0)[0])) < taken
    found, left_out = pictures(one, rows, Options(), taken - 300_000)
    assert sum(map(len, found)) <= 300_000
    assert all(found[: len(list(filter(None, found)))]), "the last ones are left out"
    assert f"{found.count(''):,} of 400 are not embedded" in left_out
    smooth = replace(one, images=np.repeat(np.repeat(one.images[:, :7, :7], 16, axis=1), 16, axis=2))
    first = sum(map(len, pictures(smooth, rows[:200], Options(), 0)[0]))
    smaller, said = pictures(smooth, rows, Options(), taken - int(1.9 * first))
    assert all(smaller)
    assert sum(map(len, smaller[200:])) < 0.9 * first, "all fit, since those after the first are smaller"
    assert "but the first 200 are at most" in said
    assert left_out in page_of(replace(one, gone=(left_out,)))


# What it says


def test_classes_by_hand():
    rows = class_rows(material(6, ("cat", "dog")))
    assert [(row.count, row.accuracy, row.suspects, row.taken_for) for row in rows] == [
        (3, pytest.approx(2 / 3, abs=1e-3), 1, "dog"),
        (3, pytest.approx(2 / 3, abs=1e-3), 1, "cat"),
    ]


def test_findings_say_what_to_check_what_to_drop_and_what_else():
    one = material(100)
    labels, drop, other = findings(one)
    assert labels.title == "Check 20 labels"
    assert drop.title == "Pruning hardly pays here"
    assert "33 examples a class are few" in drop.text
    assert drop.command == "dataprune prune RUN --keep 0.7 --strategy random --balanced --out kept.csv"
    assert "is the hardest class" in other.title
    conflicts = findings(replace(one, **pairs(one)))[2]
    assert conflicts.title == "1 duplicate pair disagrees on the label"
    assert "so one may be wrong" in conflicts.text
    same = replace(pairs(one)["duplicates"], is_exact=np.array([True, True]))
    assert "so at least one label is wrong" in findings(replace(one, **pairs(one) | {"duplicates": same}))[2].text


def test_the_likelier_half_of_a_contradiction_is_not_counted_as_wrong():
    one = material(20, ("cat", "dog"))
    found, partner = one.suspects, np.full(20, -1)
    partner[[0, 3]] = 3, 0
    flagged = found.is_suspect | (partner >= 0)
    one = replace(one, suspects=replace(found, is_suspect=flagged, contradicted_by=partner))
    assert (len(one.suspects.flagged), len(one.probable)) == (5, 4)
    finding = findings(one)[0]
    assert finding.title == "Check 5 labels"
    assert "flagged to look at: 5, 4 of them probably wrong" in finding.text
    assert sum(row.suspects for row in class_rows(one)) == 4


def test_what_may_go_first_is_what_advise_says():
    one = material(15_000)
    drop = drop_finding(replace(one, suspects=replace(one.suspects, n_wrong=0.0)))
    assert drop.title == "Drop the easiest 30 % first"
    assert "Begin with the easiest 4,500 by el2n" in drop.text
    assert drop.command == "dataprune prune RUN --keep 0.7 --strategy hardest --by el2n --out kept.csv"
    assert "of the 750 hardest, 750 are flagged" in drop.text
    noisy = drop_finding(one)
    assert noisy.title == "Drop the hardest 20 % and the easiest 10 %"
    assert noisy.command == "dataprune prune RUN --keep 0.7 --strategy window --by el2n --start 0.1 --out kept.csv"


def test_what_may_go_first_knows_of_the_encoder():
    """Of 5,000 pictures networks from scratch need the easy ones too, good eyes do not."""
    one = material(5_000)
    one = replace(one, suspects=replace(one.suspects, n_wrong=0.0))
    assert drop_finding(one).title == "Pruning hardly pays here"
    spec = replace(one.manifest.spec, encoder=EncoderRecord("timm:vit", "", 224, "its own"))
    assert drop_finding(replace(one, manifest=replace(one.manifest, spec=spec))).title == "Drop the easiest 30 % first"


def test_what_is_said_of_duplicates_and_confusions_is_where_it_was_looked_for_and_said_once():
    one = material(40)
    (_, _, other) = findings(material(40, ("cat", "dog")))
    assert other.text.count("most") == 1, "the most frequent confusion is that of the hardest class"
    assert "2 pairs in train and test:" in page_of(replace(one, **pairs(one)))
    assert "2 pairs in train:" in page_of(replace(one, **pairs(one) | {"beyond": {}, "pair_rows": np.array([[0, 1], [2, 3]])}))
    assert "share flagged" in page_of(one)
    few = material(5, tuple("abcde"))
    assert 'class="pairs"' not in page_of(few), "each pair once says nothing"
    assert 'class="pairs"' in page_of(one)


def test_a_share_in_a_reason_stays_on_one_line():
    one = material(40)
    reason = np.full(40, "b (right with 99 %)", object)
    said = payload_of(page_of(replace(one, suspects=replace(one.suspects, reason=reason))))["suspects"]
    assert {found["why"] for found in said} == {"b (right with 99\u00a0%)"}


@pytest.mark.parametrize(("low", "shown"), [(0.0, "wrong over 95\u00a0%"), (3.0, "wrong 100\u00a0%")])
def test_a_static_page_is_as_cautious_as_the_command(low, shown):
    one = material(40)
    found = replace(one.suspects, probability=np.full(40, 0.9999), n_wrong=30.0, n_wrong_low=low, n_wrong_high=40.0)
    page = page_of(replace(one, suspects=found), is_static=True)
    assert [words for words in ("wrong over 95\u00a0%", "wrong 100\u00a0%") if words in page] == [shown]


def test_without_suspects_the_page_counts_contradicted_labels():
    one = replace(material(), suspects=None, missing={"suspects": "no folds."})
    assert "are contradicted" in findings(one)[0].title
    assert "Suspects are left out: no folds." in page_of(one)


def test_networks_that_memorised_are_not_ranked_by_the_last_epoch():
    one = material()
    assert one.leading == "el2n"
    known = (MemberRecord(0, "ok", "", accuracy=0.995), MemberRecord(1, "failed", ""))
    assert replace(one, manifest=replace(one.manifest, members=known)).leading == "aum"


def test_a_pair_in_one_split_says_nothing_of_splits():
    one = material(100)
    found = pairs(one)
    duplicates = replace(found["duplicates"], other_split=np.array(["train", "train"]))
    assert "split" not in findings(replace(one, **found | {"duplicates": duplicates}))[2].text
    assert "1 lies in two splits" in findings(replace(one, **found))[2].text


# What it carries


def test_page_is_one_file_that_asks_for_nothing():
    text = usual_page()
    reader = read(text)
    assert reader.acting == []
    assert all(address.startswith(("#", "data:image/webp;base64,")) for address in reader.addresses)
    assert reader.scripts == ["application/json", None]
    assert "http" not in re.sub(r"http-equiv|http://www.w3.org/2000/svg", "", text)


def test_policy_names_style_and_script_by_their_hashes():
    digest = base64.b64encode(hashlib.sha256(b"a{}").digest()).decode()
    want = f"default-src 'none'; img-src data: blob:; style-src 'sha256-{digest}'; script-src 'none'; "
    assert policy("a{}", "") == want + "base-uri 'none'; form-action 'none'"
    assert "unsafe" not in usual_page().split("</head>")[0].split("<style>")[0]


def test_static_page_has_no_script_and_shows_everything():
    one = material()
    text = page_of(replace(one, **pairs(one)), is_static=True)
    reader = read(text)
    assert reader.scripts == []
    assert "<button" not in text
    shown = " ".join(reader.text)
    assert "Hardest by aum" in shown
    assert text.count("<img ") >= 8
    assert "script-src 'none'" in text.replace("&#39;", "'")


@pytest.mark.parametrize("is_static", [False, True])
def test_hostile_names_are_shown_and_never_become_markup(is_static):
    one = material(16, HOSTILE, ids=[f"{name}-{row}" for row, name in enumerate(HOSTILE * 2)])
    text = page_of(replace(one, **pairs(one)), is_static=is_static)
    reader = read(text)
    assert reader.acting == []
    assert reader.scripts == ([] if is_static else ["application/json", None])
    assert all(address.startswith(("#", "data:image/webp;base64,")) for address in reader.addresses)
    assert "\u202e" not in text
    assert "\\u202e" in text
    assert "49" not in [part.strip() for part in reader.text]
    if not is_static:
        told = payload_of(text)
        assert told["names"] == list(HOSTILE)
        assert set(told["examples"]["id"]) >= set(map(str, one.ids.tolist()))


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.text(max_size=9), st.lists(st.text(max_size=9) | st.integers() | st.booleans(), max_size=4), max_size=4))
def test_script_json_comes_back_and_closes_nothing(value):
    text = script_json(value)
    assert json.loads(text) == value
    assert not set("<>&\u2028\u2029") & set(text)


def test_figures_escape_what_comes_from_data(tmp_path):
    page = run_page(material(16, HOSTILE), Options())
    for name, plot in {**page.plots, **page.tables}.items():
        write_plot(plot, tmp_path / f"{name}.svg")
        assert "<script" not in (tmp_path / f"{name}.svg").read_text()


def test_data_of_each_plot_stand_beside_it():
    told = payload_of(usual_page())["plots"]
    assert {"epochs", "distribution-el2n"} <= set(told)
    one = told["distribution-el2n"]
    assert one["data"]["names"] == ["all", "cat", "dog", "ship"]
    assert sum(one["data"]["counts"][0]) == 40
    assert len(one["axes"][0]["box"]) == 4


@pytest.mark.usefixtures("undrawn")
def test_no_pictures_says_so_in_their_place():
    one = replace(material(), images=None, missing={"pictures": "The data are not where they were scored any more."})
    text = page_of(one, is_static=True)
    assert "Pictures are not shown." in text
    assert "no picture: the data were not found" in text
    assert "<img" not in text


@pytest.mark.usefixtures("undrawn")
def test_feature_vectors_have_a_map():
    features = np.random.default_rng(0).random((40, 4)).astype(np.float32)
    page = run_page(material(pictures=False, features=features), Options())
    assert "features" in page.plots
    text = html(page, is_static=True)
    assert str(page.payload["examples"]["name"][0]) in text
    assert "by t-SNE" in text
    assert "(of 40)" not in text, "all of them are drawn"


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize("n_classes", [2, 1000])
def test_two_and_a_thousand_classes(n_classes):
    one = material(1500 if n_classes == 1000 else 20, [f"class {c}" for c in range(n_classes)])
    page = run_page(one, Options(max_pictures=50))
    assert len(page.context["classes"]) == n_classes
    assert len(matrix_of(one)[0]) == min(30, n_classes)
    assert html(page).count("<tr>") < 5000


@pytest.mark.usefixtures("undrawn")
def test_class_of_one_example_and_class_of_none():
    one = material(7, ("cat", "dog", "ship", "never"))
    labels = np.array([0, 0, 0, 1, 1, 1, 2])
    scores = dp.Scores([dp.Score(s.name, s.values, s.harder, one.ids, labels) for s in one.scores.values()])
    text = page_of(replace(one, labels=labels, scores=scores))
    assert "never" in text


# From a run on disk


@pytest.mark.usefixtures("undrawn")
def test_report_of_a_run(run_folder, tmp_path, cli, monkeypatch):
    monkeypatch.setattr("dataprune.report.figures.DOTS_AN_INCH", 20)
    out = tmp_path / "report.html"
    asked = ("--title", "Flowers <3", "--figures", tmp_path / "figures")
    code, said, _ = cli("report", run_folder, "--out", out, *asked)
    assert code == 0
    text = out.read_text(encoding="utf-8")
    assert "<title>Flowers &lt;3</title>" in text
    assert str(run_folder.parent) not in text
    assert f"written: {out}" in said
    drawn = {path.name for path in (tmp_path / "figures").iterdir()}
    assert {"map.svg", "map.png", "epochs.png", "confusion.svg", "correlations.png", "distribution-el2n.svg"} <= drawn
    assert len(payload_of(text)["examples"]["id"]) == 24
    figure = (tmp_path / "figures" / "correlations.svg").read_text()
    assert all("Spearman's correlation" in unescape(one) for one in (text, figure)), "the page and the figure say the same"
    again = tmp_path / "again.html"
    write_report(run_folder, again, Options("Flowers <3"))
    assert again.read_bytes() == out.read_bytes()


@pytest.mark.usefixtures("undrawn")
def test_moved_pictures_cost_the_pictures_only(run_folder, flowers, tmp_path, cli):
    """With a run and pictures of its own: others read the shared ones."""
    run, data = shutil.copytree(run_folder, tmp_path / "run"), shutil.copytree(flowers, tmp_path / "flowers")
    write_local(run, source=str(data))
    hidden = data.rename(tmp_path / "hidden")
    code, _, err = cli("report", run, "--out", tmp_path / "a.html")
    assert code == 0
    assert "The data are not where they were scored any more. Give the data with --data DATA." in err
    text = (tmp_path / "a.html").read_text(encoding="utf-8")
    assert "Pictures are not shown." in text
    assert str(data) not in text
    code, _, _ = cli("report", run, "--out", tmp_path / "b.html", "--data", hidden)
    assert code == 0
    assert payload_of((tmp_path / "b.html").read_text(encoding="utf-8"))["examples"]["picture"][0]


@pytest.mark.usefixtures("undrawn")
def test_features_that_a_run_was_scored_with_are_on_its_page(run_folder, tmp_path):
    folder = shutil.copytree(run_folder, tmp_path / "run")
    run = dp.open_run(folder)
    vectors = np.random.default_rng(0).normal(size=(24, 5)).astype(np.float32)
    np.save(tmp_path / "own.npy", vectors)
    run = add_features(run, read_features(tmp_path / "own.npy"))
    page = run_page(gather(run), Options())
    assert {"features", "inertia"} <= set(page.plots)
    assert page.context["features_are"] == "the features that the run was scored with"
    assert str(tmp_path) not in html(page, is_static=True)
    (folder / "features").mkdir()
    (tmp_path / "own.npy").rename(folder / "features" / "swav.npy")  # as it lies when it was learned for the run
    add_features(run, read_features(folder / "features" / "swav.npy"))
    moved = folder.rename(tmp_path / "moved")
    assert "features" in run_page(gather(dp.open_run(moved)), Options()).plots
    np.save(moved / "features" / "swav.npy", vectors + 1)
    page = run_page(gather(dp.open_run(moved)), Options())
    assert "features" not in page.plots
    assert "The features that the run was scored with were changed since. Give them with" in html(page)
    assert "inertia" in page.plots
    (moved / "features" / "swav.npy").unlink()
    assert "are not where they were any more" in gather(dp.open_run(moved)).missing["features"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--out", "page.txt"), ("out`", ".html", "page.txt")),
        (("--out", "nowhere/page.html"), ("out`", "folder", "nowhere")),
        (("--out", "page.html", "--data", "digits"), ("digits", "--data")),
        (("--max-pictures", "-1"), ("--max-pictures", "-1")),
    ],
)
def test_wrong_calls_are_one_line(run_folder, cli, arguments, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, _, err = cli("report", run_folder, *arguments)
    assert (code, err.count("\n")) == (2, 1)
    assert all(word in err for word in words), err


def test_what_is_no_run_is_refused(tmp_path, cli):
    code, _, err = cli("report", tmp_path, "--out", tmp_path / "a.html")
    assert (code, "`RUN` must be a folder made by `dataprune score`" in err) == (2, True)


def test_negative_number_of_pictures_is_refused(run_folder, tmp_path):
    with pytest.raises(InputError, match="`max-pictures` must be 0 or more, got -1"):
        write_report(run_folder, tmp_path / "a.html", Options(max_pictures=-1))
