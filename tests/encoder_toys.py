"""Encoders small enough for tests: functions, models with random weights made on the spot, and stand-ins of other libraries."""

from types import SimpleNamespace

import numpy as np

from dataprune.data import from_arrays

seen: list[int] = []
drift = 0.0


def photographs(n, side=32, seed=0):
    """Return coloured noise as a data set of two classes: colour and detail like photographs have."""
    pixels = np.random.default_rng(seed).integers(0, 256, (n, side, side, 3), dtype=np.uint8)
    return from_arrays(pixels, np.arange(n) % 2)


def colours(batch):
    return np.asarray(batch).mean((1, 2))


def letters(batch):
    """Count some letters of texts."""
    return np.array([[text.count(one) for one in "aeiou"] for text in batch], np.float32)


def counted(batch):
    seen.append(len(batch))
    return colours(batch)


def drifting(batch):
    return colours(batch) + drift


def not_finite(batch):
    return np.full((len(batch), 2), np.nan)


def too_few(batch):
    return np.zeros(len(batch))


def uneven(batch):
    return np.zeros((len(batch), 2 + len(batch) % 2 + (len(batch) == 6)))


def tiny_vit(folder, pooling=True):
    """Save a ViT with random weights as `transformers` saves one, and return it."""
    import torch
    from transformers import ViTConfig, ViTImageProcessor, ViTModel

    torch.manual_seed(0)
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    vit = ViTModel(ViTConfig(image_size=16, patch_size=8, **sizes), add_pooling_layer=pooling).eval()
    vit.save_pretrained(folder)
    processor = ViTImageProcessor(size={"height": 16, "width": 16}, image_mean=[0.5] * 3, image_std=[0.25] * 3)
    processor.save_pretrained(folder)
    return vit


def tiny_onnx(path):
    """Write a graph that averages the positions of each channel."""
    import onnx
    from onnx import TensorProto, helper

    node = helper.make_node("ReduceMean", ["x", "axes"], ["y"], keepdims=0)
    axes = helper.make_tensor("axes", TensorProto.INT64, [2], [2, 3])
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 32, 32])
    found = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3])
    graph = helper.make_graph([node], "mean", [given], [found], [axes])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)


def _mean_network():
    from torch import nn

    class Mean(nn.Module):
        def forward(self, x):
            return x.mean((2, 3))

        encode_image = forward

    return Mean()


def _transform(picture):
    import torch

    return torch.from_numpy(np.array(picture)).permute(2, 0, 1) / 255


def timm_stand_in():
    """Return what `open_pictures` asks of timm, as its documentation describes it."""

    def create_model(name, *, pretrained, num_classes):
        assert pretrained
        assert num_classes == 0
        return _mean_network()

    def create_transform(*, input_size, is_training):
        assert not is_training
        return _transform

    data = SimpleNamespace(resolve_model_data_config=lambda model: {"input_size": (3, 32, 32)}, create_transform=create_transform)
    return SimpleNamespace(create_model=create_model, data=data)


def open_clip_stand_in():
    """Return what `open_pictures` asks of open_clip, as its documentation describes it."""

    def create_model_and_transforms(arch, *, pretrained):
        assert (arch, pretrained) == ("arch", "tag")
        return _mean_network(), None, _transform

    return SimpleNamespace(create_model_and_transforms=create_model_and_transforms)
