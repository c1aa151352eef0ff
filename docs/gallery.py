"""A page for each score and strategy, with a picture of what it picks of the built-in digits; `make docs` makes them."""

import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import dataprune as dp
from dataprune.report.charts import SheetRow, draw_sheet, sheet_data
from dataprune.run.own_scores import needs_of, score_named, views_of
from dataprune.scores import ALIASES, FEATURE_SCORES, NETWORK_SCORES, SCORES

SHOWN = 10
KEEP = 0.1
BY = {"moderate": "median_distance", "beta": "dual"}
"""The score of strategies that are meant for one; of the others `el2n`."""
INDEX = "# One by one\n\nWhat each score calls hard, and what each strategy keeps, of the digits of scikit-learn.\n"


@dataclass(frozen=True, eq=False)
class Gallery:
    """Where the pages go, a run on the digits with their pixels in [0, 1], and what the scores' page says of each name."""

    folder: Path
    run: dp.Run
    pixels: np.ndarray
    told: dict[str, str]

    def score(self, name: str) -> None:
        """Write the page of a score, with the hardest and the easiest digits."""
        score, side = score_named(self.run, name), int(self.pixels.shape[1] ** 0.5)
        order = np.argsort(score.difficulty, kind="stable")
        ends = ((order[::-1][:SHOWN], "hardest, label: value"), (order[:SHOWN], "easiest"))
        sheet: list[SheetRow] = []
        for rows, said in ends:
            pictures = (self.pixels[rows].reshape(-1, side, side, 1) * 255).astype(np.uint8)
            sheet += sheet_data(pictures, [f"{self.run.labels[row]}: {score.values[row]:.3g}" for row in rows], SHOWN, said)
        draw_sheet(sheet, self.folder / f"{name}.png")
        spec = (SCORES | NETWORK_SCORES | FEATURE_SCORES).get(name)
        facts = {
            "Formula": spec.formula if spec else "Euclidean distance to the median feature vector of the example's class",
            "Harder": "larger" if score.harder == 1 else "smaller",
            "Needs": getattr(spec, "needs", "features"),
            "Source": getattr(spec, "source", ""),
            "Also called": ", ".join(f"`{word}`" for word in sorted(ALIASES) if ALIASES[word] == name),
        }
        picture = f"![The ten hardest and the ten easiest digits by {name}]({name}.png)"
        command = f"prune run --by {name} --keep 0.7 --out kept.csv"
        self._page(name, name, facts, picture, command, "Units and ranges: [all scores](../scores.md).")

    def strategy(self, name: str, places: np.ndarray) -> None:
        """Write the page of a strategy, with a map of the tenth of the digits that it keeps; `places` are those on the map."""
        from matplotlib.figure import Figure

        by, strategy = BY.get(name, "el2n"), dp.STRATEGIES[name]
        kept = dp.select(score_named(self.run, by), KEEP, strategy=name, views=views_of(self.run, needs_of([name])))
        figure = Figure(figsize=(6, 4.5), dpi=100, layout="constrained")
        axes = figure.subplots()
        axes.set_axis_off()
        axes.scatter(*places.T, s=4, c="#c8ccd0", linewidths=0)
        axes.scatter(*places[kept.rows].T, s=14, c=self.run.labels[kept.rows], cmap="tab10", vmin=0, vmax=9, linewidths=0)
        figure.savefig(self.folder / f"keep-{name}.png", metadata={"Software": None})
        facts = {
            "Looks at": ", ".join(f"`{need}`" for need in strategy.needs) or "nothing but the seed",
            "Nested": "yes" if strategy.nested else "no",
            "Options": ", ".join(f"`{option}` ({value:g})" for option, value in strategy.options.items()),
            "Source": strategy.source,
        }
        caption = f"The tenth of the digits that it keeps by `{by}`, coloured by class; neighbours on the map look alike."
        picture = f"![The tenth of the digits that {name} keeps](keep-{name}.png)\n\n{caption}"
        command = f"prune run --by {by} --strategy {name} --keep {KEEP:g} --out kept.csv"
        self._page(f"keep-{name}", name, facts, picture, command, "[All strategies](../scores.md#strategies).")

    def _page(self, file: str, name: str, facts: dict[str, str], picture: str, command: str, more: str) -> None:
        lines = "  \n".join(f"**{what}**: {said}." for what, said in facts.items() if said)
        told = re.sub(r"\]\((\w+\.md)", r"](../\1", self.told.get(name, ""))
        parts = [f"# {name}", lines, told, picture, f"```sh\ndataprune {command}\n```", more]
        (self.folder / f"{file}.md").write_text("\n\n".join(part for part in parts if part) + "\n", encoding="utf-8")


def write(folder: Path) -> None:
    """Write all pages and their index into a folder."""
    from sklearn.manifold import TSNE

    folder.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        digits = dp.read("digits")
        pixels = np.asarray(digits.images).reshape(len(digits), -1) / 255.0
        run = dp.score(digits, Path(temporary) / "run", dp.Settings(epochs=8, record="vog,second_split"))
        np.save(file := Path(temporary) / "pixels.npy", pixels)
        run = dp.add_features(run, dp.read_features(file))
        gallery = Gallery(folder, run, pixels, differences(folder.parent / "scores.md"))
        scores = [*SCORES, *NETWORK_SCORES, "median_distance", *FEATURE_SCORES]
        for name in scores:
            gallery.score(name)
        places = np.asarray(TSNE(random_state=0, init="pca").fit_transform(pixels))
        for name in dp.STRATEGIES:
            gallery.strategy(name, places)
    parts = (("Scores", scores), ("Strategies", [f"keep-{name}" for name in dp.STRATEGIES]))
    trees = ["\n".join(["```{toctree}", f":caption: {title}", "", *names, "```"]) for title, names in parts]
    (folder / "index.md").write_text("\n\n".join([INDEX, *trees]) + "\n", encoding="utf-8")


def differences(page: Path) -> dict[str, str]:
    """Return what the scores' page says of each name in its lists: `- **name**: ...`."""
    text = page.read_text(encoding="utf-8")
    items = re.findall(r"^- ((?:\*\*`?[\w-]+`?\*\*(?:, | and )?)+):? (.*(?:\n  .*)*)", text, re.MULTILINE)
    lines = {names: " ".join(f"{names} {said}".split()) for names, said in items}
    return {name: line for names, line in lines.items() for name in re.findall(r"\*\*`?([\w-]+)`?\*\*", names)}
