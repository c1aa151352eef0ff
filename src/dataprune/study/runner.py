"""`run_study`: spec, data and scores → trials → tables → manifest. Finds a finished study, goes on with an interrupted one."""

import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from dataprune import store
from dataprune.data import Splits
from dataprune.errors import DatapruneError, InputError, MachineError, WorkError, join_some
from dataprune.notebook import bar
from dataprune.precision import Precision, choose
from dataprune.run.manifest import Phase, made_now
from dataprune.run.run import open_run
from dataprune.study import study as stored
from dataprune.study.conditions import ScoreProvider, StudyInputs, check_question
from dataprune.study.grid import Condition, Grid, TrainingSetup, grid, setup_of
from dataprune.study.metric import ACCURACY
from dataprune.study.outside import Outside
from dataprune.study.presets import SCORES
from dataprune.study.results_table import EXTRAS, RANDOM, Cell
from dataprune.study.run_trials import Listener, TrialContext, found, train
from dataprune.study.spec import RACED, StudySpec, from_toml, to_toml
from dataprune.study.splits import StudyData, cut
from dataprune.study.study import Study
from dataprune.study.trial import ALGORITHM, FOLDER, Trial, TrialResult
from dataprune.tables import write_table
from dataprune.training.checkpoint import training_environment
from dataprune.training.fit import forward_flops
from dataprune.training.inputs import example_shape
from dataprune.training.settings import Hardware

TABLE_SECONDS = 30.0  # between two writings of the table while trials end; each trial's own file is there at once
_DTYPES: dict[type, Any] = {str: object, float: np.float64, int: np.int64}


def run_study(
    splits: Splits,
    spec: StudySpec,
    out: str | Path,
    sources: StudyInputs | None = None,
    hardware: Hardware | None = None,
    *,
    wait: bool = False,
    listener: Listener | None = None,
) -> Study:
    """Train what a spec asks for, and say what it shows; give the study back, also if some trials failed.

    The same call on the same folder goes on where it was interrupted, with results equal to the bit, or returns at once. Another
    question on the same data and recipe may be asked in the same folder: trials that are the same are found.

    Args:
        splits: the data, as `read_splits` gives them.
        out: the folder of the study, made if need be.
        sources: what is taken from elsewhere and from before.
        hardware: where to train; none of it changes a result on a CPU.
        wait: if another process works on the folder, wait for it.
        listener: hears the cost and the progress.

    Raises:
        WorkError: trials were lost with their workers; the same call trains them again.
    """
    sources, hardware, folder = sources or StudyInputs(), hardware or Hardware(), Path(out)
    check_out(folder)
    check_question(spec, sources.run, sources.features is not None, {one.name for one in sources.scores})
    hardware.executor_config(hardware.resolved_device())  # refuses what does not go together, before anything is trained
    shares = {"validation_share": spec.validation_share, "test_share": spec.test_share}
    data = cut(splits, **shares, seed=spec.seed, trainer=spec.own_trainer)
    setup = setup_of(spec, data.train)
    # Refuses a model that is unknown or does not fit, before the folder is claimed.
    flops = 0 if spec.trainer else forward_flops(setup.model, example_shape(data.train.inputs), data.train.n_classes)
    begun: Precision | None = None
    if stored.is_study(folder):  # of this version
        there = from_toml(stored.read_identity(folder).question).precision
        begun = "fp32" if there == "auto" else there  # of before there was a choice
    if not spec.trainer:
        longest = 3 * flops * setup.epochs * len(data.train) if data.train.features is None else 0
        spec = replace(spec, precision=choose(spec.precision, hardware.resolved_device(), longest, begun).precision)
    provider = ScoreProvider(folder, spec, sources, hardware)
    provider.check_run(data)
    runner = StudyRunner(provider, data, setup, flops, hardware.resolved_device())
    claim = asdict(runner.identity(spec))
    also = {name: claim.pop(name) for name in ("question", "sources")}  # another question is asked in the same folder
    with _work_folder(folder).work(claim, also=also, wait=wait):
        finished = runner.answered()
        if finished is None or (sources.retry_failed and finished.failed):
            runner.work(listener or bar())
    return stored.open_study(folder)


def check_out(folder: Path) -> None:
    """Refuse an output folder that cannot become a study, before anything is read for it."""
    _work_folder(folder).check()


def _work_folder(folder: Path) -> store.WorkFolder:
    return store.WorkFolder.in_folder(folder, "a study", claim=stored.SPEC, manifest=stored.MANIFEST)


@dataclass(frozen=True)
class StudyRunner:
    """One call of `run_study`: what is asked, of which data, trained by what and where."""

    provider: ScoreProvider
    data: StudyData
    setup: TrainingSetup
    forward_flops: int
    device: str

    def identity(self, spec: StudySpec) -> stored.StudyIdentity:
        """Return what is written first."""
        settings = stored.StudySettings(
            train=self.data.train.fingerprint,
            validation=self.data.validation_key,
            test="" if self.data.test is None else self.data.test.fingerprint,
            model=self.setup.model,
            recipe=self.setup.recipe,
            epochs=self.setup.epochs,
            budget=spec.budget,
            seed=spec.seed,
            algorithm=ALGORITHM,
            made_with={} if spec.trainer else training_environment(self.device),
        )
        return stored.StudyIdentity(settings, to_toml(spec), self.provider.sources.record())

    def answered(self) -> Study | None:
        """Return the study in the folder if it is finished and whole, and of this very question."""
        folder, spec = self.provider.folder, self.provider.spec
        try:
            before = stored.open_study(folder)
        except DatapruneError:  # nothing yet, or a table that is damaged: it follows from the trials and is written anew
            return None
        same = replace(spec, scores=spec.scores or before.spec.scores) == before.spec
        same &= stored.read_identity(folder).sources == self.provider.sources.record()
        return before if same and before.is_finished and store.is_whole(folder, stored.MANIFEST) else None

    def work(self, listener: Listener | None) -> None:
        """Score, lay out the grid, train what is missing, write the tables and the manifest; WorkError if trials were lost."""
        provider, folder, spec = self.provider, self.provider.folder, self.provider.spec
        conditions = provider.conditions(self.data)
        first = conditions[0]
        usual = tuple(name for name in SCORES if name in first.scores or (name == "km" and first.km))
        spec = replace(spec, scores=spec.scores or usual)
        identity, outside = self.identity(spec), Outside.of(spec, conditions)
        context = TrialContext(folder, provider.hardware, self.device, self.forward_flops, listener=listener, outside=outside)
        if stored.read_identity(folder) != identity:  # the tables are of another question
            for name in (stored.TRIALS, stored.SUMMARY):
                (folder / name).unlink(missing_ok=True)
        _work_folder(folder).renew(asdict(identity))
        results, shares = dict[str, TrialResult](), dict[tuple[Cell, int], float]()
        beaten: frozenset[Cell] | None = None if spec.racing else frozenset()
        while True:
            now = spec if beaten is not None else replace(spec, seeds=RACED, racing=False)
            asked = grid(now, conditions, self.setup, shares, beaten or ())
            results |= found(asked, results, context, provider.sources.reuse, provider.sources.retry_failed)
            notes = tuple(dict.fromkeys((*self.data.notes, *asked.notes)))
            if beaten is None:
                notes = (
                    *notes,
                    f"a race: {RACED} of {spec.seeds} seeds first, then more of what is not surely worse than its control",
                )
            self._gather(asked, results, train(asked, conditions, results, context, notes))
            if (known := _shares_seen(asked, results)) != shares:  # something is to be trained at the cost of something else
                shares = known
            elif beaten is None:
                beaten = self._beaten()
            else:
                break
        self._publish(asked, conditions, results, notes)

    def _beaten(self) -> frozenset[Cell]:
        try:
            return stored.open_study(self.provider.folder).summary.beaten
        except InputError:  # every trial failed
            return frozenset()

    def _gather(self, asked: Grid, results: dict[str, TrialResult], training: Generator[tuple[str, TrialResult | str]]) -> None:
        """Add results as trainings end, and write the table now and then; WorkError if some were lost."""
        folder, lost, written = self.provider.folder, [], time.monotonic()
        _write_trials(folder, asked, results)
        try:
            with closing(training) as ended:
                for name, result in ended:
                    if isinstance(result, str):
                        lost.append(result)
                        continue
                    results[name] = result
                    if time.monotonic() - written > TABLE_SECONDS:
                        _write_trials(folder, asked, results)
                        written = time.monotonic()
        finally:
            with suppress(MachineError):  # a full disk has been said already, and the table follows from the trials
                _write_trials(folder, asked, results)
        if lost:
            raise WorkError(f"{join_some(lost, most=3)}. What was finished is kept: the same command goes on.")

    def _publish(
        self, asked: Grid, conditions: Sequence[Condition], results: Mapping[str, TrialResult], notes: tuple[str, ...]
    ) -> None:
        """Write the summary, then the manifest: from here on the study is finished."""
        folder = self.provider.folder
        present = stored.open_study(folder)
        files = [stored.SPEC, stored.TRIALS, *(f"{FOLDER}/{name}.json" for name in asked.by_name)]
        try:
            summary = present.summary
        except InputError as error:  # every trial failed
            (folder / stored.SUMMARY).unlink(missing_ok=True)
            notes = (*notes, str(error))
        else:
            with store.writing(folder / stored.SUMMARY) as temporary:
                write_table(temporary, summary.table)
            files.append(stored.SUMMARY)
        data, done = conditions[0].data, [results[name] for name in asked.by_name]
        if len(versions := {(one.made_with or {}).get("script") for one in done if one.status == stored.OK}) > 1:
            notes = (*notes, f"the files of the trainer changed between trainings: {len(versions)} versions made these results")
        sizes = (len(data.pool), len(data.validation_rows) or len(data.validation or ()), len(data.test or ()), data.cut_test)
        seconds = round(sum(one.train_seconds for one in done), 3)
        manifest = stored.StudyManifest(
            spec=present.settings,
            question=to_toml(present.spec),
            data=stored.DataSizes(*sizes, tuple(data.train.classes)),
            budget=self.provider.spec.budget,
            failed=sum(result.status == stored.FAILED for result in done),
            notes=notes,
            scoring=tuple(map(self._scoring_cost, (stored.RUN, stored.NOISY_RUN)[: len(conditions)])),
            training=stored.TrainingTotals(seconds, sum(one.examples_seen for one in done), sum(one.flops for one in done)),
            machine={"device": self.device, "bit_exact": self.device == "cpu"} if not present.spec.trainer else {},
            **made_now(),
        )
        store.write_manifest(folder, stored.MANIFEST, manifest, files)

    def _scoring_cost(self, place: str) -> tuple[Phase, ...]:
        """Return what scoring cost, from the run's own record; nothing where no run was needed."""
        given = self.provider.sources.run
        try:
            return open_run(given if place == stored.RUN and given is not None else self.provider.folder / place).manifest.cost
        except DatapruneError:
            return ()


def _shares_seen(asked: Grid, results: Mapping[str, TrialResult]) -> dict[tuple[Cell, int], float]:
    """Return the share of examples that dynamic arms have seen, by the cell of random at their cost, and seed."""
    seen = ((trial, results[trial.name].examples_seen) for trial in asked.trials if trial.dynamic is not None)
    return {(replace(trial.cell, score=RANDOM), trial.seed): count / trial.examples_seen for trial, count in seen if count}


def _write_trials(folder: Path, asked: Grid, results: Mapping[str, TrialResult]) -> None:
    rows = [_row(trial, results.get(trial.name)) for trial in asked.trials]
    columns = {name: np.array([row[name] for row in rows], _DTYPES[type(rows[0][name])]) for name in rows[0]}
    with store.writing(folder / stored.TRIALS) as temporary:
        write_table(temporary, columns)


def _row(trial: Trial, result: TrialResult | None) -> dict[str, Any]:
    return {
        "trial": trial.name,
        **{name: getattr(trial.cell, name) for name in ("score", "strategy", "keep", "start")},
        "n_train": trial.n_train,
        "seed": trial.seed,
        **({} if trial.trainer else _length(trial, result)),
        **stored.row_of(result, ACCURACY if trial.trainer is None else trial.trainer.metric),
        **{name: getattr(trial.cell, name) for name in EXTRAS},
    }


def _length(trial: Trial, result: TrialResult | None) -> dict[str, int]:
    steps = result.steps if result is not None and result.steps else sum(stage.steps for stage in trial.stages)
    return {"epochs": sum(stage.epochs for stage in trial.stages), "steps": steps}
