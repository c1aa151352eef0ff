"""Whatever is written here is read back: over odd names and random orders, no label, score or decision moves to another example."""

import csv
import unicodedata
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from PIL import Image

import dataprune as dp
from dataprune.errors import InputError
from dataprune.run.decisions import read_decisions
from dataprune.run.export import write_fiftyone, write_folder, write_kept
from dataprune.run.features import match
from dataprune.run.own_scores import score_of_file
from dataprune.run.run import write_scores
from dataprune.run.suspects import read_suspects_of, read_truth
from dataprune.scores import Score, Scores
from dataprune.tables import read_table, write_table, write_vectors

NUMBERS = ["0", "1", "2", "3", "10", "11", "007", "1.0", "1e5", "-1", "true", "nan", "None"]
POOL = [*NUMBERS, "a", " a", "a ", "A", "=1+1", "x,y", 'q"q', "é", "e\u0301", "train", "id", "label", "日本", "a/b", " ", "lily"]
STEMS = st.text(st.sampled_from("ab01é\u0301 ,\"'=-_.(;\n"), min_size=1, max_size=5).filter(lambda name: name.strip(" .\n") != "")
ENDINGS = st.sampled_from([".png", ".jpg", ".JPG", "", ".v2", ".tar.gz"])
QUICK = settings(max_examples=15, phases=[Phase.generate], deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
LONG = settings(max_examples=1000, deadline=None, suppress_health_check=list(HealthCheck))


@st.composite
def problems(draw):
    """Draw a labelled set: vectors with odd ids, which mostly begin with the class as a folder, and odd classes."""
    classes = draw(st.lists(st.sampled_from(POOL), min_size=2, max_size=6, unique=True))
    labels = np.array(draw(st.lists(st.integers(0, len(classes) - 1), min_size=2, max_size=12)))
    labels[:2] = [0, 1]
    has_folders = draw(st.booleans())
    stems = draw(st.lists(st.tuples(STEMS, ENDINGS), min_size=len(labels), max_size=len(labels)))
    ids = [(f"{classes[label]}/" if has_folders else "") + "".join(stem) for label, stem in zip(labels, stems, strict=True)]
    ids = [name if name not in ids[:row] else f"{row}-{name}" for row, name in enumerate(ids)]
    if len(set(ids)) < len(ids) or draw(st.integers(0, 9)) == 0:
        ids = [str(row) for row in range(len(labels))]
    return dp.from_arrays(np.arange(len(ids), dtype=np.float32)[:, None], labels, ids=ids, classes=classes), draw(
        st.integers(0, 99)
    )


def named(dataset):
    return {name: dataset.classes[label] for name, label in zip(dataset.ids.tolist(), dataset.labels.tolist(), strict=True)}


def finding(data, rng):
    """Return a finding that suspects some, with suggestions."""
    n, k = len(data), data.n_classes
    suggested = (data.labels + rng.integers(1, k, n)) % k
    p = rng.random(n)
    reason = np.full(n, "", object)
    how = (float(n), 0.0, float(n), data.classes, "out", "made up")
    return dp.Suspects(data.ids, data.labels, suggested, p, p, p > 0.5, reason, *how, suggested_probability=p)


def check_tables(folder, problem, ending):
    """Write every table that is written here, with its rows in another order, and read it through everything that takes it."""
    data, seed = problem
    rng, bare, want = np.random.default_rng(seed), data.with_labels(None), named(data)
    found, run = finding(data, rng), SimpleNamespace(path=folder, ids=data.ids, labels=data.labels, classes=data.classes)
    files = {name: folder / f"{name}{ending}" for name in ("suspects", "cleaned", "kept", "truth")} | {
        "scores": folder / "scores.parquet"
    }
    for file in folder.iterdir():
        file.unlink()
    words = rng.choice(["", "keep", "drop", "relabel"], len(data)).astype(object)
    dp.write_suspects(found, files["suspects"])
    reorder(files["suspects"], rng, decision=dict(zip(data.ids.tolist(), words, strict=True)))
    assert dp.write_suspects(found, files["suspects"]) == (words != "").sum()  # carried over
    reorder(files["suspects"], rng)
    after = np.where(words == "relabel", found.suggested_label, data.labels)
    wanted = dict(zip(data.ids.tolist(), after.tolist(), strict=True))
    for decided in (
        read_decisions(files["suspects"], data.ids.tolist(), data.labels, data.classes),
        read_decisions(files["suspects"], data.ids.tolist(), data.labels, data.classes, read_suspects_of(run, files["suspects"])),
    ):
        assert dict(zip(decided.ids.tolist(), decided.labels.tolist(), strict=True)) == wanted
        assert decided.decision.tolist() == [word or "keep" for word in words]
    dp.write_cleaned(decided, dp.Targets(files["cleaned"]))
    reorder(files["cleaned"], rng)
    again = read_decisions(files["cleaned"], data.ids.tolist(), data.labels, data.classes)
    assert (again.labels.tolist(), again.decision.tolist()) == (decided.labels.tolist(), decided.decision.tolist())
    names = np.array(data.classes, object)
    write_table(files["truth"], {"id": data.ids, "label": names[found.suggested_label], "clean_label": names[data.labels]})
    scored = Score("el2n", rng.random(len(data)), ids=data.ids, labels=data.labels)
    write_scores(files["scores"], Scores([scored]), data.classes)
    manifest = SimpleNamespace(spec=SimpleNamespace(data="0"), files={"spec.json": SimpleNamespace(sha256="0")})
    kept = dp.select(Score("el2n", rng.random(len(data)), ids=data.ids, labels=data.labels), 1.0)
    write_kept(kept, files["kept"], SimpleNamespace(classes=data.classes, manifest=manifest))
    for name, column in (("suspects", "label"), ("truth", "clean_label"), ("scores", "label"), ("kept", "label")):
        if name != "kept":
            reorder(files[name], rng)
        for one in (data.with_labels((data.labels + 1) % data.n_classes), bare):
            assert named(dp.read(one, labels=f"{files[name]}:{column}")) == want, (name, one.labels)
        assert read_truth(f"{files[name]}:{column}", found)[0].tolist() == data.labels.tolist()
    stay = {data.ids[row]: data.classes[after[row]] for row in decided.rows.tolist()}
    if stay:
        assert named(dp.read(bare, labels=files["cleaned"])) == stay
        assert named(dp.read(data, labels=files["cleaned"])) == stay
    values = read_table(files["scores"]).columns
    score = dict(zip(values["id"], values["el2n"], strict=True))
    assert score_of_file(f"{files['scores']}:el2n", data.ids).values.tolist() == [score[name] for name in data.ids.tolist()]
    try:
        write_fiftyone(found, None, folder / "labels.json")
        assert named(dp.read(bare, labels=folder / "labels.json")) == want
    except InputError:
        pass  # two ids are one without endings, or in composed form
    order = rng.permutation(len(data))
    write_vectors(folder / "features.parquet", data.ids[order], data.features[order])
    assert match(dp.read_features(folder / "features.parquet"), data.ids).place.tolist() == np.argsort(order).tolist()


def reorder(path, rng, **changes):
    """Rewrite a table with its rows in another order, and with other cells by id."""
    table = read_table(path, as_text=True)
    cells = {name: list(values) for name, values in table.columns.items()}
    for name, by_id in changes.items():
        cells[name] = [by_id[one] for one in cells["id"]]
    order = rng.permutation(len(cells["id"]))
    if path.suffix == ".parquet":
        arrays = {name: np.array(values, object if isinstance(values[0], str) else None)[order] for name, values in cells.items()}
        write_table(path, arrays, table.metadata)
        return
    header = path.read_text(encoding="utf-8").split("\n", 1)[0]
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write(header + "\n")
        rows = csv.writer(file, quoting=csv.QUOTE_ALL)  # bare numbers are refused where they may be indices
        rows.writerows([[values[row] for values in cells.values()] for row in order])


FORMS = {
    "as it is": str,
    "decomposed": lambda name: unicodedata.normalize("NFD", name),
    "composed": lambda name: unicodedata.normalize("NFC", name),
    "here": lambda name: f"./{name}",
    "absolute": lambda name: f"/home/me/data/{name}",
    "without endings": lambda name: name.rpartition(".")[0] or name,
    "name alone": lambda name: name.rpartition("/")[2],
}


def check_foreign(folder, problem, form, key):
    """Write a table as another tool would, its names in another form: labels are right, or it is refused."""
    data, seed = problem
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(data))
    path = folder / "foreign.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow([key, "split", "label"])
        rows.writerows([FORMS[form](str(data.ids[row])), "train", data.classes[data.labels[row]]] for row in order.tolist())
    other = data.with_labels((data.labels + 1) % data.n_classes)
    try:
        read = named(dp.read(other, labels=path))
    except InputError:
        return False
    is_numbered = data.ids.tolist() == [str(row) for row in range(len(data))]
    if is_numbered and key == "whatever":
        return False  # no column names the rows, which are numbers
    assert read == named(data)
    return True


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
@pytest.mark.parametrize("how", ["quick", pytest.param("long", marks=pytest.mark.slow)])
def test_what_is_written_here_is_read_back(tmp_path, ending, how):
    @(QUICK if how == "quick" else LONG)
    @given(problem=problems())
    def check(problem):
        check_tables(tmp_path, problem, ending)

    check()


@pytest.mark.parametrize("how", ["quick", pytest.param("long", marks=pytest.mark.slow)])
def test_tables_of_others_are_right_or_refused(tmp_path, how):
    count = {True: 0, False: 0}

    @(QUICK if how == "quick" else settings(LONG, max_examples=5000))
    @given(problem=problems(), form=st.sampled_from(sorted(FORMS)), key=st.sampled_from(["id", "File Name", "whatever"]))
    def check(problem, form, key):
        count[check_foreign(tmp_path, problem, form, key)] += 1

    check()
    assert count[True] > count[False]


@pytest.mark.parametrize("how", ["copy", "link"])
@pytest.mark.parametrize("cases", [3, pytest.param(60, marks=pytest.mark.slow)])
def test_folders_are_read_back(tmp_path, how, cases):
    for case in range(cases):
        rng = np.random.default_rng(case)
        classes = sorted({one for one in rng.choice(POOL, 8) if one not in ("a/b", "train") and one.strip(" .") == one})
        names = ["0.png", "1.png", "é.png", "e\u0301 (2).png", "=1,2.png", 'q"q.png', "a.b.png"]
        root, shade = tmp_path / f"{case}-data", {}
        for place, (name, file) in enumerate((name, file) for name in classes for file in names):
            (root / name).mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (8, 8), (place, 255 - place, 7)).save(root / name / file)
            shade[place] = name
        data = dp.read(root)
        kept = dp.select(rng.random(len(data)), 0.6, labels=data.labels, ids=data.ids)
        out = tmp_path / f"{case}-kept"
        write_folder(kept, data, out, how)
        read = dp.read(out)
        assert len(read) == len(kept)
        safe = {name: name if not set('/\\:*?"<>|') & set(name) and not name.startswith(("-", ".")) else None for name in classes}
        for row in range(len(read)):
            was = shade[int(read.images[row, 0, 0, 0])]
            assert safe[was] in (None, read.classes[read.labels[row]])
