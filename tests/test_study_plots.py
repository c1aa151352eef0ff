"""Pictures of a study: what is in them, and that they are the same each time."""

import re
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from dataprune.errors import InputError
from dataprune.report.colors import COLOURS, STYLES, ramp, style_of
from dataprune.report.figures import inline, plain, write_plot
from dataprune.report.plot import plot_data
from dataprune.report.run_figures import both_correlations_data
from dataprune.report.study_figures import (
    accuracy_data,
    differences_data,
    epoch_curves,
    epoch_plots,
    styles_of,
    window_data,
    write_study_plots,
)
from dataprune.scores import Score, Scores
from dataprune.study.cost import study_costs
from dataprune.study.summary import summarise
from dataprune.training.settings import Cost
from study_tables import SEVEN, easy_rows, sweep_rows, trials_of, window_rows


def study_of(trials):
    """Return what pictures need of a study, each training with a curve of five epochs."""
    curves = [SimpleNamespace(validation=tuple(one * np.linspace(0.5, 1, 5))) for one in trials["test_accuracy"]]
    costs = study_costs(trials, Cost(20.0, 40_000, 4e10))
    return SimpleNamespace(trials=trials, summary=summarise(trials), results=curves, measure="test_accuracy", costs=costs)


def scores(n=200):
    draw = np.random.default_rng(0)
    base = draw.random(n)
    return Scores([Score("el2n", base), Score("std", base + draw.random(n)), Score("pred_sum", np.round(4 - 4 * base), -1)])


def test_accuracy_by_size():
    summary = summarise(trials_of(sweep_rows()))
    data = accuracy_data(summary)
    (panel,) = data.panels
    assert [line.label for line in panel.lines] == ["el2n", "forget", "std", "random"]
    assert [level.label for level in panel.levels] == ["all data"]
    el2n = panel.lines[0]
    assert np.allclose(el2n.x, 100 * np.array([1, *SEVEN]), atol=0.5)
    rows = [0, *np.flatnonzero(summary.table["score"] == "el2n")]
    assert np.allclose(el2n.y, 100 * summary.table["test_accuracy"][rows])
    assert np.allclose(el2n.high, 100 * summary.table["high"][rows])
    assert el2n.y[0] == panel.levels[0].y
    assert "3 seeds" in data.description


def test_difference_to_random_has_random_at_zero():
    (panel,) = differences_data(summarise(trials_of(sweep_rows()))).panels
    assert [line.label for line in panel.lines] == ["el2n", "forget", "std"]
    assert (panel.levels[0].label, panel.levels[0].y) == ("random", 0)


def test_windows_by_arm():
    one, other = window_rows(), window_rows(drop=0.1)
    data = window_data(summarise(trials_of(one + other, arm=["given"] * len(one) + ["noise"] * len(other))))
    assert [panel.title for panel in data.panels] == ["labels as given", "labels made wrong"]
    assert [line.label for line in data.panels[0].lines] == ["el2n", "std"]
    assert np.allclose(data.panels[1].lines[0].x, [0, 10, 20, 30, 40, 50, 60], atol=0.5)
    assert [level.label for level in data.panels[0].levels] == ["random, keep 40 %", "all data"]


def test_easy_against_hard_is_told_by_the_line():
    data = accuracy_data(summarise(trials_of(sweep_rows(("el2n", "std")) + easy_rows())))
    lines = {line.label: line for line in data.panels[0].lines}
    assert set(lines) == {"el2n", "std", "el2n easiest", "std easiest", "random"}
    assert lines["el2n easiest"].style.is_hollow
    assert not lines["el2n"].style.is_hollow
    assert lines["el2n easiest"].style.colour == lines["el2n"].style.colour


def test_by_epoch_is_the_mean_over_seeds_and_compares_what_is_of_one_size():
    study = study_of(trials_of(sweep_rows(sizes=(0.7, 0.5))))
    found = epoch_plots(study.summary.cells, epoch_curves(study))
    assert list(found) == ["keep 70 %", "keep 50 %"]
    (panel,) = found["keep 50 %"].panels
    assert [line.label for line in panel.lines] == ["all data", "random", "el2n", "forget", "std"]
    own = np.flatnonzero((study.trials["score"] == "el2n") & (study.trials["keep"] == 0.5))
    assert np.allclose(panel.lines[2].y, 100 * np.mean([study.results[row].validation for row in own], axis=0))
    assert panel.lines[2].x.tolist() == [1, 2, 3, 4, 5]


def test_by_epoch_of_windows_has_random_of_the_same_size_and_a_plot_for_each_arm():
    one = window_rows()
    study = study_of(trials_of(one + one, arm=["given"] * len(one) + ["noise"] * len(one)))
    found = epoch_plots(study.summary.cells, epoch_curves(study))
    assert len(found) == 14
    assert next(iter(found)) == "window of 40 % from 0 %, labels as given"
    assert all("random" in [line.label for line in plot.panels[0].lines] for plot in found.values())


def test_seeds_of_different_lengths_have_no_curve_by_epoch():
    study = study_of(trials_of(sweep_rows(sizes=(0.5,))))
    study.results[0].validation = (0.5,)
    assert [curve is None for curve in epoch_curves(study)].count(True) == 1


def test_numbers_of_clusters_have_a_ramp():
    rows, clusters = [], []
    for number in (5, 100):
        rows += [row for row in sweep_rows(("km",), seed=number) if row[0] == "km"]
        clusters += [number] * 21
    rest = [row for row in sweep_rows(("km",)) if row[0] != "km"]
    data = accuracy_data(summarise(trials_of(rows + rest, clusters=clusters + [0] * len(rest))))
    lines = data.panels[0].lines
    assert [line.label for line in lines] == ["km (5 clusters)", "km (100 clusters)", "random"]
    assert len({line.style.colour for line in lines}) == 3


def test_what_a_study_has_not_is_no_picture():
    summary = summarise(trials_of(window_rows()))
    assert accuracy_data(summary) is None
    assert window_data(summarise(trials_of(sweep_rows()))) is None


def test_correlations_below_pearson_above_spearman():
    from scipy.stats import pearsonr, spearmanr

    given = scores()
    data = both_correlations_data(given)
    assert data.strength[2, 0] == pytest.approx(pearsonr(given["el2n"].difficulty, given["pred_sum"].difficulty).statistic)
    assert data.strength[0, 2] == pytest.approx(spearmanr(given["el2n"].difficulty, given["pred_sum"].difficulty).statistic)


@pytest.mark.long
def test_everything_is_drawn_and_the_same_each_time(tmp_path):
    easy = [row for row in easy_rows(("el2n",)) if row[2] in (0.7, 0.5)]
    study = study_of(trials_of(sweep_rows(("el2n", "$x^<script>"), sizes=(0.7, 0.5)) + easy))
    first = write_study_plots(study, tmp_path / "one", scores())
    second = write_study_plots(study, tmp_path / "two", scores())
    names = {"accuracy", "against-random", "by-epoch-1", "by-epoch-2", "correlations"}
    assert {path.name for path in first} == {f"{name}.{ending}" for name in names for ending in ("png", "svg")}
    for one, other in zip(first, second, strict=True):
        assert one.read_bytes() == other.read_bytes(), one.name
    for path in first:
        if path.suffix == ".png":
            with Image.open(path) as picture:
                assert picture.width == 1080
        else:
            text = path.read_text()
            assert "<script>" not in text
            assert "<dc:date>" not in text


def test_other_endings_are_refused(tmp_path):
    data = accuracy_data(summarise(trials_of(sweep_rows())))
    with pytest.raises(InputError, match=r"`out` must end in \.png or \.svg, got '.*plot\.pdf'\."):
        write_plot(data, tmp_path / "plot.pdf")
    with pytest.raises(InputError, match=r"`out` must lie in a folder that exists, got .*none\."):
        write_plot(data, tmp_path / "none" / "plot.png")
    assert list(tmp_path.iterdir()) == []


def luminance_and_hue(colour, matrix):
    red, green, blue = (int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5))
    linear = np.where(
        np.array([red, green, blue]) <= 0.04045,
        np.array([red, green, blue]) / 12.92,
        ((np.array([red, green, blue]) + 0.055) / 1.055) ** 2.4,
    )
    return np.clip(matrix @ linear, 0, 1) ** (1 / 2.2)


# Viénot, Brettel and Mollon 1999, in linear RGB: what red-blind and green-blind eyes see.
PROTAN = np.array([[0.11238, 0.88762, 0], [0.11238, 0.88762, 0], [0.00401, -0.00401, 1]])
DEUTAN = np.array([[0.29275, 0.70725, 0], [0.29275, 0.70725, 0], [-0.02234, 0.02234, 1]])


@pytest.mark.parametrize("eyes", [np.eye(3), PROTAN, DEUTAN], ids=["all", "red-blind", "green-blind"])
def test_colours_are_told_apart_by_all_eyes(eyes):
    seen = np.array([luminance_and_hue(colour, eyes) for colour in COLOURS])
    apart = np.linalg.norm(seen[:, None] - seen, axis=2)[np.triu_indices(len(COLOURS), 1)]
    assert apart.min() > 0.12, apart.min()


def test_lines_of_one_plot_are_told_apart():
    rows = sweep_rows(("el2n", "km")) + easy_rows(("el2n",))
    cells = summarise(trials_of(rows)).cells
    lines = [next(cell for cell in cells if cell.name == name) for name in dict.fromkeys(cell.name for cell in cells)]
    assert len(set(styles_of(lines))) == len(lines)
    assert len(set(styles_of(lines * 2))) == 2 * len(lines)


def test_svg_of_a_page_has_variables_for_colours_and_no_style(tmp_path):
    rows = sweep_rows(("el2n", "$x^</script><script>alert(1)"), sizes=(0.7, 0.5))
    data = accuracy_data(summarise(trials_of(rows)))
    drawn = inline(data, "accuracy")
    text = drawn.element(data)
    assert not re.search(r"#[0-9a-f]{6}\b(?!\w)|style=|<style|<script|xlink|<g id", text)
    assert "var(--c0)" in text
    assert "&lt;script" in text
    assert text == inline(data, "accuracy").element(data)
    ids = set(re.findall(r' id="([^"]*)"', text))
    assert ids
    assert not ids & set(re.findall(r' id="([^"]*)"', inline(data, "other").element(data)))
    assert set(re.findall(r'(?:href="|url\()#([^")]*)', text)) <= ids


def test_data_and_axes_stand_beside_a_plot():
    import json

    data = accuracy_data(summarise(trials_of(sweep_rows())))
    told = json.loads(json.dumps(plain(data), allow_nan=False))
    assert [line["label"] for line in told["panels"][0]["lines"]] == ["el2n", "forget", "std", "random"]
    assert told["panels"][0]["lines"][0]["x"] == pytest.approx(data.panels[0].lines[0].x.tolist(), rel=1e-3)
    drawn = inline(data, "accuracy")
    (axes,) = drawn.axes
    left, top, width, height = axes["box"]
    assert 0 < left < left + width < drawn.width
    assert 0 < top < top + height < drawn.height
    assert axes["x"][0] < 30 < 90 < axes["x"][1]


def test_no_two_scores_look_the_same():
    looks = [(style.colour, style.marker, style.line) for style in STYLES.values()]
    assert len(set(looks)) == len(looks)
    assert style_of("mine") == style_of("mine")
    assert ramp(0, 1) == ramp(0, 5)
    assert len({ramp(place, 8) for place in range(8)}) == 8


def test_one_call_draws_any_result():
    from pages import material

    one = material()
    study = summarise(trials_of(sweep_rows(("el2n",), sizes=(0.7, 0.5))))
    for thing, title in (
        (scores()["el2n"], "Distribution"),
        (scores(), "correlation"),
        (one.suspects, "Flagged"),
        (study, "Accuracy"),
    ):
        assert title in plot_data(thing).title
        assert thing.plot().axes
    with pytest.raises(InputError, match=r"`thing` must be .* got int"):
        plot_data(3)


def test_each_chart_says_over_what_its_bars_are():
    rows = sweep_rows(("el2n",))
    summary = summarise(trials_of(rows, n_test=[500] * len(rows)))
    assert "over trainings and test examples" in accuracy_data(summary).description
    assert "over trainings, " in differences_data(summary).description
    assert "over trainings, " in accuracy_data(summarise(trials_of(rows))).description
