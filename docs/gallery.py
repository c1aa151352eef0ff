"""A page for each score and strategy, with a picture of what it picks of the built-in digits. Made when the site is: `make docs`."""

import re
import tempfile
from pathlib import Path

import numpy as np

import dataprune as dp
from dataprune.report.charts import draw_sheet, sheet_data
from dataprune.run.own_scores import needs_of, score_named, views_of
from dataprune.scores import ALIASES, FEATURE_SCORES, SCORES

SHOWN = 10
KEEP = 0.1
BY = {"moderate": "median_distance", "beta": "dual"}
"""The score of strategies that are meant for one; of the others `el2n`."""


def write(folder: Path) -> None:
    """Write all pages and their index into a folder."""
    folder.mkdir(exist_ok=True)
    told = differences(folder.parent / "scores.md")
    with tempfile.TemporaryDirectory() as temporary:
        digits = dp.read("digits")
        run = dp.score(digits, Path(temporary) / "run")
        np.save(pixels := Path(temporary) / "pixels.npy", digits.images.reshape(len(digits), -1) / 255.0)
        run = dp.add_features(run, dp.read_features(pixels))
        scores = [*SCORES, "median_distance", *FEATURE_SCORES]
        for name in scores:
            _score(folder, run, digits, name, told.get(name, ""))
        places = _places(digits)
        for name, strategy in dp.STRATEGIES.items():
            _strategy(folder, run, digits, places, name, strategy, told.get(name, ""))
    toctree = "\n".join(["# One by one", "", "What each score calls hard, and what each strategy keeps, of the digits of scikit-learn.", ""])
    for title, names in (("Scores", scores), ("Strategies", [f"keep-{name}" for name in dp.STRATEGIES])):
        toctree += "\n".join(["", "```{toctree}", f":caption: {title}", ":maxdepth: 1", "", *names, "```", ""])
    (folder / "index.md").write_text(toctree, encoding="utf-8")


def differences(page: Path) -> dict[str, str]:
    """Return what the scores' page says of each name in its lists: `- **name**: ...`."""
    text = page.read_text(encoding="utf-8")
    items = re.findall(r"^- ((?:\*\*`?[\w-]+`?\*\*(?:, | and )?)+):? (.*(?:\n  .*)*)", text, re.MULTILINE)
    lines = {names: re.sub(r"\n +", " ", said) for names, said in items}
    return {name: f"`{name}`: {said}" for names, said in lines.items() for name in re.findall(r"\*\*`?([\w-]+)`?\*\*", names)}


def _score(folder: Path, run: dp.Run, digits: dp.Dataset, name: str, told: str) -> None:
    score = score_named(run, name)
    order = np.argsort(score.difficulty, kind="stable")
    rows = [
        sheet_data(digits.images[part], [f"{digits.classes[digits.labels[row]]}: {score.values[row]:.3g}" for row in part], SHOWN, said)
        for part, said in ((order[::-1][:SHOWN], "hardest, label: value"), (order[:SHOWN], "easiest"))
    ]
    draw_sheet(sum(rows, ()), folder / f"{name}.png")
    spec = SCORES.get(name) or FEATURE_SCORES.get(name)
    formula = spec.formula if spec else "Euclidean distance to the median feature vector of the example's class"
    source = getattr(spec, "source", "")
    also = sorted(word for word, ours in ALIASES.items() if ours == name)
    facts = [
        f"**Formula**: {formula}.",
        f"**Harder**: {'larger' if score.harder == 1 else 'smaller'}.",
        f"**Needs**: {getattr(spec, 'needs', 'features')}.",
        *([f"**Source**: {source}."] if source else []),
        *([f"**Also called**: {', '.join(f'`{word}`' for word in also)}."] if also else []),
    ]
    how = f"```sh\ndataprune prune run --by {name} --keep 0.7 --out kept.csv\n```"
    picture = f"![The ten hardest and the ten easiest digits by {name}]({name}.png)"
    _page(folder / f"{name}.md", name, ["  \n".join(facts), told, picture, how, "Units and ranges: [all scores](../scores.md)."])


def _places(digits: dp.Dataset) -> np.ndarray:
    from sklearn.manifold import TSNE

    return np.asarray(TSNE(random_state=0, init="pca").fit_transform(digits.images.reshape(len(digits), -1) / 255.0))


def _strategy(
    folder: Path, run: dp.Run, digits: dp.Dataset, places: np.ndarray, name: str, strategy: dp.Strategy, told: str
) -> None:
    from matplotlib.figure import Figure

    by = BY.get(name, "el2n")
    kept = dp.select(score_named(run, by), KEEP, strategy=name, views=views_of(run, needs_of([name])))
    figure = Figure(figsize=(6, 4.5), dpi=100, layout="constrained")
    axes = figure.subplots()
    axes.set_axis_off()
    axes.scatter(*places.T, s=4, c="#c8ccd0", linewidths=0)
    axes.scatter(*places[kept.rows].T, s=14, c=digits.labels[kept.rows], cmap="tab10", vmin=0, vmax=9, linewidths=0)
    figure.savefig(folder / f"keep-{name}.png", metadata={"Software": None})
    looks = ", ".join(f"`{need}`" for need in strategy.needs) or "nothing but the seed"
    options = ", ".join(f"`{option}` ({value:g})" for option, value in strategy.options.items())
    facts = [
        f"**Looks at**: {looks}.",
        f"**Nested**: {'yes' if strategy.nested else 'no'}.",
        *([f"**Options**: {options}."] if options else []),
        *([f"**Source**: {strategy.source}."] if strategy.source else []),
    ]
    picture = f"![The tenth of the digits that {name} keeps]({picture_name(name)})"
    caption = f"The tenth of the digits that it keeps by `{by}`, in colours of their classes; neighbours on the map look alike."
    how = f"```sh\ndataprune prune run --by {by} --strategy {name} --keep {KEEP:g} --out kept.csv\n```"
    _page(folder / f"keep-{name}.md", name, ["  \n".join(facts), told, picture, caption, how, "[All strategies](../scores.md#strategies)."])


def picture_name(strategy: str) -> str:
    """Return the name of the picture of a strategy."""
    return f"keep-{strategy}.png"


def _page(path: Path, title: str, parts: list[str]) -> None:
    text = "\n\n".join([f"# {title}", *(re.sub(r"\]\((?!\.\./)(\w+\.md)", r"](../\1", part) for part in parts if part)])
    path.write_text(text.replace("](../" + path.name, "](" + path.name) + "\n", encoding="utf-8")
