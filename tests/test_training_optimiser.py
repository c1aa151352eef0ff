"""The optimisers beside torch's classes, and that nothing imports torch's compiler, which takes a second in every process."""

import subprocess
import sys
from copy import deepcopy

import numpy as np
import pytest
import torch
from torch import nn

from dataprune.training.optimiser import MUON_RATE, Optimiser
from dataprune.training.recipes import Recipe

RECIPES = {
    "sgd": (Recipe("r"), lambda groups: torch.optim.SGD(groups, 0.1, 0.9, nesterov=True, fused=True)),
    "no momentum": (Recipe("r", momentum=0.0), lambda groups: torch.optim.SGD(groups, 0.1, fused=True)),
    "adam": (Recipe("r", optimiser="adam"), lambda groups: torch.optim.Adam(groups, 0.1, fused=True)),
    "adamw": (Recipe("r", optimiser="adamw"), lambda groups: torch.optim.AdamW(groups, 0.1, fused=True)),
}


@pytest.mark.parametrize("name", RECIPES)
def test_equals_torch(name):
    recipe, make = RECIPES[name]
    torch.manual_seed(0)
    ours = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(8 * 36, 3)).to(
        memory_format=torch.channels_last
    )
    theirs = deepcopy(ours)
    kernels, rest = ([p for p in theirs.parameters() if (p.ndim > 1) == decays] for decays in (True, False))
    optimisers = (Optimiser(ours, recipe), make([{"params": kernels, "weight_decay": 5e-4}, {"params": rest, "weight_decay": 0.0}]))
    x = torch.rand(16, 3, 8, 8)
    for _ in range(4):
        for network, optimiser in zip((ours, theirs), optimisers, strict=True):
            optimiser.zero_grad()
            network(x).square().mean().backward()
            optimiser.step()
    for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        np.testing.assert_array_equal(one.detach().numpy(), other.detach().numpy())


def test_muon_turns_kernels_at_a_fixed_length_and_leaves_the_rest_to_sgd():
    torch.manual_seed(0)
    ours = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(8 * 36, 3))
    other = deepcopy(ours)
    before, x = ours[0].weight.detach().clone(), torch.rand(16, 3, 8, 8)
    for network, recipe in ((ours, Recipe("r", "muon")), (other, Recipe("r"))):
        optimiser = Optimiser(network, recipe)
        network(x).square().mean().backward()
        optimiser.step()
    for name, one in ours.named_parameters():
        assert torch.equal(one, other.get_parameter(name)) == (name != "0.weight"), name
    step = (before * 8**0.5 / before.norm() - ours[0].weight.detach()) / (0.1 * MUON_RATE)
    left, _, right = torch.linalg.svd(ours[0].weight.grad.flatten(1), full_matrices=False)
    turned = left.T @ step.flatten(1) @ right.T  # the step has the gradient's directions, each about as far
    assert torch.linalg.matrix_norm(turned - torch.diag(torch.diagonal(turned))) < 1e-3
    assert 0.5 < torch.diagonal(turned).min() <= torch.diagonal(turned).max() < 1.3


def test_muon_moves_a_kernel_that_begins_at_zero():
    network = nn.Conv2d(3, 8, 3, bias=False)
    nn.init.zeros_(network.weight)
    optimiser = Optimiser(network, Recipe("r", "muon"))
    (network(torch.rand(4, 3, 8, 8)) - 1).square().mean().backward()
    optimiser.step()
    assert network.weight.isfinite().all()
    assert network.weight.norm() > 0


def test_a_parameter_that_is_not_trained_stays():
    network = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    network[0].weight.requires_grad_(False)
    before = network[0].weight.clone()
    optimiser = Optimiser(network, Recipe("r"))
    network(torch.ones(2, 3)).sum().backward()
    optimiser.step()
    assert torch.equal(network[0].weight, before)


PROGRAM = """
import sys
import numpy as np
from dataprune.training.fit import Fit, Training, forward_flops
from dataprune.training.inputs import Inputs
from dataprune.training.recipes import Recipe

images = np.zeros((20, 8, 8, 3), np.uint8)
fit = Fit(Training("proxy", Recipe("r", batch=10), 1, 0, 2), Inputs(images, "none", "cpu"), np.arange(20) % 2, np.ones(20, bool))
fit.train_epoch()
fit.restore(fit.arrays(), fit.info())
forward_flops("proxy", (3, 8, 8), 2)
sys.exit("torch._dynamo" in sys.modules)
"""


@pytest.mark.long
def test_training_and_counting_do_not_import_the_compiler():
    assert subprocess.run([sys.executable, "-c", PROGRAM], check=False).returncode == 0
