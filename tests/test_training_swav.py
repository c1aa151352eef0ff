"""SwAV: codes, loss, views, plan, and a training that goes on bit for bit."""

import dataclasses
import math

import numpy as np
import pytest
import torch

from dataprune.data import from_arrays, read
from dataprune.errors import InputError
from dataprune.streams import generator
from dataprune.training.inputs import Inputs
from dataprune.training.settings import SwavSettings
from dataprune.training.swav.fit import SwavFit, SwavNetwork, embed_rows, sinkhorn, swapped_loss
from dataprune.training.swav.recipe import FAST, REPORT, ColorAugment, CropSpec, plan_swav
from dataprune.training.swav.views import Draws, cut_out, draw

PLAIN = ColorAugment(flip=False, jitter=0.0, gray=0.0)


@pytest.fixture(scope="module")
def pictures():
    drawn = np.random.default_rng(0)
    return from_arrays(drawn.integers(0, 256, (40, 12, 12, 3), dtype=np.uint8), np.arange(40) % 4)


def planned(dataset, **changes):
    """Return a small plan with everything in it."""
    recipe = dataclasses.replace(FAST, hidden=16, projection=8, width=8, frozen=0.2)
    swav = plan_swav(dataset, SwavSettings(epochs=3, batch=16))
    steps = dataclasses.replace(recipe.steps, batch=16, epochs=3)
    return dataclasses.replace(swav, recipe=dataclasses.replace(recipe, steps=steps, prototypes=6, **changes))


class TestCodes:
    def test_by_hand(self):
        # exp((1, 0; 1, 0)/e): every row prefers the first prototype equally, so both are shared out evenly.
        assert torch.allclose(
            sinkhorn(torch.tensor([[1.0, 0.0], [1.0, 0.0]]), 0.5, 3), torch.full((2, 2), 0.5, dtype=torch.float64)
        )
        # Scores that differ by row keep their order: 1 / (1 + exp(-2)) on the diagonal.
        found = sinkhorn(torch.eye(2), 0.5, 3)
        assert float(found[0, 0]) == pytest.approx(1 / (1 + math.exp(-2)))

    def test_against_plain_loops(self):
        scores = torch.from_numpy(np.random.default_rng(0).uniform(-1, 1, (7, 3)))
        q = np.exp(scores.numpy() / 0.05)
        for _ in range(3):
            q = np.array([[q[i, j] / sum(q[r, j] for r in range(7)) for j in range(3)] for i in range(7)])
            q = np.array([[q[i, j] / sum(q[i, c] for c in range(3)) for j in range(3)] for i in range(7)])
        assert np.allclose(sinkhorn(scores, 0.05, 3).numpy(), q)

    @pytest.mark.parametrize("seed", range(5))
    def test_rows_sum_to_one_and_columns_share(self, seed):
        scores = torch.from_numpy(np.random.default_rng(seed).uniform(-1, 1, (60, 5))).float()
        found = sinkhorn(scores, 0.2, 100)
        assert torch.allclose(found.sum(1), torch.ones(60, dtype=torch.float64))
        assert torch.allclose(found.sum(0), torch.full((5,), 12.0, dtype=torch.float64), rtol=1e-3)

    def test_extreme_scores_stay_numbers(self):
        assert torch.isfinite(sinkhorn(torch.tensor([[1.0, -1.0], [1.0, -1.0]]), 0.003, 3)).all()

    def test_half_precision_is_computed_in_double(self):
        assert sinkhorn(torch.eye(2).bfloat16(), 0.05, 3).dtype == torch.float64

    def test_loss_by_hand(self):
        # Two views with codes, one without; temperature 1, scores that make log-probabilities of log(1/2).
        flat, code = torch.zeros(1, 2), torch.tensor([[1.0, 0.0]], dtype=torch.float64)
        assert float(swapped_loss([flat, flat, flat], [code, code], 1.0)) == pytest.approx(math.log(2))
        # The first view's code is foretold by the second and third only, the second's by the first and third.
        sure = torch.tensor([[100.0, 0.0]])
        assert float(swapped_loss([sure, flat, flat], [code, code], 1.0)) == pytest.approx((math.log(2) + math.log(2) / 2) / 2)

    def test_no_gradient_goes_through_codes(self):
        scores = [torch.zeros(4, 3, requires_grad=True) for _ in range(2)]
        swapped_loss(scores, [sinkhorn(one.detach(), 0.05, 3) for one in scores], 0.1).backward()
        assert all(one.grad is not None for one in scores)


def whole(n, channels=3, **changes):
    """Return draws that change nothing."""
    zero, one = torch.zeros(n), torch.ones(n)
    return dataclasses.replace(Draws(zero, zero, one, one, zero, torch.eye(channels).expand(n, -1, -1), zero, zero), **changes)


class TestViews:
    def test_whole_pictures_stay_as_they_are(self, pictures):
        batch = torch.from_numpy(np.array(pictures.images[:4]))
        found = cut_out(batch, whole(4), (12, 12), blur=False)
        assert torch.allclose(found, batch.permute(0, 3, 1, 2).float(), atol=1e-4)

    def test_mirror_is_left_for_right(self, pictures):
        batch = torch.from_numpy(np.array(pictures.images[:4]))
        found = cut_out(batch, whole(4, mirrored=torch.ones(4)), (12, 12), blur=False)
        assert torch.allclose(found, batch.permute(0, 3, 1, 2).float().flip(3), atol=1e-4)

    def test_a_crop_at_its_own_size_is_a_slice(self, pictures):
        batch = torch.from_numpy(np.array(pictures.images[:2]))
        half, quarter = torch.full((2,), 0.5), torch.full((2,), 0.25)
        found = cut_out(batch, whole(2, top=half, left=quarter, height=half, width=half), (6, 6), blur=False)
        assert torch.allclose(found, batch[:, 6:12, 3:9].permute(0, 3, 1, 2).float(), atol=1e-3)

    @pytest.mark.parametrize("size", [(5, 7), (24, 9)])
    def test_resizing_agrees_with_torch(self, pictures, size):
        batch = torch.from_numpy(np.array(pictures.images[:3]))
        theirs = torch.nn.functional.interpolate(
            batch.permute(0, 3, 1, 2).float(), size, mode="bilinear", antialias=True, align_corners=False
        )
        assert torch.allclose(cut_out(batch, whole(3), size, blur=False), theirs, atol=1e-2)

    def test_colours_by_hand(self):
        batch = torch.tensor([[[[100, 0, 0], [0, 200, 0]]]], dtype=torch.uint8)  # one red and one green pixel
        gray = whole(1, colours=torch.tensor([0.299, 0.587, 0.114]).expand(1, 3, 3))
        assert torch.allclose(cut_out(batch, gray, (1, 2), blur=False)[0, :, 0], torch.tensor([[29.9, 117.4]] * 3), atol=1e-3)
        # Contrast 0: everything becomes the mean brightness.
        none = whole(1, colours=torch.zeros(1, 3, 3), constant=torch.ones(1))
        assert torch.allclose(cut_out(batch, none, (1, 2), blur=False), torch.full((1, 3, 1, 2), 73.65), atol=1e-3)

    def test_gray_pictures_keep_their_hue_and_saturation(self):
        drawn = draw(CropSpec(2, 1.0, 1.0, 1.0), ColorAugment(jitter=1.0), 200, 3, generator(0, "x"), torch.device("cpu"))
        rows = drawn.colours.sum(2)  # what becomes of a gray
        assert torch.allclose(rows, rows[:, :1].expand(-1, 3), atol=1e-4)

    def test_blur_keeps_the_mean_of_a_flat_picture_and_smooths_an_edge(self):
        batch = torch.zeros((1, 1, 32, 1), dtype=torch.uint8)
        batch[:, :, 16:] = 200
        found = cut_out(batch, whole(1, channels=1, sigma=torch.tensor([2 / 32])), (1, 32), blur=True)[0, 0, 0]
        assert 70 < float(found[15]) < 90
        assert float(found[0]) == pytest.approx(0, abs=1)
        assert (found.diff() >= -1e-3).all()

    @pytest.mark.parametrize("look", [PLAIN, ColorAugment(jitter=1.0, gray=0.5, blur=0.5)])
    def test_views_stay_in_the_range_of_bytes(self, pictures, look):
        crops = CropSpec(2, 0.5, 0.1, 0.6)
        drawn = draw(crops, look, 40, 3, generator(1, "x"), torch.device("cpu"))
        found = cut_out(torch.from_numpy(np.array(pictures.images)), drawn, (8, 4), blur=True)
        assert found.shape == (40, 3, 8, 4)
        assert float(found.min()) >= 0
        assert float(found.max()) <= 255

    def test_crops_show_the_share_that_was_asked(self):
        drawn = draw(CropSpec(2, 0.5, 0.2, 0.4), PLAIN, 5000, 3, generator(2, "x"), torch.device("cpu"))
        area = drawn.height * drawn.width
        assert 0.199 < float(area.min()) < 0.21
        assert 0.39 < float(area.max()) < 0.401
        assert float((drawn.top + drawn.height).max()) <= 1 + 1e-6
        assert float((drawn.left + drawn.width).max()) <= 1 + 1e-6

    def test_one_channel(self):
        drawn = draw(CropSpec(2, 1.0, 0.3, 1.0), ColorAugment(), 6, 1, generator(3, "x"), torch.device("cpu"))
        assert cut_out(torch.zeros((6, 9, 9, 1), dtype=torch.uint8), drawn, (8, 8), blur=False).shape == (6, 1, 8, 8)


class TestPlan:
    def test_the_report_is_the_report(self, pictures):
        swav = plan_swav(from_arrays(np.zeros((3000, 32, 32, 3), np.uint8), np.arange(3000) % 2), SwavSettings(recipe="report"))
        recipe, steps = swav.recipe, swav.recipe.steps
        assert (recipe.model, recipe.hidden, recipe.projection, recipe.prototypes) == ("resnet18", 512, 128, 512)
        assert (recipe.crops.count, recipe.crops.size((3, 32, 32))) == (2, (32, 32))
        assert (steps.batch, swav.epochs) == (512, 200)
        assert (steps.optimiser, steps.learning_rate, steps.weight_decay, steps.schedule) == ("adam", 1e-3, 1e-6, "cosine")
        assert SwavNetwork(REPORT, (3, 32, 32)).width == 512

    def test_small_sets_have_small_batches_and_few_prototypes(self):
        swav = plan_swav(from_arrays(np.zeros((24, 8, 8, 1), np.uint8), np.arange(24) % 2), SwavSettings())
        assert (swav.recipe.steps.batch, swav.recipe.prototypes, swav.recipe.name) == (24, 6, "fast-gray")
        assert not swav.recipe.look.flip

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"recipe": "reports"}, "`recipe`.*'report'"),
            ({"recipe": "math:pi"}, "not a function"),
            ({"recipe": "test_training_swav:nothing"}, "`recipe`.*SwavRecipe, got NoneType"),
        ],
    )
    def test_wrong_settings(self, pictures, settings, message):
        asked = SwavSettings()
        for name, value in settings.items():
            object.__setattr__(asked, name, value)  # past the checks of types, which a user does not have
        with pytest.raises(InputError, match=message):
            plan_swav(pictures, asked)

    def test_vectors_and_tiny_sets_are_refused(self, pictures):
        with pytest.raises(InputError, match=r"the data hold vectors of 3 columns.*dataprune km"):
            plan_swav(from_arrays(np.zeros((9, 3), np.float32), np.arange(9) % 2), SwavSettings())
        with pytest.raises(InputError, match="`data` must hold at least 4 examples, got 3"):
            plan_swav(pictures.take(np.arange(3)), SwavSettings())

    @pytest.mark.parametrize(
        ("make", "message"),
        [
            (lambda: CropSpec(0, 1.0, 0.1, 1.0), "`count`.*1, got 0"),
            (lambda: CropSpec(1, 1.5, 0.1, 1.0), "`share`.*got 1.5"),
            (lambda: CropSpec(1, 1.0, 0.5, 0.2), "`smallest`.*0.5 and 0.2"),
            (lambda: ColorAugment(jitter=2.0), "`jitter`.*got 2"),
            (lambda: ColorAugment(gray=-1.0), "`gray`.*-1"),
            (lambda: dataclasses.replace(FAST, crops=CropSpec(1, 1.0, 0.1, 1.0)), "`crops`.*2"),
            (lambda: dataclasses.replace(FAST, epsilon=0.0), "`epsilon`.*positive"),
            (lambda: dataclasses.replace(FAST, prototypes=1), "`prototypes`.*2, got 1"),
        ],
    )
    def test_wrong_recipes(self, make, message):
        with pytest.raises(InputError, match=message):
            make()


def nothing():
    """Return no recipe."""


class TestFit:
    def test_goes_on_bit_for_bit_from_every_epoch(self, pictures):
        swav = planned(pictures)
        inputs = Inputs(pictures.inputs, "own", "cpu")
        through = SwavFit(swav, inputs)
        states = []
        for _ in range(3):
            through.train_epoch()
            states.append(({name: np.array(value) for name, value in through.arrays().items()}, through.info()))
        for arrays, info in states[:-1]:
            resumed = SwavFit(swav, inputs)
            resumed.restore(arrays, info)
            while resumed.epoch < 3:
                resumed.train_epoch()
            ends = resumed.arrays()
            assert ends.keys() == states[-1][0].keys()
            assert all(np.array_equal(ends[name], value) for name, value in states[-1][0].items())
            assert resumed.info() == states[-1][1]

    @pytest.mark.parametrize("optimiser", ["sgd", "adam", "adamw"])
    def test_prototypes_are_frozen_first_and_then_of_length_one(self, pictures, optimiser):
        swav = planned(pictures, frozen=0.5)
        steps = dataclasses.replace(swav.recipe.steps, optimiser=optimiser, epochs=4)
        swav = dataclasses.replace(swav, epochs=4, recipe=dataclasses.replace(swav.recipe, steps=steps))
        fit = SwavFit(swav, Inputs(pictures.inputs, "own", "cpu"))
        begun = fit.arrays()["weights.prototypes.weight"].copy()
        for _ in range(2):
            fit.train_epoch()
        assert np.allclose(fit.arrays()["weights.prototypes.weight"], begun, atol=1e-6)
        fit.train_epoch()
        moved = fit.arrays()["weights.prototypes.weight"]
        assert not np.allclose(moved, begun, atol=1e-6)
        fit.model.normalise_prototypes()
        assert np.allclose(np.linalg.norm(fit.arrays()["weights.prototypes.weight"], axis=1), 1, atol=1e-6)

    def test_features_are_what_the_last_layer_sees(self, pictures):
        inputs = Inputs(pictures.inputs, "own", "cpu")
        fit = SwavFit(planned(pictures), inputs)
        fit.train_epoch()
        fit.model.eval()
        with torch.no_grad():
            z = fit.model(inputs.batch(torch.arange(40)))
        assert np.allclose(embed_rows(fit.swav, inputs, fit.arrays()), fit.model.tap.seen.numpy(), atol=1e-5)
        assert np.allclose(np.linalg.norm(z.numpy(), axis=1), 1, atol=1e-5)

    @pytest.mark.parametrize("model", ["resnet18", "simple"])
    def test_other_networks_have_features_too(self, model, pictures):
        recipe = dataclasses.replace(REPORT, model=model, hidden=8, projection=4, prototypes=3)
        network = SwavNetwork(recipe, (3, 12, 12))
        assert network.scores(network(torch.zeros(2, 3, 12, 12))).shape == (2, 3)

    def test_draws_of_a_row_do_not_depend_on_batches(self, pictures):
        """A stream of views is named by seed, view and epoch: the batch's size changes the order alone."""
        first = draw(FAST.crops, FAST.look, 40, 3, generator(0, "swav", "view", 0, 0, 0), torch.device("cpu"))
        again = draw(FAST.crops, FAST.look, 40, 3, generator(0, "swav", "view", 0, 0, 0), torch.device("cpu"))
        assert torch.equal(first.top, again.top)

    @pytest.mark.slow
    def test_digits_are_told_apart_better_than_by_a_random_network(self):
        from dataprune.scores.neighbours import knn_accuracy

        digits = read("digits")
        swav = plan_swav(digits, SwavSettings(epochs=40))
        inputs = Inputs(digits.inputs, "own", "cpu")
        fit = SwavFit(swav, inputs)
        before = embed_rows(swav, inputs, fit.arrays())
        for _ in range(40):
            fit.train_epoch()
        after = embed_rows(swav, inputs, fit.arrays())
        first, last = (knn_accuracy(x, digits.labels, None, digits.labels) for x in (before, after))
        assert last > first + 0.02
