"""From where do the scores of a study come? From a run, from a scoring of its own, from features, or from elsewhere."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from dataprune import store
from dataprune.data import Dataset, FeatureFile
from dataprune.errors import InputError, invalid, join_some
from dataprune.run import Run, open_run
from dataprune.run import score as score_run
from dataprune.scores import Score
from dataprune.study.grid import GIVEN, NOISE, Arm, named_scores
from dataprune.study.km import PIXELS, km_scores, pixel_features
from dataprune.study.plan import settings_of
from dataprune.study.presets import SCORES
from dataprune.study.spec import StudySpec
from dataprune.study.splits import StudyData, with_noise
from dataprune.study.study import NOISY_RUN, RUN
from dataprune.training.settings import Hardware, Settings


@dataclass(frozen=True)
class StudyInputs:
    """What a study may take from elsewhere.

    Attributes:
        run: a finished run of the same training data; None scores first, into the study's folder.
        settings: of that scoring.
        features: a file with a row for each training example, or "pixels", for `km`.
        reuse: folders of other studies whose trials are taken where they are the same.
        scores: scores made elsewhere, of the training examples in their order.
    """

    run: Path | None = None
    settings: Settings = field(default_factory=Settings)
    features: FeatureFile | str | None = None
    reuse: tuple[Path, ...] = ()
    scores: tuple[Score, ...] = ()

    def record(self) -> dict[str, Any]:
        """Return where scores come from in plain JSON, without a path."""
        features = self.features
        return {
            "run": None if self.run is None else open_run(self.run).manifest.spec.plain,
            "settings": None if self.run is not None else asdict(self.settings),
            "features": features.digest if isinstance(features, FeatureFile) else features,
            "scores": {one.name: store.array_digest(one.difficulty) for one in self.scores},
        }


Scorer = Callable[[Dataset, Path, Settings], Run]


@dataclass(frozen=True)
class ScoreProvider:
    """How scores are made: what was asked, where the study lies, and who scores.

    Attributes:
        folder: of the study.
        spec: what is asked.
        sources: what may be taken from elsewhere.
        hardware: where to score.
        scorer: scores a data set into a folder; None is `dataprune.score`.
    """

    folder: Path
    spec: StudySpec
    sources: StudyInputs
    hardware: Hardware
    scorer: Scorer | None

    def check_run(self, data: StudyData) -> None:
        """Refuse a run that the study cannot have its scores from, whichever of them it takes.

        Raises:
            InputError: the run is of other data, or has seen test.
        """
        if self.sources.run is None:
            return
        run = open_run(self.sources.run)
        seen, labels = run.manifest.spec.data, data.train.labels
        if seen == data.uncut:
            raise InputError(
                f"`run` {run.path} has seen all examples, also those that the study would cut off as test. Leave out --run: the "
                "study then scores without them."
            )
        if seen != data.train.fingerprint:
            here = f"{len(data.train):,} examples with fingerprint {data.train.fingerprint[:12]} here"
            same = len(run.ids) == len(data.train) and bool((run.ids == data.train.ids).all())
            what = ", with other labels" if same and labels is not None and bool((run.labels != labels).any()) else ""
            raise InputError(
                f"`run` {run.path} is of other data than the study's training data{what}: {len(run.ids):,} examples with "
                f"fingerprint {seen[:12]} there, {here}. Give the data that were scored, or leave out --run."
            )

    def arms(self, data: StudyData) -> list[Arm]:
        """Return the arms with their scores; score what is not scored yet.

        Raises:
            InputError: the run lacks a score; features that do not fit.
        """
        arms = [self._arm(GIVEN if self.spec.noise else "", data, RUN, self.sources.run, self.sources.settings)]
        if self.spec.noise:
            if self.sources.scores:
                raise invalid("scores", "be of dataprune for a study that scores anew", self.sources.scores[0].name)
            settings = self.sources.settings if self.sources.run is None else settings_of(open_run(self.sources.run))
            noisy = with_noise(data, self.spec.noise, self.spec.seed)
            arms.append(self._arm(f"{NOISE} {self.spec.noise:g}", noisy, NOISY_RUN, None, settings))
        return arms

    def _arm(self, name: str, data: StudyData, place: str, run_path: Path | None, settings: Settings) -> Arm:
        wanted = self.spec.scores
        needs_run = bool(self.spec.parts) and any(part.strategy != "random" for part in self.spec.parts)
        if not needs_run:
            return Arm(name, data, {}, {})
        own = {score.name: _aligned(score, data.train) for score in self.sources.scores}
        has_features = self.sources.features is not None or bool(self.spec.clusters)
        from_run = [one for one in wanted if one not in own and not (one == "km" and has_features)]
        scores = dict(own)
        if from_run or not wanted:
            run = self._run(data, place, run_path, settings)
            scores |= named_scores(run.scores, from_run or [one for one in SCORES if one in run.scores and one not in own])
        km = self._km(data.train) if ("km" in wanted or not wanted) and has_features else {}
        return Arm(name, data, scores, km)

    def _run(self, data: StudyData, place: str, run_path: Path | None, settings: Settings) -> Run:
        if run_path is None:
            scorer = self.scorer or (lambda dataset, out, asked: score_run(dataset, out, asked, self.hardware))
            return scorer(data.train, self.folder / place, settings)
        return open_run(run_path)

    def _km(self, dataset: Dataset) -> dict[int, Score]:
        features = self.sources.features
        if features is None or isinstance(features, str):
            if features not in (None, PIXELS):
                raise invalid("features", f"be a file or '{PIXELS}'", repr(features))
            given: FeatureFile | np.ndarray = pixel_features(dataset, self.folder)
        else:
            given = features
        asked = self.spec.clusters or ("auto",)
        return km_scores(given, dataset, asked, seed=self.spec.seed)


def usual_scores(arm: Arm) -> tuple[str, ...]:
    """Return the scores of a study that names none: those of the report that the run has."""
    return tuple(name for name in SCORES if name in arm.scores or (name == "km" and arm.km))


def _aligned(score: Score, dataset: Dataset) -> Score:
    """Bring a score made elsewhere into the order of the training data, by id if it has ids."""
    if score.ids is None:
        if len(score.values) != len(dataset):
            raise invalid(f"score '{score.name}'", f"be of the {len(dataset)} training examples", len(score.values))
        return score
    row_of = {name: row for row, name in enumerate(score.ids.tolist())}
    missing = [name for name in dataset.ids.tolist() if name not in row_of]
    if missing:
        raise invalid(
            f"score '{score.name}'", "have a value for every training example", f"none for {join_some(map(repr, missing))}"
        )
    return Score(score.name, score.values[[row_of[name] for name in dataset.ids.tolist()]], score.harder)
