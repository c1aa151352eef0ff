"""What else is wrong with a set: what was planted is found, and nothing else; what is not there is said; a run keeps it."""

import re
import shlex
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scipy import ndimage

import dataprune as dp
from dataprune import store
from dataprune.cli import main
from dataprune.errors import InputError
from dataprune.quality import kinds
from dataprune.quality.kinds import KINDS, limit_of
from dataprune.quality.pictures import MEASURES, measure
from dataprune.report.page.write import write_report
from dataprune.run import issues as run_issues

EXAMPLES = Path(__file__).parents[1] / "examples" / "pipelines"
QUICK = dp.Settings(model="simple", members=2, epochs=6, folds=2, effort="low")
PLANTED = {"dark": "a/dark.png", "bright": "a/bright.png", "low_contrast": "a/flat.png", "blurred": "a/blurred.png"}
PLANTED |= {"odd_shape": "a/wide.png", "odd_size": "a/large.png"}


def scene(seed, height=64, width=64):
    """Draw rectangles of all colours: what photographs share is edges, and black and white somewhere."""
    rng = np.random.default_rng(seed)
    pixels = np.zeros((height, width, 3), np.uint8)
    for _ in range(60):
        top, left = rng.integers(0, height), rng.integers(0, width)
        pixels[top : top + rng.integers(4, 20), left : left + rng.integers(4, 20)] = rng.choice([0, 40, 128, 200, 255], 3)
    return pixels


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Make forty sound pictures in two classes, and one of each fault."""
    place = tmp_path_factory.mktemp("quality") / "set"
    faults = {
        "dark": scene(100) // 5 * 2,
        "bright": 165 + scene(101) // 3,
        "flat": 90 + scene(102) // 6,
        "blurred": ndimage.gaussian_filter(scene(103).astype(float), (2, 2, 0)).astype(np.uint8),
        "wide": scene(104, 64, 300),
        "large": scene(105, 640, 640),
    }
    pictures = {f"{'ab'[seed % 2]}/{seed}.png": scene(seed) for seed in range(40)}
    for name, pixels in pictures.items():
        pixels[..., 0] *= name.startswith("a")
    pictures |= {f"a/{name}.png": pixels for name, pixels in faults.items()}
    for name, pixels in pictures.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(place / name)
    return place


def test_what_was_planted_is_found_and_nothing_else(folder):
    found = dp.find_issues(folder)
    named = {one.kind: [str(found.ids[row]) for row in one.rows] for one in found}
    assert {kind: names for kind, names in named.items() if names} == {kind: [name] for kind, name in PLANTED.items()}
    assert set(found.absent) == {"off_topic", "mixed_classes"}
    table = found.to_pandas()
    assert list(table["id"]) == found.ids.tolist()
    assert table["is_dark"].sum() == 1
    assert len(found._shown()["id"]) == len(PLANTED)


def test_no_alarm_on_digits():
    found = dp.find_issues("digits")
    assert not any(len(one) for one in found)
    assert "too small" in found.absent["blurred"]  # of 8 pixels nothing is claimed


@pytest.mark.parametrize("kind", ["dark", "bright", "low_contrast", "blurred"])
def test_what_all_have_is_no_issue(kind):
    kept = {"dark": 0.1, "bright": 0.9, "low_contrast": 0.1, "blurred": 0.2}[kind]
    values = kept + np.random.default_rng(0).uniform(-0.02, 0.02, 500)
    assert not limit_of(kind, values).beyond(values).any()
    assert not limit_of(kind, np.full(9, kept)).beyond(np.full(9, kept)).any()
    assert not limit_of(kind, np.full(9, np.nan)).beyond(np.full(9, np.nan)).any()


@given(st.integers(0, 2**32 - 1), st.floats(0.3, 1.0))
def test_sharpness_measures_edges_and_not_what_they_bound(seed, strength):
    whole = scene(seed)
    fainter = (whole * strength).astype(np.uint8)
    at = MEASURES.index("sharpness")
    sharp, faint, turned = (measure(one, 64, 64)[at] for one in (whole, fainter, whole.swapaxes(0, 1)))
    blurred = ndimage.gaussian_filter1d(whole.astype(float), 2.0, axis=seed % 2).astype(np.uint8)  # as of a moved camera
    assert sharp == turned
    assert abs(sharp - faint) < 0.3
    assert measure(blurred, 64, 64)[at] < KINDS["blurred"].absolute < sharp


def test_an_edge_that_is_blurred_by_s_pixels_has_a_sharpness_of_061_over_s():
    """d2/d1 of a Gaussian edge: exp(-1/2) / s."""
    for sigma in (1.0, 1.5, 2.0):
        edges = ndimage.gaussian_filter1d(np.repeat([0.0, 255.0] * 4, 32), sigma)
        pixels = np.broadcast_to(edges.astype(np.uint8), (256, 256))
        both = np.maximum(pixels // 2, pixels.T // 2)[:, :, None]
        assert measure(both, 256, 256)[MEASURES.index("sharpness")] == pytest.approx(0.607 / sigma, rel=0.25)


@pytest.mark.parametrize("reference", [20_000, 100])  # of a large set, some rows stand for all
def test_off_topic_is_far_from_all_neighbours_in_any_order(monkeypatch, reference):
    monkeypatch.setattr(kinds, "REFERENCE_ROWS", reference)
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(0, 0.3, (400, 16)) + 1, rng.normal(0, 0.3, (3, 16)) - 1])
    away = kinds.off_topic(x)
    flagged = limit_of("off_topic", away).beyond(away)
    assert set(np.argsort(-away)[:3]) == {400, 401, 402}
    assert flagged[400:].all()
    assert flagged[:400].mean() < 0.03
    if reference > len(x):
        order = rng.permutation(len(x))
        assert np.allclose(kinds.off_topic(x[order]), away[order], atol=1e-5)


def test_digits_that_are_alike_are_no_bursts_and_copies_among_them_are():
    small = dp.read("digits").images[:150, :, :, 0]
    large = np.stack([np.asarray(Image.fromarray(one).resize((32, 32), Image.Resampling.NEAREST)) for one in small])
    noise = np.random.default_rng(0).normal(0, 3, (3, 32, 32))
    copies = (large[7] * np.array([0.97, 1.0, 1.03])[:, None, None] + noise).clip(0, 255).astype(np.uint8)
    pictures = np.concatenate([large, copies])[:, :, :, None]
    for n, wanted in ((150, []), (153, [7, 150, 151, 152])):
        data = dp.from_arrays(pictures[:n], np.arange(n) % 10)
        assert dp.find_duplicates(data).is_exact.mean() < 0.1, "many are near by chance"
        assert np.sort(dp.find_issues(data)["burst"].rows).tolist() == wanted


def test_names_count_where_they_are_reliable():
    classes = ("cat", "big cat", "7", "dog")
    ids = [f"pics/cat_{n}.jpg" for n in range(9)] + [f"pics/BIG-cats {n}.jpg" for n in range(9)] + [f"7_{n}" for n in range(8)]
    labels = np.array([0] * 8 + [3] + [1] * 9 + [0, 1, 2, 3] * 2)
    assert np.flatnonzero(kinds.other_name(ids, labels, classes) > 0.5).tolist() == [8]  # 7 stands in names of all classes


def test_chance_is_no_mixture():
    dataset = dp.read("digits")
    found = dp.find_issues(dataset, predicted=np.zeros(len(dataset), np.int64))
    assert "largest class" in found.absent["mixed_classes"]


def test_classes_that_mix_are_named():
    labels = np.repeat([0, 1, 2], 40)
    predicted = labels.copy()
    predicted[30:50] = 1 - predicted[30:50]
    data = dp.from_arrays(np.random.default_rng(0).normal(size=(120, 3)).astype(np.float32), labels)
    found = dp.find_issues(data, predicted=predicted)
    assert found.mixed == (("0", "1", 0.25),)
    assert np.flatnonzero(found.is_flagged("mixed_classes")).tolist() == list(range(30, 50))


def test_of_squares_no_shape_is_claimed(folder):
    squares = replace(dp.read(folder), origin=None)
    found = dp.find_issues(squares)
    assert "squares" in found.absent["odd_shape"]
    assert "squares" in found.absent["odd_size"]


def test_a_run_that_may_not_be_written_is_looked_at_all_the_same(read_only):
    found = run_issues.find_issues("digits")
    assert run_issues.kept(read_only, "x", lambda: found) is found
    assert {one.name for one in read_only.iterdir()} == {"old"}


@pytest.fixture(scope="module")
def run(folder, tmp_path_factory):
    return dp.score(folder, tmp_path_factory.mktemp("run") / "run", QUICK, dp.Hardware(executor="serial"))


def test_a_run_keeps_its_issues_and_verifies_them(run, monkeypatch):
    first = run.issues()
    assert dp.verify(run.path) == []
    with monkeypatch.context() as patched:
        patched.setattr(run_issues, "find_issues", None)
        again = run.issues()
    assert repr(again) == repr(first)
    assert again["dark"].rows.tolist() == first["dark"].rows.tolist()
    with pytest.raises(InputError, match="Did you mean 'dark'"):
        again["drak"]
    with pytest.raises(InputError, match="was not looked for: there are no vectors"):
        again["off_topic"]
    with pytest.raises(InputError, match="nosuch"):
        run.issues("nosuch")
    assert again.limits == first.limits
    assert again.absent == first.absent
    file = run.path / run_issues.FILE
    whole = file.read_bytes()
    file.write_bytes(whole[:-1])
    assert any(run_issues.FILE in fault for fault in dp.verify(run.path))
    run.issues()
    assert file.read_bytes() == whole
    store.write_manifest(run.path, run_issues.MANIFEST, {"key": "of another version"}, [run_issues.FILE])
    assert repr(run.issues()) == repr(first)


def test_other_rules_look_anew(run, monkeypatch):
    run.issues()
    monkeypatch.setitem(KINDS, "dark", kinds.Kind("x", "low", 0.0))
    assert not run.issues().is_flagged("dark").any()


def check(capsys, *arguments):
    capsys.readouterr()
    code = main(["check", *map(str, arguments)])
    return code, *capsys.readouterr()


def test_check_fails_by_its_limits_alone(folder, capsys):
    assert check(capsys, folder)[0] == 0
    code, out, _ = check(
        capsys, folder, "--max-issues", "dark=1", "--max-issues", "50%", "--max-duplicates", "0", "--max-leaks", "0"
    )
    assert code == 0
    assert out.splitlines()[-1].startswith("passes: no limit is exceeded (5 of ")
    code, out, err = check(capsys, folder, "--max-issues", "off_topic=0")
    assert (code, "off_topic cannot be judged by its limit of 0" in err) == (1, True)
    assert out.splitlines()[-1].startswith("fails: off_topic cannot be judged")
    code, out, _ = check(capsys, folder, "--max-issues", "off_topic=0", "--allow-unjudged")
    assert code == 0
    assert out.splitlines()[-1].startswith("passes what could be judged: ")
    code, out, _ = check(capsys, folder, "--max-issues", "dark=0", "--max-issues", "blurred=1%")
    assert code == 1
    assert "a/dark.png" in out
    assert out.splitlines()[-1].startswith("fails: dark 1, at most 0, blurred 1, at most 1%")


def test_check_counts_copies_leaks_and_what_cannot_be_read(tmp_path, capsys):
    for split in ("train", "test"):
        for name in "ab":
            (tmp_path / split / name).mkdir(parents=True)
            for seed in range(4):
                own = 10 * (split == "test") + seed + 4 * (name == "b")
                Image.fromarray(scene(own)).save(tmp_path / split / name / f"{seed}.png")
    Image.fromarray(scene(0)).save(tmp_path / "train" / "b" / "copy.png")
    Image.fromarray(scene(1)).save(tmp_path / "test" / "a" / "leak.png")
    assert check(capsys, tmp_path, "--max-duplicates", "1", "--max-leaks", "1")[0] == 0
    assert check(capsys, tmp_path, "--max-duplicates", "0")[0] == check(capsys, tmp_path, "--max-leaks", "0")[0] == 1
    (tmp_path / "train" / "a" / "broken.png").write_bytes(b"no picture")
    code, out, _ = check(capsys, tmp_path, "--exact-only")
    assert code == 1
    assert "broken.png" in out
    assert check(capsys, tmp_path, "--max-unreadable", "1")[0] == 0


def test_wrong_labels_are_judged_only_where_there_is_a_number(run, capsys, monkeypatch):
    found = dp.find_suspects(run)
    n_wrong = {"ranking": None, "few": 1.0, "many": 12.0}
    for what, code in (("ranking", 1), ("few", 0), ("many", 1)):
        why = "in_sample" if what == "ranking" else None
        low, high = (None, None) if what == "ranking" else (0.5, 20.0)
        known = replace(found, n_wrong=n_wrong[what], n_wrong_low=low, n_wrong_high=high, why_no_count=why)
        monkeypatch.setattr(dp, "find_suspects", lambda run, known=known: known)
        got, _, err = check(capsys, run.path, "--max-wrong", "10%")
        assert got == code
        assert ("cannot be judged" in err) == (what == "ranking")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--max-wrong", "2%"], ["max-wrong", "RUN"]),
        (["--max-leaks", "two"], ["max-leaks", "two"]),
        (["--max-leaks", "0.02"], ["max-leaks", "2%"]),
        (["--max-leaks", "101%"], ["max-leaks", "101%"]),
        (["--max-issues", "blury=1"], ["blury", "blurred"]),
        (["--max-issues", "nan%"], ["nan%"]),
    ],
)
def test_a_limit_that_is_none_is_refused_before_reading(folder, capsys, monkeypatch, arguments, words):
    monkeypatch.setattr(dp, "read_splits", None)
    code, _, err = check(capsys, folder, *arguments)
    assert code == 2
    assert all(word in err for word in words)


def test_measures_of_a_picture_do_not_depend_on_where_it_lies(folder, tmp_path):
    """Bytes in a Parquet file, or a file of its own: the same."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    files = sorted(folder.rglob("*.png"))
    rows = [{"bytes": file.read_bytes(), "path": file.relative_to(folder).as_posix()} for file in files]
    pq.write_table(pa.table({"image": rows, "label": [file.parent.name for file in files]}), tmp_path / "train.parquet")
    one, other = dp.find_issues(folder), dp.find_issues(tmp_path / "train.parquet")
    places = {str(name): row for row, name in enumerate(other.ids)}
    rows = [places[str(name)] for name in one.ids]
    for name, values in one.values.items():
        assert np.array_equal(values, other.values[name][rows], equal_nan=True), name
    assert one.absent == other.absent


@pytest.mark.parametrize("damage", [lambda b: b[:-9] + bytes([b[-9] ^ 64]) + b[-8:], lambda b: b[:-20]], ids=["bit", "cut"])
def test_damaged_measures_are_said_and_made_again(damage, folder, tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("DATAPRUNE_CACHE", str(tmp_path))
    before = dp.find_issues(folder)
    (file,) = tmp_path.glob("measures/*/values.npy")
    whole = file.read_bytes()
    file.write_bytes(damage(whole))
    after = dp.find_issues(folder)
    assert "damaged" in caplog.text
    assert file.read_bytes() == whole
    for name, values in before.values.items():
        assert np.array_equal(values, after.values[name], equal_nan=True), name


@pytest.mark.parametrize("name", ["pre-commit-config.yaml", "check-data.yml"])
def test_the_commands_of_the_pipelines_run(name, folder, tmp_path, monkeypatch):
    (command,) = re.findall(r"dataprune (check .*)", (EXAMPLES / name).read_text())
    (tmp_path / "data").symlink_to(folder)
    monkeypatch.chdir(tmp_path)
    assert main(shlex.split(command)) == ("issues" in command)  # six of 46 are odd


def test_the_page_shows_what_is_flagged_and_says_what_is_not_known(run, tmp_path, monkeypatch):
    write_report(run.path, tmp_path / "page.html")
    section = (tmp_path / "page.html").read_text().partition('<section id="issues"')[2].partition("</section>")[0]
    assert all(name in section for name in PLANTED.values())
    assert "not looked for" in section  # off topic: the run has no vectors
    monkeypatch.setattr(dp.Run, "issues", lambda *_: (_ for _ in ()).throw(InputError("in /home/somebody")))
    written = write_report(run.path, tmp_path / "other.html")
    assert "issues" in written.missing
    assert "somebody" not in (tmp_path / "other.html").read_text()
