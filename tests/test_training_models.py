"""The networks: shapes, the size rule, the report's own two, and what is refused."""

import pytest
import torch
from torch import nn

from dataprune.errors import InputError
from dataprune.training.models import MODELS, ConvNorm, build, last_linear


@pytest.mark.parametrize(
    "name", [name for name in MODELS if name != "encoder-tuned"]
)  # that one needs weights: test_run_encoders.py
@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 28, 28), (3, 40, 24)])
def test_every_model_takes_pictures(name, shape):
    logits = build(name, shape, 7)(torch.zeros(2, *shape))
    assert logits.shape == (2, 7)


@pytest.mark.parametrize("side", [8, 9, 16, 28, 32, 64, 96, 128, 224])
def test_proxy_adapts_to_the_picture(side):
    model = build("proxy", (3, side, side), 5)
    first_map = {}
    pool = next(i for i, layer in enumerate(model) if isinstance(layer, nn.MaxPool2d))
    model[pool - 1].register_forward_hook(lambda layer, given, out: first_map.update(side=out.shape[-1]))
    assert model(torch.zeros(2, 3, side, side)).shape == (2, 5)
    assert min(side, 11) <= first_map["side"] <= 23


def test_the_wide_proxy_is_half_as_wide_again():
    first = [
        next(layer for layer in build(name, (3, 32, 32), 10).modules() if isinstance(layer, nn.Conv2d))
        for name in ("proxy", "proxy-wide")
    ]
    assert 2 * first[1].out_channels == 3 * first[0].out_channels


def test_simple_is_the_reports_network():
    model = build("simple", (3, 32, 32), 15)
    layers = [type(layer) for layer in model]
    assert layers == [nn.Conv2d, nn.ReLU, nn.MaxPool2d, nn.Flatten, nn.Linear]
    # by hand: (32 − 5) // 2 + 1 = 14, pooled 7; 8·7·7·15 + 15 weights in the last layer, 8·3·25 + 8 in the first
    assert sum(p.numel() for p in model.parameters()) == (8 * 3 * 25 + 8) + (8 * 7 * 7 * 15 + 15)


def test_resnet18_has_the_known_number_of_weights():
    # 11,173,962 is the usual count for ResNet-18 with a 3×3 stem and 10 classes (convolutions, norms, last layer)
    assert sum(p.numel() for p in build("resnet18", (3, 32, 32), 10).parameters()) == 11_173_962
    # and 11,689,512 with the 7×7 stem and 1,000 classes
    assert sum(p.numel() for p in build("resnet18", (3, 224, 224), 1000).parameters()) == 11_689_512


def test_plain18_has_no_shortcut_and_keeps_resolution_in_stages_two_and_three():
    model = build("plain18", (3, 32, 32), 100)
    sides = []
    for layer in model[1:9]:
        layer.register_forward_hook(lambda layer, given, out: sides.append(out.shape[-1]))
    model(torch.zeros(2, 3, 32, 32))
    assert sides == [32] * 6 + [16] * 2
    block = model[1]
    x = torch.randn(2, 64, 8, 8)
    assert torch.equal(block(x), block.body(x))
    assert (block(x) < 0).any(), "no ReLU after the second normalisation"


def test_folded_normalisation_equals_the_unfolded():
    layer = ConvNorm(3, 8)
    for _ in range(3):
        layer(torch.randn(16, 3, 9, 9))
    with torch.no_grad():
        layer.norm.weight.uniform_(0.5, 2)
        layer.norm.bias.uniform_(-1, 1)
    layer.eval()
    x = torch.randn(4, 3, 9, 9)
    expected = torch.relu(layer.norm(layer.conv(x)))
    torch.testing.assert_close(layer(x), expected, rtol=1e-4, atol=1e-5)


def test_last_linear_is_the_one_with_a_logit_for_each_class():
    model = nn.Sequential(nn.Linear(4, 10), nn.ReLU(), nn.Linear(10, 10), nn.ReLU(), nn.Linear(10, 3))
    assert last_linear(model, 3) is model[4]
    assert last_linear(model, 10) is model[2]
    assert last_linear(nn.Conv2d(3, 3, 1), 3) is None


def test_what_is_refused():
    with pytest.raises(InputError, match="Did you mean 'resnet18'"):
        build("resnet8", (3, 32, 32), 10)
    with pytest.raises(InputError, match="linear, mlp, trees for feature vectors, got 'proxy'"):
        build("proxy", (16,), 10)
    with pytest.raises(InputError, match="needs 7 pixels"):
        build("simple", (3, 6, 6), 10)
    with pytest.raises(InputError, match=r"returns a torch\.nn\.Module"):
        build("builtins:slice", (3, 2), 10)
