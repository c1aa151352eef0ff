"""Where the scores of a study come from: a run, a scoring of its own, features, or elsewhere."""

from collections.abc import Callable, Collection
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from dataprune import store, tables
from dataprune.clustering import Features
from dataprune.components import on_components, pixel_components, principal_components
from dataprune.data import Dataset, FeatureFile
from dataprune.errors import InputError, invalid, unknown_choice
from dataprune.run.clusters import ClusterSettings, cluster
from dataprune.run.features import match
from dataprune.run.own_scores import known_score, needs_of, views_of
from dataprune.run.run import Run, open_run
from dataprune.run.score import score as score_run
from dataprune.scores import ALIASES, FEATURE_SCORES, NETWORK_SCORES, Score, canonical, km
from dataprune.scores import SCORES as SCORED
from dataprune.selection import Views
from dataprune.study.grid import Condition
from dataprune.study.presets import SCORES
from dataprune.study.spec import ORDERS, StudySpec
from dataprune.study.splits import StudyData, with_noise
from dataprune.study.study import NOISY_RUN, RUN
from dataprune.tables.join import join
from dataprune.training.plan import check_names
from dataprune.training.recipes import RECIPES
from dataprune.training.settings import Hardware, Settings

PIXELS = "pixels"
"""What stands for features that are made of the pixels."""
SIDE = 16  # pictures are brought to about this side before their principal components are found
WIDTH = 64  # components that are kept
FEWEST_EACH = 5  # rows a cluster, on average
OF_FEATURES = {name: spec for name, spec in FEATURE_SCORES.items() if spec.function}

Scorer = Callable[[Dataset, Path, Settings], Run]


@dataclass(frozen=True)
class StudyInputs:
    """What a study may take from elsewhere.

    Attributes:
        run: a finished run of the same training data; None scores first, into the study's folder.
        settings: of that scoring.
        features: a file with a row for each training example, or "pixels", for `km`.
        reuse: folders of other studies whose trials are taken where they are the same.
        scores: scores made elsewhere, of the training examples in their order.
        scorer: scores a data set into a folder; None is `dataprune.score`.
        retry_failed: train again what failed before.
    """

    run: Path | None = None
    settings: Settings = field(default_factory=Settings)
    features: FeatureFile | str | None = None
    reuse: tuple[Path, ...] = ()
    scores: tuple[Score, ...] = ()
    scorer: Scorer | None = None
    retry_failed: bool = False

    def record(self) -> dict[str, Any]:
        """Return where scores come from in plain JSON, without a path."""
        features = self.features
        return {
            "run": None if self.run is None else open_run(self.run).manifest.spec.plain,
            "settings": None if self.run is not None else asdict(self.settings),
            "features": features.digest if isinstance(features, FeatureFile) else features,
            "scores": {one.name: store.array_digest(one.difficulty) for one in self.scores},
        }


def check_question(spec: StudySpec, run: Path | None, has_features: bool, given: Collection[str] = ()) -> None:
    """Refuse what no training can answer, before the data are read: unknown models, recipes and scores, and a `km` of nothing.

    Args:     has_features: whether features are given, or the pixels asked for. given: names of scores made elsewhere.
    """
    if spec.own_trainer is not None:
        spec.own_trainer.check_there()
    check_names(spec.model, spec.recipe)
    asked = [name for name in spec.scores if name not in given and not (name == "km" and (has_features or spec.clusters))]
    if all(part.strategy == "random" for part in spec.parts):
        return
    known = {*SCORED, *NETWORK_SCORES, *OF_FEATURES, "median_distance"}
    if run is not None:
        opened = open_run(run)
        for name in [one for one in asked if one not in known.union(opened.scores)]:
            known_score(opened, name)
    elif "km" in asked:
        raise invalid("features", "be given for the score km", "none", "Add --features FILE, or --features pixels.")
    elif unknown := [name for name in asked if name not in known]:
        raise unknown_choice("scores", unknown[0], {*known, "km"}, also=ALIASES)


@dataclass(frozen=True)
class ScoreProvider:
    """How the scores of a study in `folder` are made."""

    folder: Path
    spec: StudySpec
    sources: StudyInputs
    hardware: Hardware

    def check_run(self, data: StudyData) -> None:
        """Refuse a run of other data, or one that has seen test, whichever scores are taken from it."""
        if self.sources.run is None:
            return
        run = open_run(self.sources.run)
        seen, labels = run.manifest.spec.data, data.train.labels
        if seen == data.uncut:
            seen_test = "has seen all examples, also those that the study would cut off as test"
            raise InputError(f"`run` {run.path} {seen_test}. Leave out --run: the study then scores without them.")
        if not run.is_of(data.train):
            here = f"{len(data.train):,} examples with fingerprint {data.train.fingerprint[:12]} here"
            same = len(run.ids) == len(data.train) and bool((run.ids == data.train.ids).all())
            what = ", with other labels" if same and labels is not None and bool((run.labels != labels).any()) else ""
            raise InputError(
                f"`run` {run.path} is of other data than the study's training data{what}: {len(run.ids):,} examples with "
                f"fingerprint {seen[:12]} there, {here}. Give the data that were scored, or leave out --run."
            )

    def conditions(self, data: StudyData) -> list[Condition]:
        """Return the arms of the study with their scores; score what is not scored yet."""
        name = "given" if self.spec.noise else ""
        found = [self._condition(name, data, RUN, self.sources.run, self.sources.settings)]
        if self.spec.noise:
            if self.sources.scores:
                raise invalid("scores", "be of dataprune for a study that scores again", self.sources.scores[0].name)
            settings = self.sources.settings if self.sources.run is None else settings_of(open_run(self.sources.run))
            noisy = with_noise(data, self.spec.noise, self.spec.seed)
            found.append(self._condition(f"noise {self.spec.noise:g}", noisy, NOISY_RUN, None, settings))
        return found

    def _condition(self, name: str, data: StudyData, place: str, run_path: Path | None, settings: Settings) -> Condition:
        wanted = self.spec.scores
        needs = needs_of({part.strategy for part in self.spec.parts} - set(ORDERS))
        asks_networks = bool(needs & {"probabilities", "p_label"})
        if all(part.strategy == "random" for part in self.spec.parts):  # no score is needed
            return Condition(name, data, {}, {})
        scores = {score.name: _aligned(score, data.train) for score in self.sources.scores}
        of_features = [one for one in wanted if one in OF_FEATURES and one not in scores]
        views = Views(self._features(data.train)) if of_features or "features" in needs else Views()
        for one in of_features:
            spec = OF_FEATURES[one]
            assert spec.function is not None
            assert views.features is not None
            assert data.train.labels is not None
            scores[one] = Score(one, spec.function(views.features, data.train.labels, self.spec.seed), spec.harder)
        has_features = self.sources.features is not None or bool(self.spec.clusters)
        from_run = [one for one in wanted if one not in scores and not (one == "km" and has_features)]
        if from_run or asks_networks or not wanted:
            if run_path is None:
                scorer = self.sources.scorer or (lambda dataset, out, asked: score_run(dataset, out, asked, self.hardware))
                run = scorer(data.train, self.folder / place, _recording(settings, wanted))
            else:
                run = open_run(run_path)
            views = replace(views_of(run, needs - {"features"}), features=views.features)
            names = from_run if wanted else [one for one in SCORES if one in run.scores and one not in scores]
            scores |= {one: known_score(run, one) for one in names}
        km = self._km(data.train) if ("km" in wanted or not wanted) and has_features else {}
        return Condition(name, data, scores, km, views)

    def _features(self, dataset: Dataset) -> np.ndarray:
        """Return the features that strategies look at, a row for each training example."""
        given = self.sources.features
        if isinstance(given, FeatureFile):
            return match(given, dataset.ids).by_example()
        return pixel_features(dataset, self.folder) if dataset.features is None or given == PIXELS else dataset.features

    def _km(self, dataset: Dataset) -> dict[int, Score]:
        """Score `km` by each number of clusters asked for, but those beyond a fifth of the examples; equal numbers are one."""
        given, place = self.sources.features, np.arange(len(dataset))
        if isinstance(given, FeatureFile):
            matched = match(given, dataset.ids)
            features: Features = matched
            place = matched.place
        elif given is None and dataset.encoder is not None:
            features = np.asarray(dataset.inputs, np.float32)
        elif given in (None, PIXELS):
            features = pixel_features(dataset, self.folder)
        else:
            raise invalid("features", f"be a file or '{PIXELS}'", repr(given))
        asked, most = self.spec.clusters or ("auto",), max(2, len(dataset) // FEWEST_EACH)
        scores: dict[int, Score] = {}
        for one in asked:
            if not one.isdecimal() or int(one) <= most:
                clusters = cluster(features, ClusterSettings(one, dataset.n_classes, self.spec.seed))
                if clusters.k not in scores:
                    scores[clusters.k] = Score("km", km(features, clusters.clusters.centres)[place], 1)
        if not scores:
            raise invalid("clusters", f"be numbers of at most {most} for {len(dataset)} examples", ", ".join(asked))
        return dict(sorted(scores.items()))


def settings_of(run: Run) -> Settings:
    """Return the settings that made a run, to score other labels in the same way; a stored name of code is not followed."""
    spec, recipe = run.manifest.spec, run.manifest.spec.recipe
    if recipe is None or ":" in spec.model or recipe.name not in RECIPES:
        named = f"model {spec.model!r}" if ":" in spec.model else f"recipe {recipe and recipe.name!r}"
        what = "one recorded in another training" if recipe is None else named
        asked = "be made with a model and a recipe of dataprune, for a study that scores again"
        raise invalid("run", asked, what, "Leave out --run.")
    same = ("members", "epochs", "model", "when", "folds", "repeats", "rounds", "precision", "seed")
    return Settings(**{name: getattr(spec, name) for name in same}, recipe=recipe.name, batch=recipe.batch)


def _recording(settings: Settings, wanted: Collection[str]) -> Settings:
    """Return settings by which a run records what scores need."""
    specs = {name: (SCORED | NETWORK_SCORES).get(name) for name in map(canonical, wanted)}
    names = [*settings.recorded, *(name for name, spec in specs.items() if spec is not None and spec.recorded)]
    return replace(settings, record=",".join(names) or None)


def _aligned(score: Score, dataset: Dataset) -> Score:
    """Bring a score made elsewhere into the order of the training data, by id if it has ids."""
    name = f"score '{score.name}'"
    if score.ids is None:
        if len(score.values) != len(dataset):
            raise invalid(name, f"be of the {len(dataset)} training examples", len(score.values))
        return score
    rows = join(dataset.ids.tolist(), score.ids.tolist(), name, "the score that was given").rows
    return Score(score.name, score.values[rows], score.harder)


def pixel_features(dataset: Dataset, folder: Path) -> Float32[np.ndarray, "examples features"]:
    """Return the principal components of the pixels (or of given vectors), written once: a study that goes on finds the same."""
    path = folder / f"pixels-{dataset.content_digest[:12]}.npy"
    manifest = f"{path.name}.json"
    if store.is_whole(folder, manifest):  # else it is made again
        return np.ascontiguousarray(tables.read_npy(path))
    if dataset.images is None:
        rows = np.asarray(dataset.inputs)
        made = principal_components(rows, WIDTH).of(rows)
    else:
        made = on_components(dataset.images, pixel_components(dataset.images, WIDTH, SIDE), SIDE)
    with store.writing(path, made.nbytes) as temporary:
        tables.write_npy(temporary, made)
    store.write_manifest(folder, manifest, {}, [path.name])
    return made
