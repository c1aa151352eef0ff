"""All scores of the table: by hand, by naive loops, and the mistakes that published code makes."""

import inspect
import math
import statistics
import sys
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataprune.errors import InputError, MachineError
from dataprune.scores import SCORES, Score, Scores, correlations, score_trace
from dataprune.scores.dynamics import aum, forget, forget_toneva
from dataprune.scores.ensemble import el2n, std
from dataprune.selection import select
from dataprune.trace import Trace
from toys import ANSWERS, LABELS, PROBABILITIES, random_logits, record, toy_member, toy_trace, trace_of

# Probabilities lie in the trace in half precision: 11 bits.
TOLERANCE = {name: {"rtol": 1e-3, "atol": 1e-3} for name in ("std", "least_confidence", "top_two_margin")}
LABEL_BLIND = ("std", "entropy", "flip", "tdds", "least_confidence", "top_two_margin")  # scores in which the label plays no part
WITHOUT_FEATURES = sorted(set(SCORES) - {"grand", "memorization", "second_split"})


def close(name, values, expected):
    np.testing.assert_allclose(values, expected, **TOLERANCE.get(name, {"rtol": 1e-5, "atol": 1e-6}), err_msg=name)


def naive(labels, logits):
    """Compute all scores of logits (E, T, N, K) from their definitions, one example at a time, in double precision."""
    n_members, n_epochs, n_examples, n_classes = logits.shape
    found = {name: np.zeros(n_examples) for name in WITHOUT_FEATURES}
    for i in range(n_examples):
        y = labels[i]
        p = [[softmax(logits[e, t, i]) for t in range(n_epochs)] for e in range(n_members)]
        for e in range(n_members):
            best = [max(range(n_classes), key=p[e][t].__getitem__) for t in range(n_epochs)]
            right = [b == y for b in best]
            events = sum(right[t] and not right[t + 1] for t in range(n_epochs - 1))
            own = [p[e][t][y] for t in range(n_epochs)]
            found["el2n"][i] += math.dist(p[e][-1], [float(k == y) for k in range(n_classes)]) / n_members
            found["pred_sum"][i] += right[-1]
            found["flip"][i] += sum(best[t] != best[t + 1] for t in range(n_epochs - 1)) / n_members
            found["forget"][i] += events / n_members
            found["forget_toneva"][i] += (events if any(right) else n_epochs) / n_members
            found["confidence"][i] += sum(own) / n_epochs / n_members
            found["variability"][i] += math.sqrt(sum((x - sum(own) / n_epochs) ** 2 for x in own) / n_epochs) / n_members
            found["correctness"][i] += sum(right) / n_epochs / n_members
            for t in range(n_epochs):
                row = logits[e, t, i]
                found["aum"][i] += (row[y] - max(row[k] for k in range(n_classes) if k != y)) / n_epochs / n_members
                found["loss_mean"][i] -= math.log(own[t]) / n_epochs / n_members
                found["aleatoric"][i] += own[t] * (1 - own[t]) / n_epochs / n_members
                found["el2n_sum"][i] += math.dist(p[e][t], [float(k == y) for k in range(n_classes)]) / n_members
            spread = statistics.stdev(own)  # fewer epochs than ten: one window of all
            found["dyn_unc"][i] += spread / n_members
            found["dual"][i] += (1 - sum(own) / n_epochs) * spread / n_members
            changes = [
                sum(b * abs(math.log(b) - math.log(a)) for a, b in zip(p[e][t], p[e][t + 1], strict=True))
                for t in range(n_epochs - 1)
            ]
            found["tdds"][i] += 0.9 * math.dist(changes, [sum(changes) / len(changes)] * len(changes)) / n_members
            found["first_learned"][i] += ([*right, True].index(True) + 1) / n_members
            largest = sorted(p[e][-1])[-2:]
            found["least_confidence"][i] += (1 - largest[1]) / n_members
            found["top_two_margin"][i] += (largest[1] - largest[0]) / n_members
            found["entropy"][i] -= sum(x * math.log(x) for x in p[e][-1]) / n_members
        for k in range(n_classes):
            values = [p[e][-1][k] for e in range(n_members)]
            mean = sum(values) / n_members
            found["std"][i] += math.sqrt(sum((x - mean) ** 2 for x in values) / (n_members - 1))
    return found


def softmax(row):
    exponents = [math.exp(x - max(row)) for x in row]
    return [x / sum(exponents) for x in exponents]


@pytest.mark.parametrize("name", sorted(ANSWERS))
def test_by_hand(name):
    scores = score_trace(toy_trace(), "all")
    close(name, scores[name].values, ANSWERS[name])
    close(name, SCORES[name].function(toy_trace()), ANSWERS[name])


def test_against_naive_loops():
    labels, logits = random_logits(seed=5)
    scores = score_trace(trace_of(labels, logits), "all")
    for name, expected in naive(labels, logits).items():
        close(name, scores[name].values, expected)


@pytest.mark.parametrize("name", WITHOUT_FEATURES)
def test_harder_points_at_wrong_labels(name):
    """The direction is right: examples whose label the members rarely agree with are harder on average."""
    labels, logits = random_logits(seed=1, members=4, epochs=6, examples=400)
    wrong = np.arange(400) < 80
    given_labels = np.where(wrong, (labels + 1) % 5, labels)
    difficulty = score_trace(trace_of(given_labels, logits), [name])[name].difficulty
    with_true_labels = score_trace(trace_of(labels, logits), [name])[name].difficulty
    assert np.allclose(difficulty, with_true_labels, rtol=1e-3, atol=1e-3) == (name in LABEL_BLIND)
    if name in ("flip", "variability", "forget", "dyn_unc", "dual"):  # about change, not about being wrong
        steady = np.tile(logits[:, -1:], (1, 6, 1, 1))
        assert difficulty.mean() > score_trace(trace_of(given_labels, steady), [name])[name].difficulty.mean()
    elif name not in (*LABEL_BLIND, "aleatoric"):  # which is largest in the middle
        assert difficulty[wrong].mean() > difficulty[~wrong].mean()


@given(st.integers(0, 10_000))
@settings(max_examples=8, deadline=None)
def test_permuting_examples_permutes_scores_and_renaming_classes_changes_nothing(seed):
    labels, logits = random_logits(seed=seed, members=2, epochs=3, examples=12, classes=4)
    scores = score_trace(trace_of(labels, logits), "all")
    order = np.random.default_rng(seed).permutation(12)
    permuted = score_trace(trace_of(labels[order], logits[:, :, order]), "all")
    names = np.random.default_rng(seed + 1).permutation(4)
    renamed = score_trace(trace_of(np.argsort(names)[labels], logits[..., names]), "all")
    for name in scores:
        np.testing.assert_allclose(permuted[name].values, scores[name].values[order], rtol=1e-6, atol=1e-9)
        # Of the last epoch's probabilities, kept in half precision: sums in another order may round to its next number.
        atol = 2.0**-11 if name in ("least_confidence", "top_two_margin") else 1e-6
        np.testing.assert_allclose(renamed[name].values, scores[name].values, rtol=2e-5, atol=atol)


def test_chunks_do_not_matter(monkeypatch):
    labels, logits = random_logits()
    trace = trace_of(labels, logits)
    whole = score_trace(trace, "all")
    monkeypatch.setattr("dataprune.trace.trace.CHUNK_VALUES", 3 * 5 * 7)
    assert [chunk.n_examples for chunk in trace.chunks()] == [7, 7, 6]
    parts = score_trace(trace, "all")
    for name in whole:
        np.testing.assert_allclose(parts[name].values, whole[name].values, rtol=1e-12)


# Mistakes in published code


def test_never_learned_examples_are_easiest_or_hardest_but_never_silently():
    """Published: never-learned examples silently count as easiest."""
    never, forgotten, always = [0, 0, 0, 0], [1, 0, 1, 0], [1, 1, 1, 1]
    logits = np.stack([[[0.0, 2.0 * right - 1.0] for right in row] for row in (never, forgotten, always)], axis=1)[None]
    trace = trace_of(np.array([1, 1, 1]), logits)
    assert forget(trace).tolist() == [0, 2, 0]
    assert forget_toneva(trace).tolist() == [4, 2, 0]
    assert "never learned counts 0" in SCORES["forget"].formula
    assert "never learned counts T" in SCORES["forget_toneva"].formula
    assert "counts 0" in inspect.getdoc(forget)


def test_aum_accumulates_over_all_epochs():
    """Published: the accumulator is made anew in each epoch, so only the last counts."""
    logits = np.array([[[[4.0, 0.0]], [[8.0, 2.0]], [[0.0, 1.0]]]])
    assert aum(trace_of(np.array([0]), logits)).tolist() == [(4 + 6 - 1) / 3]


def test_aum_is_on_logits():
    """Published: margins of probabilities, which saturate."""
    logits = np.array([[[[100.0, 0.0], [50.0, 0.0]]]])
    assert aum(trace_of(np.array([0, 0]), logits)).tolist() == [100.0, 50.0]


def test_keep_hard_by_aum_keeps_the_lowest():
    """Published: sorted so that "keep hard" keeps the easiest."""
    kept = select(score_trace(toy_trace())["aum"], count=1)
    assert kept.rows.tolist() == [int(np.argmin(ANSWERS["aum"]))] == [2]
    kept = select(score_trace(toy_trace())["pred_sum"], count=2)
    assert kept.rows.tolist() == [1, 2]


def test_score_i_is_example_i_in_whatever_order_they_came():
    """Published: scores are saved sorted, or in the order of a shuffled loader."""
    logits, expected = np.log(PROBABILITIES[0]), toy_member(0).arrays["el2n"]
    for batches in (1, 2, 4):  # `record` shuffles each epoch
        assert np.array_equal(record(logits, LABELS, batches=batches).arrays["el2n"], expected)
    scores = score_trace(toy_trace())
    assert scores["el2n"].values.argmax() == 2
    assert np.array_equal(scores["el2n"].labels, LABELS)


def test_el2n_is_a_mean_over_members_at_the_last_epoch():
    """Published: summed over members, averaged over epochs or taken at one, all under one name."""
    trace = toy_trace()
    assert np.array_equal(el2n(trace), trace.channel("el2n")[:, -1].mean(axis=0, dtype=np.float64))
    assert np.array_equal(el2n(Trace([toy_member(0)] * 5, LABELS)), el2n(Trace([toy_member(0)], LABELS)))
    assert "mean over members" in SCORES["el2n"].formula
    assert "last epoch" in SCORES["el2n"].formula


def test_scoring_is_bounded_in_members_and_epochs(monkeypatch):
    """What is held grows with one chunk: not with members times epochs, and never with the square of the examples."""
    monkeypatch.setattr("dataprune.trace.trace.CHUNK_VALUES", 2**14)

    def peak(members, epochs):
        labels, logits = random_logits(members=1, epochs=epochs, examples=4000, classes=3)
        trace = Trace([record(logits[0], labels)] * members, labels)
        tracemalloc.start()
        score_trace(trace, "all")
        used = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return used

    small = peak(2, 2)
    assert peak(10, 8) < 1.5 * small
    assert small < 4000 * 4000


# What cannot be computed, and what is refused


def test_absent_scores_have_a_reason():
    scores = score_trace(trace_of(*random_logits(members=1, epochs=1)))
    assert scores.absent == {
        "std": "std needs two members that learned, got 1. Train with more --members or --repeats.",
        "flip": "flip needs two epochs, got 1. Train with --epochs 2 or more.",
        "forget": "forget needs two epochs, got 1. Train with --epochs 2 or more.",
        "forget_toneva": "forget_toneva needs two epochs, got 1. Train with --epochs 2 or more.",
        "dual": "dual needs two epochs, got 1. Train with --epochs 2 or more.",
        "variability": "variability needs two epochs, got 1. Train with --epochs 2 or more.",
        "grand": "the trace has no channel 'grand' (members 0). Pass features=, the last layer's inputs, to Recorder.update.",
    }
    assert "std" not in scores
    assert scores.get("std") is None
    with pytest.raises(InputError) as caught:
        scores["std"]
    assert (
        str(caught.value)
        == "score 'std' is absent: std needs two members that learned, got 1. Train with more --members or --repeats."
    )
    with pytest.raises(InputError, match=r"`score` must be one of .*, got 'el2'. Did you mean 'el2n'"):
        scores["el2"]
    with pytest.raises(InputError, match="std needs two members"):
        std(trace_of(*random_logits(members=1)))


def test_unknown_names_offer_the_nearest():
    with pytest.raises(InputError, match=r"`score` must be one of .*, got 'el2m'. Did you mean 'el2n'"):
        score_trace(toy_trace(), ["el2m"])


def test_scores_of_your_own(tmp_path, monkeypatch):
    (tmp_path / "my_scores.py").write_text(
        "import numpy as np\n"
        "def lead(trace):\n    return trace.last('margin').max(axis=0)\n"
        "lead.harder = -1\n"
        "def nothing(trace):\n    return np.full(trace.n_examples, np.nan)\n"
        "def short(trace):\n    return np.zeros(1)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    score = score_trace(toy_trace(), ["el2n", "my_scores:lead"])["my_scores:lead"]
    np.testing.assert_allclose(score.values, [np.log(8), np.log(8), np.log(3.5), np.log(18)], rtol=1e-6)
    assert score.harder == -1
    with pytest.raises(InputError, match=r"score 'my_scores:nothing' is NaN or infinite for 4 examples \(rows 0, 1, 2, 3\)"):
        score_trace(toy_trace(), ["my_scores:nothing"])
    with pytest.raises(
        InputError, match=r"`score 'my_scores:short'` must give 4 numbers for as many examples, got float64 of shape \(1,\)"
    ):
        score_trace(toy_trace(), ["my_scores:short"])


def test_ids_go_with_scores():
    ids = np.array(["a", "b", "c", "d"], np.dtypes.StringDType())
    scores = score_trace(toy_trace(), ["el2n", "aum"], ids)
    assert scores.ids.tolist() == scores["aum"].ids.tolist() == ["a", "b", "c", "d"]
    assert scores.labels.tolist() == LABELS.tolist()
    assert list(scores) == ["el2n", "aum"]
    assert len(scores) == 2


VALUES = np.array([1.0, 2.0, 3.0])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"values": np.array([1.0, np.nan])}, r"score 'mine' is NaN or infinite for 1 examples \(rows 1\)"),
        ({"values": np.array([np.inf, 0.0])}, r"score 'mine' is NaN or infinite for 1 examples \(rows 0\)"),
        ({"values": np.zeros((2, 2))}, r"`score 'mine'` must be one number for each example, got float64 of shape \(2, 2\)"),
        ({"values": np.array(["a"])}, r"`score 'mine'` must be one number for each example, got <U1 of shape \(1,\)"),
        ({"values": VALUES, "harder": 0}, "`harder` must be 1 or -1, got 0."),
        ({"values": VALUES, "ids": np.array(["a"])}, "`ids` must be as many as the values of score 'mine': 3, got 1."),
        ({"values": VALUES, "labels": np.array([0])}, "`labels` must be as many as the values of score 'mine': 3, got 1."),
    ],
)
def test_a_score_names_what_is_wrong(arguments, message):
    with pytest.raises(InputError, match=message):
        Score("mine", **arguments)


def test_a_score_of_integers_is_float():
    assert Score("mine", np.array([1, 2])).values.dtype == np.float64
    assert Score("mine", np.array([1, 2], np.float32)).values.dtype == np.float32
    assert Score("mine", np.array([1, 2]), harder=-1).difficulty.tolist() == [-1.0, -2.0]


def test_scores_are_of_the_same_examples():
    one = Score("one", VALUES, labels=np.array([0, 1, 2]))
    with pytest.raises(InputError, match=r"`scores` must have different names, got 'one' twice."):
        Scores([one, one])
    with pytest.raises(InputError, match=r"`scores` must be of the same examples, got 3 and 2 for 'two'."):
        Scores([one, Score("two", VALUES[:2])])
    for other in (None, np.array([0, 1, 1])):
        with pytest.raises(InputError, match="got other labels for 'two' than for 'one'"):
            Scores([one, Score("two", VALUES, labels=other)])


# Correlations


def test_correlations_by_hand_and_with_scipy():
    from scipy.stats import pearsonr, spearmanr

    draw = np.random.default_rng(0)
    one, two = draw.integers(0, 4, 50).astype(float), draw.normal(size=50)
    scores = Scores([Score("one", one), Score("two", two, harder=-1), Score("minus one", -one, harder=-1)])
    for kind, library in (("pearson", pearsonr), ("spearman", spearmanr)):
        names, matrix = correlations(scores, kind)
        assert names == ("one", "two", "minus one")
        np.testing.assert_allclose(matrix, matrix.T)
        np.testing.assert_allclose(np.diag(matrix), 1)
        assert matrix[0, 1] == pytest.approx(-library(one, two)[0])
        assert matrix[0, 2] == pytest.approx(1)


def test_a_constant_score_correlates_with_none():
    names, matrix = correlations(Scores([Score("same", np.ones(3)), Score("one", VALUES)]))
    assert names == ("same", "one")
    assert np.isnan(matrix[0]).all()
    assert matrix[1, 1] == pytest.approx(1)
    assert correlations(Scores([]))[1].shape == (0, 0)


class TestShown:
    SCORES = Scores(
        [
            Score("aum", np.array([2.0, -1.0]), -1, np.array(["<a>", "b"])),
            Score("flip", np.array([0, 3]), 1, np.array(["<a>", "b"])),
        ]
    )

    def test_what_is_printed_says_size_range_and_direction(self):
        assert repr(self.SCORES["aum"]) == "Score('aum', 2 examples, -1 to 2, smaller is harder)"
        shown = repr(Scores(self.SCORES.values(), {"std": "it needs two members"}))
        assert shown.splitlines()[0] == "Scores of 2 examples:"
        assert "'flip'" in shown
        assert "'std' is absent: it needs two members" in shown
        assert repr(Scores([])) == "Scores of 0 examples:"

    def test_a_notebook_shows_the_hardest_first_and_no_foreign_markup(self):
        html = self.SCORES["aum"]._repr_html_()
        assert html.index("b</td>") < html.index("&lt;a&gt;</td>")
        assert "<a>" not in html
        assert "median" in self.SCORES._repr_html_()
        assert Scores([])._repr_html_()

    def test_as_a_data_frame(self):
        pytest.importorskip("pandas")
        frame = self.SCORES.to_pandas()
        assert frame.to_dict("list") == {"id": ["<a>", "b"], "aum": [2.0, -1.0], "flip": [0.0, 3.0]}
        assert self.SCORES["flip"].to_pandas().columns.tolist() == ["id", "flip"]

    def test_without_pandas(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "pandas", None)
        with pytest.raises(MachineError, match="pip install pandas"):
            self.SCORES.to_pandas()
