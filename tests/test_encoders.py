"""Encoders of pictures: chosen, loaded by name, run once into the cache, and refused where they give no vectors."""

import json
import shutil
import socket
import time
from dataclasses import replace

import numpy as np
import pytest

from dataprune.data import Splits, from_arrays, read, read_splits
from dataprune.data.decode import write_png
from dataprune.encoders import Encoding, encode, encode_splits, hubs
from dataprune.encoders.encoder import BUILT_IN, MISSED, are_photographs, choose
from dataprune.encoders.pictures import open_pictures
from dataprune.errors import InputError, MachineError
from encoder_toys import colours, photographs, tiny_onnx, tiny_vit

SAID = {"size": 32, "image_mean": [0.5] * 3, "image_std": [0.25] * 3, "resample": 2, "rescale_factor": 1 / 255}
COLOURS = "encoder_toys:colours"
CALLS = "encoder_toys:counted"


@pytest.fixture(autouse=True)
def _empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("DATAPRUNE_CACHE", str(tmp_path / "cache"))


class TestOnce:
    @pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.long)])
    def test_vectors_stand_beside_the_pictures_in_their_order(self, workers):
        data = photographs(300)  # more than one block
        made = encode(data, COLOURS, Encoding(workers=workers))
        assert np.allclose(made.features, colours(data.images), rtol=1e-3)
        assert np.allclose(made.mirrored, colours(data.images[:, :, ::-1]), rtol=1e-3)
        assert made.images is not None
        assert (made.images == data.images).all()
        assert made.features.dtype == made.mirrored.dtype == np.float32  # half precision is for networks
        assert made.encoder is not None
        assert made.encoder.name == COLOURS

    def test_a_second_time_only_looks_whether_they_are_the_same(self):
        import encoder_toys

        data = photographs(40)
        encoder_toys.seen.clear()
        first = encode(data, CALLS)
        assert sum(encoder_toys.seen) >= 80  # as they are and mirrored
        encoder_toys.seen.clear()
        assert (encode(data, CALLS).features == first.features).all()
        assert sum(encoder_toys.seen) == 4
        assert encode(first, CALLS) is first

    def test_progress_counts_examples_to_the_end(self):
        heard = []
        encode(photographs(70), COLOURS, Encoding(progress=lambda done, total: heard.append((done, total))))
        assert heard == [(32, 70), (64, 70), (70, 70)]

    def test_an_interrupted_one_goes_on_with_the_blocks_that_are_there(self, monkeypatch):
        import encoder_toys

        def stop(done, total):
            if done > 256:
                raise KeyboardInterrupt

        data = photographs(300)
        with pytest.raises(KeyboardInterrupt):
            encode(data, CALLS, Encoding(workers=1, progress=stop))
        encoder_toys.seen.clear()
        made = encode(data, CALLS, Encoding(workers=1))
        assert sum(encoder_toys.seen) == 2 * 44 + 4
        assert np.allclose(made.features, colours(data.images), rtol=1e-3)

    @pytest.mark.parametrize(("scale", "kind"), [(1.0, np.float16), (1e7, np.float32)])
    def test_of_networks_half_precision_is_kept_where_it_holds_the_numbers(self, scale, kind, tmp_path):
        pytest.importorskip("onnx")
        pytest.importorskip("onnxruntime")
        tiny_onnx(tmp_path / "mean.onnx")
        (tmp_path / "preprocessor_config.json").write_text(json.dumps(SAID | {"image_std": [1 / scale] * 3}))
        made = encode(photographs(4), f"onnx:{tmp_path / 'mean.onnx'}")
        assert made.features.dtype == kind
        assert np.isfinite(made.features).all()

    def test_splits_are_encoded_alike(self):
        made = encode_splits(Splits(photographs(6), test=photographs(4, seed=1)), COLOURS)
        assert made.test is not None
        assert made.test.encoder == made.train.encoder
        assert made.test.features.shape == (4, 3)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("efficientnet-lite9", "efficientnet-lite0"),
        ("encoder_toys:missing", "missing"),
        ("encoder_toys:not_finite", "NaN"),
        ("encoder_toys:too_few", r"\(\d+, D\)"),
        ("encoder_toys:uneven", "as many numbers"),
        ("hf:/no/such/folder", "loaded"),
        ("onnx:/no/such/file.onnx", "file.onnx"),
        ("torchhub:only", "REPO:MODEL"),
        ("open_clip:only", "ARCH/TAG"),
    ],
)
def test_what_is_no_encoder_is_refused_in_one_line(name, message):
    if name.startswith("hf:"):
        pytest.importorskip("transformers")
    with pytest.raises(InputError, match=message) as error:
        encode(photographs(70), name)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("name", "needs"), [("hf:some/model", "transformers"), ("torchhub:some/repo:model", "torch")])
def test_a_hub_that_does_not_answer_is_given_up_soon(monkeypatch, name, needs):
    pytest.importorskip(needs)
    monkeypatch.setattr(hubs, "ANSWER_SECONDS", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections, and never says a word
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        monkeypatch.setenv("HF_ENDPOINT", address)
        monkeypatch.setattr(hubs, "GITHUB", address)
        begun = time.monotonic()
        with pytest.raises(MachineError, match=r"127\.0\.0\.1.* does not answer") as error:
            open_pictures(name, 32)
    assert time.monotonic() - begun < 15
    assert "\n" not in str(error.value)
    assert socket.getdefaulttimeout() is None


def test_other_numbers_than_the_cache_says_are_refused():
    import encoder_toys

    data = photographs(8)
    encode(data, "encoder_toys:drifting")
    encoder_toys.drift = 40.0
    try:
        with pytest.raises(InputError, match=r"of the cache.*Remove"):
            encode(data, "encoder_toys:drifting")
    finally:
        encoder_toys.drift = 0.0


def test_vectors_need_no_encoder():
    vectors = from_arrays(np.ones((4, 3), np.float32))
    assert encode(vectors, "auto") is vectors
    with pytest.raises(InputError, match="vectors"):
        encode(vectors, COLOURS)


class TestChoice:
    def test_what_photographs_are(self):
        many = np.broadcast_to(photographs(1, side=64).images, (10_001, 64, 64, 3))
        assert are_photographs(many)
        assert not are_photographs(many[:, :48, :48])  # too small
        assert are_photographs(many[:10_000, :32, :32])  # but few
        assert not are_photographs(many[:10_000, :31])
        assert not are_photographs(photographs(8, side=64).images[..., :1])  # gray
        assert not are_photographs(np.repeat(photographs(8, side=64).images[..., :1], 3, axis=3))  # gray in three channels
        assert not are_photographs(photographs(8, side=64).images // 128 * 128)  # drawings

    def test_digits_and_vectors_are_judged_from_scratch(self):
        assert choose(read("digits"), "auto") == (None, ())

    @pytest.mark.parametrize("installed", [True, False])
    def test_auto_is_the_built_in_one_or_a_line_that_says_how_to_get_it(self, installed, monkeypatch):
        monkeypatch.setattr("dataprune.encoders.efficientnet.weights_file", lambda name: "there" if installed else None)
        assert choose(photographs(8, side=64), "auto") == ((BUILT_IN, ()) if installed else (None, (MISSED,)))
        assert choose(photographs(8, side=64), "scratch") == (None, ())
        if not installed:
            assert MISSED in encode(photographs(8, side=64)).notes
            with pytest.raises(MachineError, match="pip install"):
                encode(photographs(8, side=64), BUILT_IN)


class TestLoading:
    """The real loading code, on tiny models with random weights that are made on the spot."""

    def test_a_folder_of_transformers(self, tmp_path):
        torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
        vit = tiny_vit(tmp_path / "vit")
        images = photographs(5).images
        opened = open_pictures(f"hf:{tmp_path / 'vit'}", 32)
        config = json.loads((tmp_path / "vit" / "preprocessor_config.json").read_text())
        from PIL import Image

        square = (config["size"]["width"], config["size"]["height"])
        resized = np.stack([np.asarray(Image.fromarray(one).resize(square, Image.Resampling.BILINEAR)) for one in images])
        pixels = torch.from_numpy((resized / 255 - config["image_mean"]) / config["image_std"]).float().permute(0, 3, 1, 2)
        with torch.inference_mode():
            expected = vit(pixel_values=pixels).pooler_output.numpy()
        assert np.allclose(opened(images), expected, atol=2e-2)
        assert len(opened.record.weights) == 64
        assert "0.25" in opened.record.preprocessing
        assert transformers is not None

    def test_without_a_stored_pooling_the_first_token_stands_for_the_picture(self, tmp_path):
        torch = pytest.importorskip("torch")
        pytest.importorskip("transformers")
        vit = tiny_vit(tmp_path / "vit", pooling=False)
        images = np.full((2, 16, 16, 3), 64, np.uint8)
        value = (64 / 255 - 0.5) / 0.25
        with torch.inference_mode():
            expected = vit(pixel_values=torch.full((2, 3, 16, 16), value)).last_hidden_state[:, 0].numpy()
        assert np.allclose(open_pictures(f"hf:{tmp_path / 'vit'}", 16)(images), expected, atol=2e-2)

    def test_an_onnx_file_with_its_configuration(self, tmp_path):
        pytest.importorskip("onnx")
        pytest.importorskip("onnxruntime")
        tiny_onnx(tmp_path / "mean.onnx")
        images = photographs(5).images
        with pytest.raises(InputError, match=r"preprocessor_config\.json"):
            open_pictures(f"onnx:{tmp_path / 'mean.onnx'}", 32)
        (tmp_path / "preprocessor_config.json").write_text(json.dumps(SAID))
        expected = (images.mean((1, 2)) / 255 - 0.5) / 0.25
        assert np.allclose(open_pictures(f"onnx:{tmp_path / 'mean.onnx'}", 32)(images), expected, atol=1e-4)
        (tmp_path / "preprocessor_config.json").write_text(json.dumps({name: SAID[name] for name in SAID if name != "resample"}))
        with pytest.raises(InputError, match="resample"):
            open_pictures(f"onnx:{tmp_path / 'mean.onnx'}", 32)

    def test_a_folder_of_torch_hub(self, tmp_path):
        pytest.importorskip("torch")
        (tmp_path / "hubconf.py").write_text(HUB)
        images = photographs(3).images
        opened = open_pictures(f"torchhub:{tmp_path}:told", 32)
        assert np.allclose(opened(images), (images.mean((1, 2)) / 255 - 0.5) / 0.25, atol=1e-4)
        with pytest.raises(InputError, match="prepared"):
            open_pictures(f"torchhub:{tmp_path}:silent", 32)

    @pytest.mark.parametrize("name", ["timm:some", "open_clip:arch/tag"])
    def test_on_stand_ins_of_libraries_that_cannot_be_imported_here(self, name, monkeypatch):
        import encoder_toys

        module = {"timm:some": encoder_toys.timm_stand_in(), "open_clip:arch/tag": encoder_toys.open_clip_stand_in()}[name]
        monkeypatch.setitem(__import__("sys").modules, name.partition(":")[0], module)
        images = photographs(3).images
        assert np.allclose(open_pictures(name, 32)(images), images.mean((1, 2)) / 255, atol=1e-5)

    def test_a_library_that_is_not_there_is_named_with_the_way_to_get_it(self, monkeypatch):
        monkeypatch.setitem(__import__("sys").modules, "timm", None)
        with pytest.raises(MachineError, match="pip install timm"):
            open_pictures("timm:some", 32)


HUB = """
from torch import nn

class Mean(nn.Module):
    def forward(self, x):
        return x.mean((2, 3))

def told():
    model = Mean()
    model.default_cfg = {"mean": [0.5] * 3, "std": [0.25] * 3, "input_size": (3, 32, 32), "interpolation": "bilinear"}
    return model

def silent():
    return Mean()
"""


class TestReadAnew:
    """Photographs that were brought to 128 pixels are read larger for the encoder."""

    @pytest.fixture
    def folder(self, tmp_path):
        for row, pixels in enumerate(photographs(6, side=160).images):
            (tmp_path / "data" / "ab"[row % 2]).mkdir(parents=True, exist_ok=True)
            write_png(tmp_path / "data" / "ab"[row % 2] / f"{row}.png", pixels)
        return tmp_path / "data"

    def test_they_keep_their_pictures_and_their_order(self, folder, monkeypatch):
        monkeypatch.setattr("dataprune.encoders.vectors.LIBRARIES", ("encoder_toys",))
        data = read(folder)
        assert data.images is not None
        assert data.images.shape[1] == 128
        larger = read(folder, image_size=224)
        some = data.take(np.array([4, 0, 5]))
        made = encode(some, COLOURS)
        assert (made.images == some.images).all()
        assert np.allclose(made.features, colours(larger.images[[4, 0, 5]]), rtol=1e-3)
        assert made.encoder is not None
        assert made.encoder.size == 224

    def test_unless_another_size_was_asked_for_or_they_were_changed(self, folder, monkeypatch):
        monkeypatch.setattr("dataprune.encoders.vectors.LIBRARIES", ("encoder_toys",))
        asked = read(folder, image_size=128)
        changed = replace(read(folder), images=255 - np.asarray(asked.images), pack=None, known_digest=None)
        for data in (asked, changed):
            made = encode(data, COLOURS)
            assert made.encoder is not None
            assert made.encoder.size == 128
            assert np.allclose(made.features, colours(data.images), rtol=1e-3)

    def test_a_test_split_from_elsewhere_is_read_anew_where_train_is(self, folder, tmp_path, monkeypatch):
        monkeypatch.setattr("dataprune.encoders.vectors.LIBRARIES", ("encoder_toys",))
        other = tmp_path / "other"
        shutil.copytree(folder, other)
        made = encode_splits(read_splits(folder, test=other), COLOURS)
        assert made.test is not None
        assert made.train.encoder == made.test.encoder
        assert made.train.encoder.size == 224
        assert np.array_equal(made.train.features, made.test.features)

    def test_a_test_split_that_cannot_be_read_anew_is_refused_before_train_is_encoded(self, folder, monkeypatch):
        monkeypatch.setattr("dataprune.encoders.vectors.LIBRARIES", ("encoder_toys",))
        splits = read_splits(folder)
        heard = []
        splits = replace(splits, test=from_arrays(np.asarray(splits.train.images), splits.train.labels))
        with pytest.raises(InputError, match=r"test.*224 pixels.*image_size"):
            encode_splits(splits, COLOURS, Encoding(progress=lambda *of: heard.append(of)))
        assert not heard
