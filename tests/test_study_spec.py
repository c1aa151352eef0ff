"""What a study asks: presets, TOML out and in, and what is refused."""

import dataclasses

import pytest

from dataprune.errors import InputError
from dataprune.study.presets import PRESETS, QUESTIONS, preset
from dataprune.study.spec import StudySpec, Sweep, from_toml, read_spec, to_toml


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_comes_back_from_its_toml(name):
    assert from_toml(to_toml(preset(name))) == preset(name)
    assert name in QUESTIONS


def test_everything_that_can_be_asked_comes_back():
    spec = StudySpec(
        'od"d\\ \n\x7f花',
        (Sweep("window", (0.4, 0.25), (0.0, 0.1)), Sweep("hardest", (1.0,))),
        ("el2n", "mine.csv:loss"),
        seeds=5,
        seed=7,
        budget="steps",
        model="linear",
        epochs=4,
        balanced=True,
        noise=0.125,
        clusters=("auto", "20"),
        tolerance=0.0,
    )
    assert from_toml(to_toml(spec)) == spec


def test_what_is_left_out_has_its_default():
    assert from_toml('preset = "mine"\n[[parts]]\nstrategy = "hardest"\nkeep = [1]') == StudySpec(
        "mine", (Sweep("hardest", (1.0,)),)
    )


def test_presets_are_those_of_the_report():
    assert preset("sweep").parts == (Sweep("hardest", (0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3)),)
    assert preset("window").parts[0].start[-1] == 0.6
    assert len(preset("window").parts[0].start) == 16
    assert preset("noise-window").noise == 0.1
    assert preset("curriculum").stages[0] == (10, 0.5)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("preset = ", "is not TOML"),
        ('preset = "mine"\nprecision = "aut\udcce"', "is not TOML"),
        ("seeds = 3", "missing.*`preset`"),
        ('preset = "a"\nseed_count = 3', r"must be one of .*got 'seed_count'"),
        ('preset = "a"\nbuget = "steps"', "Did you mean 'budget'"),
        ('preset = "a"\n[[parts]]\nstrategie = "hardest"', "Did you mean 'strategy'"),
        ('preset = "a"\n[[parts]]\nkeep = [0.5]', r"missing.*`strategy`.*parts\[0\]"),
        ('preset = "a"\n[[parts]]\nstrategy = "hardst"', "Did you mean 'hardest'"),
        ('preset = "a"\n[[parts]]\nstrategy = "hardest"\nkeep = [30]', "fraction kept: write 0.3 to keep 30 %"),
        ('preset = "a"\n[[parts]]\nstrategy = "hardest"\nkeep = 0.5', r"Expected `array`, got `float`.*parts\[0\].keep"),
        ('preset = "a"\n[[parts]]\nstrategy = "hardest"\nkeep = []', "`keep` must hold at least one"),
        ('preset = "a"\n[[parts]]\nstrategy = "hardest"\nstart = [0.1]', "belongs to 'window'"),
        ('preset = "a"\nparts = 3', r"headed by \[\[parts\]\]"),
        ('preset = "a"\nseeds = "3"', "Expected `int`, got `str`.*seeds"),
        ('preset = "a"\nseeds = true', "Expected `int`, got `bool`.*seeds"),
        ('preset = "a"\nseeds = 0', "`seeds` must be at least 1"),
        ('preset = "a"\nseeds = 5000', "how many, not which one"),
        ('preset = "a"\nbudget = "time"', "`budget` must be one of epochs, steps"),
        ('preset = "a"\nnoise = 1.0', r"`noise` must be in \[0, 1\)"),
        ('preset = "a"\ntolerance = nan', "`tolerance` must be in"),
        ('preset = "a"\ntest_share = 0.0', "`test_share` must be in"),
        ('preset = "a"\nstages = [[1, 0.5], [1, 1.0]]', "`stages` must be given with"),
        ('preset = "a"\nstages = [[1, 0.5, 3]]', r"length 2.*stages\[0\]"),
        ('preset = "a"\nstages = [[2, 0.9], [1, 0.5]]\n[[parts]]\nstrategy = "easy-to-hard"', "growing shares"),
        ('preset = "a"\nstages = [[0, 1.0]]\n[[parts]]\nstrategy = "easy-to-hard"', "at least 1 epoch each"),
        ('preset = "a"\n[[parts]]\nstrategy = "hard-to-easy"', "`stages` must be given with"),
        ('preset = "a"\nscores = ["el2n", "el2n"]', "name each once"),
        ('preset = "a"\njudge = "validation"', "got 'judge'"),
    ],
)
def test_what_is_refused(text, message):
    with pytest.raises(InputError, match=message):
        from_toml(text)


def test_a_file_names_no_code_and_is_there(tmp_path):
    file = tmp_path / "spec.toml"
    for text in ('model = "os:system"', 'recipe = "os:system"'):
        file.write_text(f'preset = "a"\n{text}')
        with pytest.raises(InputError, match=r"name of dataprune in a spec file.*--"):
            read_spec(file)
    file.write_text(to_toml(preset("half")))
    assert read_spec(file) == preset("half")
    for path, why in ((tmp_path / "none.toml", "No such file"), (tmp_path, "Is a directory")):
        with pytest.raises(InputError, match=rf"`spec` must be a TOML file.*{why}"):
            read_spec(path)
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="no UTF-8"):
        read_spec(file)


def test_a_spec_of_before_recipes_went_is_read():
    before = 'judge = "test"\nvariants = []\ncontrols = ["random", "all"]\n'
    assert from_toml(before + to_toml(preset("half"))) == preset("half")


def test_an_unknown_preset_is_refused_with_the_nearest():
    with pytest.raises(InputError, match="Did you mean 'sweep'"):
        preset("sweap")


def test_every_field_of_a_spec_is_in_its_toml():
    names = {field.name for field in dataclasses.fields(StudySpec)} - {"parts"}
    assert all(f"\n{name} = " in "\n" + to_toml(preset("half")) for name in names)
