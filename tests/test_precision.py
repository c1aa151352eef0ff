"""float32 or bfloat16: how it is chosen, what a run is made of, and that it goes on with what it began with."""

from dataclasses import replace

import numpy as np
import pytest

import dataprune as dp
from dataprune import precision, store
from dataprune.errors import InputError
from dataprune.precision import LITTLE_FLOPS, choose
from dataprune.training.fit import Fit, Training
from dataprune.training.inputs import Inputs
from dataprune.training.recipes import Recipe

RECIPE = Recipe("r", batch=16)
LONG = 10 * LITTLE_FLOPS


@pytest.fixture
def machine(monkeypatch):
    """Say what the processor has, and how many times as fast it is with bfloat16."""

    def made(units, times):
        monkeypatch.setattr(precision, "has_bfloat16", lambda: units)
        monkeypatch.setattr(precision, "speed_of_bfloat16", lambda: times)

    return made


@pytest.mark.parametrize(
    ("units", "times", "asked", "device", "flops", "begun", "expected"),
    [
        (True, 1.6, "auto", "cpu", LONG, None, "bf16"),
        (True, 1.6, "auto", "cpu", LITTLE_FLOPS / 2, None, "fp32"),
        (True, 1.05, "auto", "cpu", LONG, None, "fp32"),
        (False, 9.0, "auto", "cpu", LONG, None, "fp32"),
        (False, 9.0, "auto", "cuda:1", 0.0, None, "bf16"),
        (True, 9.0, "auto", "mps", LONG, None, "fp32"),
        (True, 1.6, "fp32", "cuda", LONG, None, "fp32"),
        (False, 0.1, "bf16", "cpu", 0.0, "fp32", "bf16"),
        (True, 1.6, "auto", "cpu", LONG, "fp32", "fp32"),
        (False, 0.1, "auto", "cpu", 0.0, "bf16", "bf16"),
    ],
)
def test_what_is_chosen(machine, units, times, asked, device, flops, begun, expected):
    machine(units, times)
    found = choose(asked, device, flops, begun)
    assert found.precision == expected
    assert bool(found.reason) == (asked != "auto" or flops >= LITTLE_FLOPS or begun is not None or device.startswith("cuda"))


def test_the_measurement_is_a_ratio():
    assert 0.001 < precision.speed_of_bfloat16() < 1000


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    labels = np.arange(48) % 3
    images = rng.integers(0, 120, (48, 8, 8, 3), dtype=np.uint8)
    images[np.arange(48), :, :, labels] += 100
    return dp.from_arrays(images, labels)


def weights(data, precision):
    fit = Fit(
        Training("proxy", RECIPE, 2, 0, 3, precision=precision), Inputs(data.images, "own", "cpu"), data.labels, np.ones(48, bool)
    )
    fit.train_epoch()
    fit.train_epoch()
    return np.concatenate([value.ravel() for value in fit.arrays().values()])


def test_bfloat16_is_the_same_twice_and_near_float32(data):
    one, other = weights(data, "bf16"), weights(data, "fp32")
    np.testing.assert_array_equal(one, weights(data, "bf16"))
    assert 0.9 < np.corrcoef(one, other)[0, 1] < 1


SETTINGS = dp.Settings(members=2, epochs=3, folds=0, batch=16, precision="bf16")
SERIAL, TWO = dp.Hardware("cpu", "serial"), dp.Hardware("cpu", "processes", 2)


def el2n(run):
    return run.scores["el2n"].values


def test_a_run_goes_on_with_what_it_began_with(data, tmp_path, machine):
    machine(units=False, times=0.1)
    first = dp.score(data, tmp_path / "a", replace(SETTINGS, members=1), SERIAL)
    assert first.manifest.spec.precision == "bf16"
    more = dp.score(data, tmp_path / "a", replace(SETTINGS, precision="auto"), TWO, extend=True)  # another member, in a process
    assert more.manifest.spec.precision == "bf16"
    np.testing.assert_array_equal(el2n(more), el2n(dp.score(data, tmp_path / "b", SETTINGS, SERIAL)))
    with pytest.raises(InputError, match="precision bf16 there, fp32 asked"):
        dp.score(data, tmp_path / "b", replace(SETTINGS, precision="fp32"), SERIAL)


def test_a_run_in_float32_is_as_before_there_was_a_choice(data, tmp_path, machine):
    run = dp.score(data, tmp_path / "b", replace(SETTINGS, members=1, precision="auto"), SERIAL)
    plain = run.manifest.spec.plain
    assert plain.pop("precision") == "fp32"
    (tmp_path / "a").mkdir()
    store.write_sealed(tmp_path / "a" / "spec.json", plain)
    machine(units=True, times=9.0)
    assert (
        dp.score(data, tmp_path / "a", replace(SETTINGS, precision="auto"), SERIAL, extend=True).manifest.spec.precision == "fp32"
    )
    with pytest.raises(InputError, match="precision"):
        dp.score(data, tmp_path / "a", SETTINGS, SERIAL, extend=True)


def test_a_study_goes_on_with_what_it_began_with(data, tmp_path, machine):
    machine(units=False, times=0.1)
    spec = replace(dp.preset("half"), parts=(dp.Sweep("random", (0.5,)),), seeds=1, epochs=2, batch=16, precision="bf16")
    made = dp.run_study(dp.Splits(data), spec, tmp_path / "s", hardware=SERIAL)
    again = dp.run_study(dp.Splits(data), replace(spec, precision="auto"), tmp_path / "s", hardware=SERIAL)
    assert again.spec.precision == "bf16"
    np.testing.assert_array_equal(again.trials["trial"], made.trials["trial"])
    other = dp.run_study(dp.Splits(data), replace(spec, precision="fp32"), tmp_path / "t", hardware=SERIAL)
    assert set(other.trials["trial"]).isdisjoint(made.trials["trial"])
