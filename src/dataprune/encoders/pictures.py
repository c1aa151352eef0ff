"""Encoders of pictures by name: the built-in ones, those of other libraries, and functions of one's own.

What a picture goes through before the network sees it comes from the model's own configuration, never from us.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from dataprune import plugins, store
from dataprune.data import EncoderRecord
from dataprune.encoders.efficientnet import LITES, PREPROCESSING, efficientnet
from dataprune.encoders.encoder import Encoder
from dataprune.encoders.hubs import loading
from dataprune.errors import InputError, invalid, unknown_choice
from dataprune.precision import has_bfloat16

BATCH = 32  # pictures that a network looks at together
NATIVE = 224  # the side that the built-in encoders were trained with, and see photographs with
ENLARGED = 4  # times the side of smaller pictures: docs/log.md has figures of this

Batch = UInt8[np.ndarray, "batch height width channels"]


@dataclass(frozen=True, eq=False)
class Loaded:
    """A network, what brings pictures before it, and what is said of both."""

    network: Callable[[Tensor], Tensor]
    prepare: Callable[[Batch], Tensor]
    weights: str
    preprocessing: str
    precision: str = "float32"


def open_pictures(name: str, side: int, device: str = "cpu") -> Encoder:
    """Open the encoder of pictures of a side by its name: InputError if it is unknown or does not load, MachineError if what it
    needs is not installed."""
    kind, _, rest = name.partition(":")
    if name in LITES:
        return _encoder(name, _lite(name, side, device), side, device)
    if not rest:
        raise unknown_choice("encoder", name, ("auto", "scratch", *LITES, *(f"{one}:..." for one in LOADERS), "module:function"))
    if kind not in LOADERS:
        plugins.load(name)
        return Encoder(EncoderRecord(name, "", side, "its own"), lambda block: plugins.call(name, np.array(block)))
    with loading(name):
        return _encoder(name, LOADERS[kind](rest), side, device)


def _encoder(name: str, loaded: Loaded, side: int, device: str) -> Encoder:
    where, batch = torch.device(device), BATCH if device == "cpu" else 8 * BATCH

    def encode(block: Batch) -> np.ndarray:
        colours = np.repeat(block, 3, axis=3) if block.shape[3] == 1 else block[..., :3]
        with torch.inference_mode():
            batches = (loaded.prepare(colours[start : start + batch]).to(where) for start in range(0, len(colours), batch))
            return np.concatenate([loaded.network(batch).float().cpu().numpy() for batch in batches])

    if isinstance(loaded.network, nn.Module):
        loaded.network.to(where)
    return Encoder(EncoderRecord(name, loaded.weights, side, loaded.preprocessing, loaded.precision), encode)


def _lite(name: str, side: int, device: str) -> Loaded:
    precision = "bfloat16" if device == "cpu" and has_bfloat16() else "float32"
    kind = getattr(torch, precision)
    network = efficientnet(name).to(kind).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    size = min(NATIVE, ENLARGED * side) // 32 * 32

    def prepare(block: Batch) -> Tensor:
        pixels = torch.from_numpy(np.array(block)).to(device).permute(0, 3, 1, 2)
        if pixels.shape[2:] != (size, size):
            pixels = functional.interpolate(pixels.float(), (size, size), mode="bilinear", antialias=True)
        return pixels.to(torch.float32).sub_(127).div_(128).to(kind, memory_format=torch.channels_last)

    return Loaded(network, prepare, LITES[name].sha256, f"bilinear to {size} pixels, {PREPROCESSING}", precision)


def _timm(name: str) -> Loaded:
    timm = import_module("timm")
    network = timm.create_model(name, pretrained=True, num_classes=0).eval()
    config = timm.data.resolve_model_data_config(network)
    transform = timm.data.create_transform(**config, is_training=False)
    return Loaded(network, _one_by_one(transform), weights_of(network), _told(transform))


def _open_clip(name: str) -> Loaded:
    arch, _, tag = name.partition("/")
    if not tag:
        raise invalid("encoder", "be open_clip:ARCH/TAG", f"open_clip:{name}")
    network, _, transform = import_module("open_clip").create_model_and_transforms(arch, pretrained=tag)
    return Loaded(network.eval().encode_image, _one_by_one(transform), weights_of(network), _told(transform))


def _torchhub(name: str) -> Loaded:
    """Open a model of a hub whose entry points say what it needs: torchvision's do, others may carry `default_cfg`."""
    repo, _, model = name.rpartition(":")
    if not repo:
        raise invalid("encoder", "be torchhub:REPO:MODEL", f"torchhub:{name}")
    source: dict[str, Any] = {"source": "local"} if Path(repo).is_dir() else {"trust_repo": True}
    try:
        weights = torch.hub.load(repo, "get_model_weights", model, **source).DEFAULT  # type: ignore[no-untyped-call]
    except RuntimeError:  # no such entry point
        pass
    else:
        network, transform = torch.hub.load(repo, model, weights=weights, **source), weights.transforms()  # type: ignore[no-untyped-call]
        return Loaded(_headless(network), _one_by_one(transform), weights_of(network), _told(transform))
    network = torch.hub.load(repo, model, **source)  # type: ignore[no-untyped-call]
    try:
        said = _Said.of_timm(getattr(network, "pretrained_cfg", None) or getattr(network, "default_cfg", {}))
    except KeyError as missing:
        raise InputError(f"'torchhub:{name}' does not say how pictures are prepared: no {missing}. Name a function.") from None
    return Loaded(_headless(network), said.prepare, weights_of(network), repr(said))


def _hf(name: str) -> Loaded:
    transformers = import_module("transformers")
    processor = transformers.AutoImageProcessor.from_pretrained(name)
    network, told = transformers.AutoModel.from_pretrained(name, output_loading_info=True)
    pooled = not any("pooler" in key for key in told["missing_keys"])  # else its pooling would be random

    def vectors(pixels: Tensor) -> Tensor:
        if hasattr(network, "get_image_features"):
            found = network.get_image_features(pixel_values=pixels)
            return found if isinstance(found, Tensor) else found.pooler_output
        said = network(pixel_values=pixels)
        if pooled and getattr(said, "pooler_output", None) is not None:
            return said.pooler_output.flatten(1)  # type: ignore[no-any-return]
        hidden = said.last_hidden_state
        return hidden[:, 0] if hidden.ndim == 3 else hidden.mean((2, 3))  # type: ignore[no-any-return]

    def prepare(block: Batch) -> Tensor:
        pictures = [Image.fromarray(pixels) for pixels in block]
        return processor(images=pictures, return_tensors="pt")["pixel_values"]  # type: ignore[no-any-return]

    network.eval()
    return Loaded(vectors, prepare, weights_of(network), json.dumps(processor.to_dict(), sort_keys=True, default=str))


def _onnx(name: str) -> Loaded:
    """Open an ONNX file, with the `preprocessor_config.json` beside it that exporters write."""
    path = Path(name)
    beside = path.with_name("preprocessor_config.json")
    if not path.is_file() or not beside.is_file():
        raise invalid("encoder", f"be onnx:FILE with {beside.name} beside it", f"no {beside if path.is_file() else path}")
    runtime = import_module("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    said, given = _Said.of_hf(json.loads(beside.read_text(encoding="utf-8"))), session.get_inputs()[0].name

    def vectors(pixels: Tensor) -> Tensor:
        found = torch.from_numpy(session.run(None, {given: pixels.numpy()})[0])
        return found if found.ndim == 2 else found[:, 0] if found.ndim == 3 else found.mean((2, 3))

    return Loaded(vectors, said.prepare, store.sha256(path), repr(said))


LOADERS = dict[str, Callable[[str], Loaded]](timm=_timm, hf=_hf, torchhub=_torchhub, open_clip=_open_clip, onnx=_onnx)


@dataclass(frozen=True)
class _Said:
    """What a model's configuration says of its pictures: side, mean and deviation of [0, 1], and Pillow's number of the filter."""

    size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    resample: int
    scale: float = 1 / 255

    @classmethod
    def of_timm(cls, config: Mapping[str, Any]) -> "_Said":
        """Read what timm's models say, and those that follow them; KeyError names what is missing."""
        filter_ = Image.Resampling[config["interpolation"].upper()]
        return cls(config["input_size"][-1], tuple(config["mean"]), tuple(config["std"]), int(filter_))

    @classmethod
    def of_hf(cls, config: Mapping[str, Any]) -> "_Said":
        """Read what image processors of Hugging Face's say; KeyError names what is missing."""
        size = config.get("crop_size") or config["size"]
        side = size if isinstance(size, int) else size["height"] if "height" in size else size["shortest_edge"]
        return cls(side, tuple(config["image_mean"]), tuple(config["image_std"]), config["resample"], config["rescale_factor"])

    def prepare(self, block: Batch) -> Float[Tensor, "batch 3 size size"]:
        """Resize and normalise pictures."""
        square, filter_ = (self.size, self.size), Image.Resampling(self.resample)
        resized = np.stack([np.asarray(Image.fromarray(pixels).resize(square, filter_)) for pixels in block])
        mean, std = (torch.tensor(one).view(-1, 1, 1) for one in (self.mean, self.std))
        return (torch.from_numpy(resized).permute(0, 3, 1, 2) * self.scale - mean) / std


def _one_by_one(transform: Callable[[Image.Image], Tensor]) -> Callable[[Batch], Tensor]:
    return lambda block: torch.stack([transform(Image.fromarray(pixels)) for pixels in block])


def _told(transform: object) -> str:
    return " ".join(str(transform).split())


def _headless(network: nn.Module) -> nn.Module:
    """Take the classifier off, where the last child is one; what it was given are the vectors."""
    name, last = list(network.named_modules())[-1]
    if isinstance(last, nn.Linear):
        parent, _, child = name.rpartition(".")
        setattr(network.get_submodule(parent), child, nn.Identity())
    return network.eval()


def weights_of(network: nn.Module) -> str:
    """Return the SHA-256 (hex) over the names and the values of all weights."""
    digest = hashlib.sha256()
    for name, value in sorted(network.state_dict().items()):
        digest.update(f"{name} {store.array_digest(value.detach().cpu().float().numpy())} ".encode())
    return digest.hexdigest()
