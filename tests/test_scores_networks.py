"""Prediction depth, variance of gradients and second-split forgetting: answers by hand, and runs that record them."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier
from torch import nn

from dataprune.data import from_arrays, read
from dataprune.errors import InputError
from dataprune.run.own_scores import score_named
from dataprune.run.score import score
from dataprune.scores import networks, score_trace
from dataprune.scores.networks import neighbours_vote, prediction_depth, vog
from dataprune.trace import MemberTrace, Trace
from dataprune.training.features import Built, MemberNetwork
from dataprune.training.settings import Hardware, Settings

SERIAL = Hardware(executor="serial")


def depth_of(layers, predicted, labels, trained_on=True):
    """Measure it by the numbers that a layer gives for each example."""
    seen = [np.array(one, np.float32)[:, None] for one in layers]
    return prediction_depth(seen, np.array(predicted), np.array(labels), np.broadcast_to(trained_on, len(labels))).tolist()


class TestPredictionDepth:
    def test_by_hand(self, monkeypatch):
        """By one neighbour: 0 and 1 are a pair throughout, 2 and 3 from the second layer on, 4 never."""
        monkeypatch.setattr(networks, "NEIGHBOURS", 1)
        layers = [[0.0, 0.1, 5.0, 9.0, 9.2], [0.0, 0.1, 5.0, 5.1, 0.3], [0.0, 0.1, 5.0, 5.1, 0.3]]
        labels = [0, 0, 1, 1, 1]
        # In the input 2 lies nearest to 3, and 3 to 4: both of its class. 4 lies nearest to 3 there, and to 1 of class 0 later.
        assert depth_of(layers, labels, labels) == [0, 0, 0, 0, 3]
        assert depth_of([[0.0, 0.1, 0.25, 9.0, 9.2], *layers[1:]], labels, labels) == [0, 0, 1, 0, 3]

    def test_what_was_not_trained_on_is_not_asked(self, monkeypatch):
        monkeypatch.setattr(networks, "NEIGHBOURS", 1)
        found = depth_of([[0.0, 0.1, 5.0]], [0, 1, 1], [0, 1, 1], np.array([True, False, True]))
        assert found == [1, 1, 1]  # 0 asks 2; 1 asks 0; 2 asks 0

    def test_a_vote_is_that_of_scikit_learn_on_the_others(self):
        draw = np.random.default_rng(0)
        x, labels = draw.normal(size=(90, 4)).astype(np.float32), draw.integers(0, 3, 90)
        support = np.arange(0, 90, 2)
        for row in range(90):
            others = support[support != row]
            theirs = KNeighborsClassifier(30).fit(x[others], labels[others]).predict(x[row : row + 1])
            assert neighbours_vote(x, labels, support)[row] == theirs

    def test_layers_are_what_goes_through_the_network(self):
        data = from_arrays(np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32), np.arange(20) % 2)
        inputs, network = toy_network("mlp", data)
        seen = list(network.layers())
        assert [one.shape[1] for one in seen] == [3, 256, 256, 2]
        model = network.built.network(inputs, network.member.arrays)
        x = inputs.batch(torch.arange(20))
        for number, one in zip((0, 3, 5, 6), seen, strict=True):
            np.testing.assert_allclose(one, model[:number](x).detach().numpy(), atol=1e-5)

    def test_maps_of_pictures_are_averaged(self):
        data = from_arrays(np.random.default_rng(0).integers(0, 256, (8, 16, 16, 3), dtype=np.uint8), np.arange(8) % 2)
        _, network = toy_network("proxy", data)
        assert all(one.shape[1] <= 512 for one in network.layers())


def toy_network(model, data):
    """Return a network with random weights, and inputs as it sees them."""
    from dataprune.training.fit import weights_of
    from dataprune.training.inputs import Inputs
    from dataprune.training.models import build

    inputs = Inputs(data.inputs, "own", "cpu")
    torch.manual_seed(0)
    arrays = {f"weights.{name}": value for name, value in weights_of(build(model, inputs.shape, 2)).items()}
    return inputs, MemberNetwork(data, MemberTrace(arrays, {}), Built(model, "own", 2))


class Square(nn.Module):
    """Logits v · (w · x)²."""

    def __init__(self):
        super().__init__()
        self.w, self.v = nn.Linear(1, 1, bias=False), nn.Linear(1, 2, bias=False)

    def forward(self, x):
        return self.v(self.w(x) ** 2)


def square(shape, n_classes):
    """Build one."""
    return Square()


class TestVog:
    def test_of_a_square_by_hand(self):
        """The gradient of v · (w x)² is 2 v w² x: 2x and 6x at two epochs for class 0, 0 and 10x for class 1."""
        x = np.array([[1.0], [2.0], [3.0], [-1.0], [-3.0]], np.float32)
        labels = np.array([0, 0, 0, 1, 1])
        arrays = {"weights@0001.w.weight": [[1.0]], "weights@0002.w.weight": [[1.0]]}
        arrays |= {"weights@0001.v.weight": [[1.0], [0.0]], "weights@0002.v.weight": [[3.0], [5.0]]}
        member = MemberTrace({name: np.array(value, np.float32) for name, value in arrays.items()}, {})
        network = MemberNetwork(from_arrays(x, labels), member, Built("test_scores_networks:square", "none", 2))
        raw = np.concatenate([block.std(axis=0).mean(axis=1) for block in network.gradients()])
        np.testing.assert_allclose(raw, [2, 4, 6, 5, 15], rtol=1e-6)  # half the distance of two gradients
        # Class 0: mean 4, deviation √(8/3); class 1: mean 10, deviation 5.
        root = np.sqrt(8 / 3)
        np.testing.assert_allclose(vog(network.gradients(), labels), [-2 / root, 0, 2 / root, -1, 1], atol=1e-6)

    def test_a_class_without_a_spread_counts_nothing(self):
        gradients = np.array([[[1.0], [1.0], [4.0]], [[3.0], [3.0], [9.0]]], np.float32)
        assert vog([gradients], np.array([0, 0, 1])).tolist() == [0, 0, 0]

    def test_networks_without_hidden_layers_and_without_epochs_are_refused(self):
        data = from_arrays(np.random.default_rng(0).normal(size=(9, 3)).astype(np.float32), np.arange(9) % 2)
        with pytest.raises(InputError, match="'linear' has no hidden layers"):
            list(toy_network("linear", data)[1].layers())
        with pytest.raises(InputError, match=r"two epochs.*--record vog"):
            list(toy_network("mlp", data)[1].gradients())


class TestSecondSplit:
    def test_by_hand(self):
        """The mean of the epochs that members say that were trained on an example."""
        labels = np.array([0, 1])
        recorded = {"predicted": np.zeros((1, 2), np.int32), "p_label": np.ones((1, 2), np.float32)}
        info = {"epochs": 1, "n_classes": 2, "when": "clean", "status": "ok"}
        members = [
            MemberTrace(recorded | {"trained_on": np.array(on), "second_split": np.array(epochs, np.int32)}, info)
            for on, epochs in [([True, True], [4, 1]), ([False, True], [9, 3])]
        ]
        assert score_trace(Trace(members, labels), ["ssft"])["second_split"].values.tolist() == [4, 2]
        with pytest.raises(InputError, match="--record second_split"):
            score_trace(Trace([replace(members[0], arrays=recorded | {"trained_on": np.ones(2, bool)})], labels), ["second_split"])


@pytest.fixture(scope="module")
def flipped():
    """Return digits, a tenth of them with wrong labels, and which."""
    digits = read("digits").take(np.arange(400))
    wrong = np.arange(400) % 10 == 0
    labels = np.where(wrong, (digits.labels + 3) % 10, digits.labels)
    return digits.with_labels(labels, digits.classes), wrong


@pytest.fixture(scope="module")
def run(flipped, tmp_path_factory):
    settings = Settings(folds=2, epochs=20, model="mlp", record="vog,second_split")
    return score(flipped[0], tmp_path_factory.mktemp("runs") / "run", settings, SERIAL, encoder="scratch")


@pytest.mark.parametrize("name", ["second_split", "prediction_depth"])
def test_wrong_labels_are_harder_in_a_run(run, flipped, name):
    found = score_named(run, name, flipped[0])
    wrong = flipped[1]
    assert found.difficulty[wrong].mean() > found.difficulty[~wrong].mean() + 0.3 * found.difficulty.std()
    assert len(np.unique(found.values)) > 3


def test_vog_of_a_run_is_standardised_within_classes(run, flipped):
    found = score_named(run, "vog", flipped[0]).values
    assert len([name for name in run.trace._members[0].arrays if name.startswith("weights@")]) == 10 * 6
    means = [found[run.labels == label].mean() for label in range(10)]
    np.testing.assert_allclose(means, np.zeros(10), atol=1e-9)
    assert 0.5 < found.std() <= 1


def test_the_run_says_what_was_recorded_and_can_be_had_again(run, flipped):
    assert run.manifest.spec.record == ("second_split", "vog")
    assert run.manifest.spec.plain["record"] == ("second_split", "vog")
    again = score(flipped[0], run.path, Settings(folds=2, epochs=20, model="mlp", record="second_split,vog"), SERIAL)
    assert again.manifest == run.manifest
    with pytest.raises(InputError, match="record"):
        score(flipped[0], run.path, Settings(folds=2, epochs=20, model="mlp"), SERIAL)
    with pytest.raises(InputError, match="--until"):
        score_named(run, "second_split", until=5)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"record": "depth"}, "`record`.*second_split"),
        ({"record": "vog", "model": "linear"}, "`record`.*several layers.*vog for linear"),
        ({"record": "second_split", "folds": 0}, "`record`.*folds"),
    ],
)
def test_what_cannot_be_recorded_is_refused_before_training(flipped, tmp_path, settings, message):
    with pytest.raises(InputError, match=message):
        score(flipped[0], tmp_path / "run", Settings(**settings), SERIAL, encoder="scratch")


def test_a_run_that_recorded_nothing_more(flipped, tmp_path):
    made = score(flipped[0], tmp_path / "run", Settings(folds=2, epochs=2, model="mlp"), SERIAL, encoder="scratch")
    assert "record" not in made.manifest.spec.plain
    for name in ("vog", "second_split"):
        with pytest.raises(InputError, match=f"--record {name}"):
            score_named(made, name)


def test_kept_weights_are_there_after_an_interruption():
    from dataprune.training.fit import Fit, Training
    from dataprune.training.inputs import Inputs
    from dataprune.training.recipes import Recipe

    digits = read("digits").take(np.arange(60))

    def fit():
        training = Training("mlp", Recipe("r", learning_rate=0.01), 3, 0, 10)
        return Fit(training, Inputs(digits.inputs, "own", "cpu"), digits.labels, np.ones(60, bool))

    whole = fit()
    states = []
    for _ in range(3):
        whole.train_epoch()
        whole.keep()
        states.append(({name: np.array(value) for name, value in whole.arrays().items()}, whole.info()))
    resumed = fit()
    resumed.restore(*states[1])
    resumed.train_epoch()
    resumed.keep()
    assert resumed.kept.keys() == whole.kept.keys()
    assert all(np.array_equal(resumed.kept[name], value) for name, value in whole.kept.items())
    assert not np.array_equal(whole.kept["weights@0001.1.weight"], whole.kept["weights@0002.1.weight"])


def test_a_study_records_what_its_scores_need():
    from dataprune.study.conditions import _recording

    assert _recording(Settings(), ["ssft", "el2n", "vog"]).record == "second_split,vog"
    assert _recording(Settings(record="vog"), ["el2n"]).recorded == ("vog",)
    assert _recording(Settings(), ["el2n", "mine.csv:x"]).record is None


def test_a_second_training_shows_its_progress(flipped, tmp_path):
    heard = []
    settings = Settings(folds=2, epochs=2, model="mlp", record="second_split")
    score(flipped[0], tmp_path / "run", settings, SERIAL, encoder="scratch", listener=heard.append)
    assert (heard[0].total, heard[-1].done) == (8, 8)
    assert [one.epoch.epoch for one in heard[1:]] == [1, 2, 3, 4] * 2
