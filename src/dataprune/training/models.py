"""The networks: a table of names, each a function from the shape of a picture or vector to a torch module."""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from dataprune.encoders.efficientnet import LITES, EfficientNet, efficientnet
from dataprune.encoders.encoder import BUILT_IN
from dataprune.errors import invalid, unknown_choice
from dataprune.plugins import call, load
from dataprune.training.recipes import PRETRAINED, TREES

Build = Callable[[tuple[int, ...], int], nn.Module]

SMALL_PICTURE = 64  # up to this side a residual network keeps the resolution in its stem (He et al. 2016, section 4.2)
TUNED_SIDE, TUNED_CHUNK = 128, 64  # smaller pictures are enlarged to it; so many are looked at together
PROXY_MAP = 16  # the proxy's first stage works on maps of about this side, whatever the picture's size


def check_name(name: str) -> None:
    """Refuse a model that is not there. The module of a `module:function` model is imported: what it draws meanwhile must not come
    out of a weight stream."""
    if ":" in name:
        load(name)
    elif name not in (*MODELS, TREES.name):
        raise unknown_choice("model", name, (*MODELS, TREES.name))


def build(name: str, shape: tuple[int, ...], n_classes: int) -> nn.Module:
    """Build a network of `MODELS`, or by `module:function` of a function `(shape, n_classes) -> nn.Module`. The shape is that of
    one example, (channels, height, width) or (features,); a model that does not fit it is refused."""
    if ":" in name:
        model = call(name, shape, n_classes)
        if not isinstance(model, nn.Module):
            raise invalid("model", "be a function that returns a torch.nn.Module", f"{type(model).__name__} from {name}")
        return model
    check_name(name)
    if name == TREES.name:
        raise invalid("model", "be a network here", repr(name), "Trees have no layers, and studies train networks.")
    if len(shape) == 1 and name not in VECTOR_MODELS:
        raise invalid("model", f"be one of {', '.join(VECTOR_MODELS)} for feature vectors", repr(name))
    return MODELS[name](shape, n_classes)


class ConvNorm(nn.Module):
    """Convolution, batch normalisation and (mostly) ReLU; in evaluation the normalisation is folded into the convolution."""

    def __init__(self, n_in: int, n_out: int, kernel: int = 3, stride: int = 1, relu: bool = True) -> None:
        super().__init__()
        self.conv = nn.Conv2d(n_in, n_out, kernel, stride, padding=(kernel - 1) // 2, bias=False)
        self.norm = nn.BatchNorm2d(n_out)
        self.relu = relu

    def forward(self, x: Float[Tensor, "batch in h w"]) -> Float[Tensor, "batch out h2 w2"]:
        x = self.norm(self.conv(x)) if self.training else self._folded(x)
        return functional.relu_(x) if self.relu else x

    def _folded(self, x: Tensor) -> Tensor:
        norm = self.norm
        assert norm.running_mean is not None
        assert norm.running_var is not None
        scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
        bias = norm.bias - norm.running_mean * scale
        weight = (self.conv.weight * scale[:, None, None, None]).to(memory_format=torch.channels_last)
        return functional.conv2d(x, weight, bias, self.conv.stride, self.conv.padding)


class Pooled(nn.Module):
    """Global pooling and the last linear layer."""

    def __init__(self, width: int, n_classes: int, largest: bool) -> None:
        super().__init__()
        self.largest = largest
        self.linear = nn.Linear(width, n_classes)

    def forward(self, x: Float[Tensor, "batch width h w"]) -> Float[Tensor, "batch classes"]:
        logits: Tensor = self.linear(x.amax((2, 3)) if self.largest else x.mean((2, 3)))
        return logits


def proxy(shape: tuple[int, ...], n_classes: int, width: int = 32) -> nn.Module:
    """Build the fast convnet that scores by default: 3×3 layers on maps of about 16, 8 and 4 pixels. Larger pictures are first
    brought down to 16 pixels by strided convolutions, four-fold at a time: many channels on few positions are fast. A picture of 32
    pixels costs 7.5 million multiply-adds."""
    channels, side = shape[0], min(shape[1:])
    halvings = max(0, round(math.log2(max(side, 1) / PROXY_MAP)))
    strides = [4] * (halvings // 2) + [2] * (halvings % 2)
    stem: list[nn.Module] = []
    for left, stride in reversed(list(enumerate(reversed(strides)))):
        stem.append(ConvNorm(channels, width >> left, kernel=2 * stride, stride=stride))
        channels = width >> left
    if not stem:
        stem.append(ConvNorm(channels, width))
    pool = nn.MaxPool2d(2, ceil_mode=True)
    body = [ConvNorm(width, width), pool, ConvNorm(width, 2 * width), ConvNorm(2 * width, 2 * width), pool]
    return nn.Sequential(*stem, *body, ConvNorm(2 * width, 4 * width), Pooled(4 * width, n_classes, largest=True))


def proxy_wide(shape: tuple[int, ...], n_classes: int) -> nn.Module:
    """Build `proxy` half as wide again: 2.2 times the cost, and a better judge of labels."""
    return proxy(shape, n_classes, width=48)


def simple(shape: tuple[int, ...], n_classes: int) -> nn.Module:
    """Build the report's scorer of photographs: one 5×5 convolution with stride 2, ReLU, 2×2 max-pool, one linear layer."""
    channels, height, width = shape
    map_height, map_width = ((height - 5) // 2 + 1) // 2, ((width - 5) // 2 + 1) // 2
    if min(map_height, map_width) < 1:
        raise invalid("model", "fit the pictures ('simple' needs 7 pixels a side)", f"{height}×{width} pixels")
    layers = [nn.Conv2d(channels, 8, 5, stride=2), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(8 * map_height * map_width, n_classes))


class Block(nn.Module):
    """Two 3×3 convolutions, with the residual connection (He et al. 2016) or, for `plain`, without it and its last ReLU."""

    def __init__(self, n_in: int, n_out: int, stride: int, plain: bool) -> None:
        super().__init__()
        self.body = nn.Sequential(ConvNorm(n_in, n_out, stride=stride), ConvNorm(n_out, n_out, relu=False))
        self.plain = plain
        same = stride == 1 and n_in == n_out
        self.shortcut = nn.Identity() if plain or same else ConvNorm(n_in, n_out, kernel=1, stride=stride, relu=False)

    def forward(self, x: Float[Tensor, "batch in h w"]) -> Float[Tensor, "batch out h2 w2"]:
        y: Tensor = self.body(x)
        return y if self.plain else functional.relu_(y + self.shortcut(x))


def resnet18(shape: tuple[int, ...], n_classes: int) -> nn.Module:
    """Build ResNet-18: a 3×3 stem without pooling up to 64 pixels, the usual 7×7 stem with max-pool above."""
    return _eighteen_layers(shape, n_classes, strides=(1, 2, 2, 2), plain=False)


def plain18(shape: tuple[int, ...], n_classes: int) -> nn.Module:
    """Build the report's CIFAR-100 network: ResNet-18 without shortcuts and without the ReLU after a block's second normalisation.
    Stages 2 and 3 keep the resolution. The stem follows the rule of `resnet18`; the report does not say which one it used."""
    return _eighteen_layers(shape, n_classes, strides=(1, 1, 1, 2), plain=True)


def _eighteen_layers(shape: tuple[int, ...], n_classes: int, strides: tuple[int, ...], plain: bool) -> nn.Module:
    if min(shape[1:]) <= SMALL_PICTURE:
        layers: list[nn.Module] = [ConvNorm(shape[0], 64)]
    else:
        layers = [ConvNorm(shape[0], 64, kernel=7, stride=2), nn.MaxPool2d(3, stride=2, padding=1)]
    n_in = 64
    for stage, stride in enumerate(strides):
        n_out = 64 << stage
        layers += [Block(n_in, n_out, stride, plain), Block(n_out, n_out, 1, plain)]
        n_in = n_out
    return nn.Sequential(*layers, Pooled(n_in, n_classes, largest=False))


def mlp(shape: tuple[int, ...], n_classes: int) -> nn.Module:
    """Build two hidden layers of 256 units, for feature vectors (pictures are flattened)."""
    hidden = [nn.Flatten(), nn.Linear(math.prod(shape), 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU()]
    return nn.Sequential(*hidden, nn.Linear(256, n_classes))


def linear(shape: tuple[int, ...], n_classes: int) -> nn.Module:
    """Build one linear layer: softmax regression on feature vectors (pictures are flattened)."""
    return nn.Sequential(nn.Flatten(), nn.Linear(math.prod(shape), n_classes))


class Tuned(nn.Module):
    """A pretrained encoder with a last layer of our own, for pictures brought to [−1, 1] (`normalise="half"`)."""

    def __init__(self, n_classes: int) -> None:
        super().__init__()
        body = efficientnet(BUILT_IN)
        assert isinstance(body, EfficientNet)
        body.thaw()
        self.body, self.linear = body, nn.Linear(1280, n_classes)
        nn.init.zeros_(self.linear.weight)

    def forward(self, x: Float[Tensor, "batch channels h w"]) -> Float[Tensor, "batch classes"]:
        chunk = len(x) if torch.is_grad_enabled() else TUNED_CHUNK
        logits: Tensor = self.linear(torch.cat([self.body(self._as_pretrained(some)) for some in torch.split(x, chunk)]))
        return logits

    def _as_pretrained(self, x: Tensor) -> Tensor:
        x = (x.float() * 127.5 + 0.5) / 128  # (byte − 127) / 128
        larger = TUNED_SIDE / min(x.shape[2:])
        if larger > 1:
            x = functional.interpolate(x, scale_factor=larger, mode="bilinear", align_corners=False)
        return x.expand(-1, 3, -1, -1)


def encoder_tuned(shape: tuple[int, ...], n_classes: int) -> nn.Module:
    """Build the built-in encoder to be trained on: efficientnet-lite0 from its pretrained weights, all but the filters of single
    channels. Pictures below 128 pixels are enlarged. The best judge of small pictures, in six to eight times the time."""
    if shape[0] not in (1, 3):
        raise invalid("model", "fit the pictures ('encoder-tuned' needs one channel or three)", f"{shape[0]} channels")
    return Tuned(n_classes)


MODELS: dict[str, Build] = {
    make.__name__.replace("_", "-"): make for make in (proxy, proxy_wide, encoder_tuned, simple, resnet18, plain18, linear, mlp)
}
VECTOR_MODELS = ("linear", "mlp", TREES.name)


def begins_from(model: str) -> str:
    """Return the SHA-256 of the weights that a model begins from; of one from scratch nothing."""
    return LITES[BUILT_IN].sha256 if model == PRETRAINED else ""


def last_linear(model: nn.Module, n_classes: int) -> nn.Linear | None:
    """Find the last linear layer with one output for each class; its input is the penultimate feature vector."""
    layers = [layer for layer in model.modules() if isinstance(layer, nn.Linear) and layer.out_features == n_classes]
    return layers[-1] if layers else None
