"""What a review shows and takes: the table of all examples, what is known of one, plots, and decisions on their way to the disk."""

import logging
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from dataprune.data.decode import BadPicture, shown_whole, thumbnail
from dataprune.data.source import SPLITS
from dataprune.errors import InputError, MachineError, invalid, join_some, one_line, unknown_choice
from dataprune.noise import audit
from dataprune.noise.decide import DECISIONS
from dataprune.noise.words import counts_in_words
from dataprune.report import run_figures
from dataprune.report.figures import Plot, inline
from dataprune.report.maps import FEWEST, Cartography, map_data, map_inline, map_of
from dataprune.report.page.data import ReportData
from dataprune.report.page.examples import mapped_rows, nearest, records, shown_id
from dataprune.report.page.findings import matrix_of
from dataprune.report.text import capitalise, display_text
from dataprune.review.table import DECISIONS as WORDS
from dataprune.review.table import NONE, Query, ReviewTable, groups_of
from dataprune.run.journal import Journal, Key, write_reviewed
from dataprune.run.run import Run
from dataprune.streams import tie_break

logger = logging.getLogger(__name__)

NEAREST = 8
LIKELY = 9  # classes that have a digit key
LARGEST = 2048  # pixels of a picture in full size
MOST_ROWS = 500  # of one answer


@dataclass(frozen=True)
class Change:
    """What a window asks for about some rows, or all of a query; or to take an entry back.

    `known` is the entry up to which the window knows what others decided; `leaves` leaves alone what is decided already.
    """

    known: int
    decision: Literal["", "keep", "drop", "relabel"] = ""
    rows: tuple[int, ...] = ()
    query: Query | None = None
    label: int | None = None  # of relabel; None is what is suggested for each
    undoes: int = 0
    leaves: bool = False


class Book:
    """A run under review. Without a journal that can be written, nothing is saved, which `notes` say."""

    def __init__(self, run: Run, data: ReportData, *, read_only: str = "") -> None:
        self.run, self.data, self.read_only = run, data, read_only
        self.table = table_of(data)
        self.journal = Journal(run.path)
        self.notes = (*((f"nothing is saved: {read_only}",) if read_only else ()), *data.gone, *self.journal.notes)
        names = zip(self.table.split.tolist(), self.table.ids.tolist(), strict=True)
        self._row_of: dict[Key, int] = {(SPLITS[split], name): row for row, (split, name) in enumerate(names)}
        self._lock, self._drawing = threading.Lock(), threading.Lock()  # matplotlib's settings are those of the process
        if unknown := self._show(self.journal.state):
            self.notes = (
                *self.notes,
                f"decisions about {unknown:,} examples that are not in the run or its data are kept, but not shown",
            )

    @property
    def state(self) -> dict[str, Any]:
        """What a window shows first."""
        data, found = self.data, self.data.suspects
        return {
            "name": display_text(data.name, 60),
            "classes": data.class_names,
            "scores": {name: one.harder for name, one in data.scores.items()},
            "leading": data.leading,
            "splits": [SPLITS[split] for split in np.unique(self.table.split).tolist()],
            "n": len(self.table),
            "n_groups": int(self.table.group.max(initial=NONE)) + 1,
            "n_flagged": 0 if found is None else len(found.flagged),
            "counts": found is not None and found.n_wrong is not None,
            "labels": "" if found is None else f"{capitalise(counts_in_words(found))}.",
            "issues": {} if data.issues is None else {one.kind: [len(one), one.limit.tail] for one in data.issues if len(one)},
            "has_pictures": data.images is not None,
            "has_vectors": data.features is not None and len(data) >= FEWEST,
            "has_map": {"variability", "confidence"} <= set(data.scores),
            "missing": {name: display_text(why, 400) for name, why in data.missing.items()},
            "notes": [display_text(one, 400) for one in self.notes],
            "read_only": bool(self.read_only),
            "count": self.journal.count,
            "undoable": self.journal.undoable[-1:],
            "decided": self.table.count_decisions(),
        }

    def rows(self, rows: np.ndarray) -> list[dict[str, Any]]:
        """Return what a tile shows of each row."""
        table, data = self.table, self.data
        found, n = data.suspects, len(data)
        shown = []
        for row in rows.tolist():
            name, sure = data.id_of(row), found is not None and row < n and found.n_wrong is not None
            shown.append(
                {
                    "e": row,
                    "name": shown_id(name),
                    "label": int(table.label[row]),
                    "to": int(found.suggested_label[row]) if found is not None and row < n else NONE,
                    "sure": round(float(table.values["suspicion"][row]), 3) if sure else None,
                    "said": found.chance_in_words(row).replace(" %", "\u00a0%") if sure and found is not None else "",
                    "split": SPLITS[table.split[row]],
                    "group": int(table.group[row]),
                    "text": data.text_of(row),
                    "choice": WORDS[table.decision[row]],
                    "as": int(table.new_label[row]),
                }
            )
        return shown

    def example(self, row: int) -> dict[str, Any]:
        """Return all that is known of one example, in the form of `records`, with every network's answer and what looks like it."""
        data = self.data
        known: dict[str, Any] = {
            name: one[0] if isinstance(one, list) else {key: values[0] for key, values in one.items()}
            for name, one in records(data, np.array([row])).items()
        }
        found: dict[str, Any] = {**self.rows(np.array([row]))[0], **known, "members": [], "near": [], "twins": [], "why": ""}
        if (group := int(self.table.group[row])) >= 0:
            found["twins"] = self.rows(np.setdiff1d(np.flatnonzero(self.table.group == group), [row])[:NEAREST])
        if row >= len(data):
            return found
        if data.suspects is not None:
            found["why"] = display_text(data.suspects.reason[row], 300)
        trace = self.run.trace[row : row + 1]
        curves, seen = trace.channel("p_label")[:, :, 0], trace.trained_on[:, 0].tolist()
        answers = [trace.member_probabilities(member)[0] for member in range(trace.n_members)]
        for curve, saw, p in zip(curves, seen, answers, strict=True):
            best = int(p.argmax())
            found["members"].append({"saw": saw, "says": best, "p": round(float(p[best]), 3), "curve": curve.round(3).tolist()})
        speak = [p for p, saw in zip(answers, seen, strict=True) if not saw] or answers
        mean = np.mean(speak, axis=0)
        found["top"] = np.argsort(-mean, kind="stable")[:LIKELY].tolist()
        found["p"] = [round(100 * float(mean[label])) for label in found["top"]]
        if data.features is not None:
            found["near"] = self.rows(nearest(data.features, row, NEAREST))
        return found

    def picture(self, row: int, side: int | None) -> bytes:
        """Return an example's picture as WebP, at most `side` pixels, or in full size from its own file where it has one.

        Raises:
            InputError: it has none, or its file is gone or is no picture any more.
        """
        _, part, at = self.data.place(row)
        pixels, paths = self.data.pixels_of(row), self.data.paths if part is None else part.paths
        if pixels is None:
            raise InputError(f"{display_text(self.data.id_of(row))}: the picture is not there.")
        if side is not None or paths is None:
            return thumbnail(pixels, side or max(pixels.shape[:2]))
        try:
            return shown_whole(Path(paths[at]), LARGEST)
        except (OSError, BadPicture) as error:
            raise InputError(f"{display_text(self.data.id_of(row))} cannot be read any more: {one_line(error)}.") from error

    def decide(self, change: Change) -> dict[str, Any]:
        """Save a decision; return what stands now, and what was left: decided before, or by another window first."""
        if change.undoes:
            with self._lock:
                return self._write(change.known, lambda: self.journal.undo(change.undoes))
        rows, suspects = self._rows_of(change), self.data.suspects
        if change.decision == "relabel" and change.label is None:
            if suspects is None:
                raise invalid("label", "be given", "none", "The run suggests no labels.")
            rows = rows[rows < len(self.data)]  # nothing is suggested in other splits
        suggested = np.zeros(0, np.int64) if suspects is None else suspects.suggested_label
        wanted: dict[Key, tuple[str, str]] = {}
        free = rows[self.table.decision[rows] == 0] if change.leaves else rows
        for row in free.tolist():
            label = suggested[row] if change.label is None and change.decision == "relabel" else change.label or 0
            to = self.data.classes[label] if change.decision == "relabel" else ""
            wanted[SPLITS[self.table.split[row]], self.data.id_of(row)] = (change.decision, to)
        with self._lock:
            found = self._write(change.known, lambda: self.journal.decide(wanted, change.known))
        return found | {"n_left": len(rows) - len(free)}

    def _rows_of(self, change: Change) -> np.ndarray:
        bad = [row for row in change.rows if not 0 <= row < len(self.table)]
        if bad:
            raise invalid("rows", f"be of the {len(self.table)} examples", join_some(bad))
        rows = self.table.query(change.query) if change.query is not None else np.array(change.rows, np.int64)
        if change.label is not None and not 0 <= change.label < len(self.data.classes):
            raise invalid("label", f"be one of the {len(self.data.classes)} classes", change.label)
        return rows

    def _write(self, known: int, work: Any) -> dict[str, Any]:
        """Do what changes the journal, and say what changed since the entry that a window knows, also by others."""
        if self.read_only:
            raise MachineError(f"nothing is saved: {self.read_only}")
        before = self.journal.count
        conflicts = [self._row_of[key] for key in work() if key in self._row_of]
        news = self.journal.since(known)
        self._show(news)
        changed = [self._row_of[key] for key in news if key in self._row_of]
        return {
            "entry": self.journal.count if self.journal.count > before else 0,
            "count": self.journal.count,
            "undoable": self.journal.undoable[-1:],
            "conflicts": conflicts[:MOST_ROWS],
            "n_conflicts": len(conflicts),
            "changed": [
                {"e": row, "choice": WORDS[self.table.decision[row]], "as": int(self.table.new_label[row])}
                for row in changed[:MOST_ROWS]
            ],
            "n_changed": len(changed),
            "n_own": len(self.journal.since(before)),
            "decided": self.table.count_decisions(),
        }

    def _show(self, state: Mapping[Key, Any]) -> int:
        """Bring decisions into the table; return how many are about examples that are not in it."""
        classes, unknown = {name: index for index, name in enumerate(self.data.classes)}, 0
        for key, one in state.items():
            row = self._row_of.get(key)
            unknown += row is None and bool(one.decision)
            if row is not None:
                self.table.decision[row] = WORDS.index(one.decision)
                self.table.new_label[row] = classes.get(one.label, NONE)
        return unknown

    def take_in(self, words: Mapping[int, str], labels: np.ndarray) -> int:
        """Save decisions that were made elsewhere, by row of the run, with the labels after them; return how many are new."""
        if self.read_only:
            raise MachineError(f"nothing is saved: {self.read_only}")
        wanted = {
            ("train", self.data.id_of(row)): (word, self.data.classes[labels[row]] if word == "relabel" else "")
            for row, word in words.items()
            if word in DECISIONS
        }
        before = dict(self.journal.state)
        self.journal.decide(wanted, self.journal.count)
        self._show(self.journal.state)
        return sum(self.journal.state[key] != before.get(key) for key in wanted)

    def close(self) -> None:
        """Write the table of what stands, which other programs read."""
        if not self.read_only:
            try:
                write_reviewed(self.run, self.journal)
            except MachineError as error:  # the journal has it all
                logger.warning("%s", error)

    def audit(self, size: int) -> dict[str, Any]:
        """Return the rows that `noise audit` asks for, in their order, and the place of the first that is not decided, or 0."""
        if self.data.suspects is None:
            raise InputError(f"there is nothing to audit. {self.data.missing.get('suspects', '')}")
        rows = audit.audit(self.data.suspects, size).rows
        return {"rows": rows.tolist(), "open": int(np.argmin(self.table.decision[rows] > 0))}

    def plot(self, name: str) -> dict[str, Any]:
        """Return a plot as SVG with its axes, and which columns lie along them; `confusion` as numbers."""
        data = self.data
        if name == "confusion":
            classes, counts = matrix_of(data)
            return {"classes": classes, "counts": counts.tolist()}
        if name == "vectors":
            return self._drawn(self._vectors, "x", "y")
        if name == "map":
            wrong, ties = np.isin(np.arange(len(data)), data.probable), tie_break([str(one) for one in data.ids.tolist()], 0)
            if (found := map_of(data.scores, wrong, ties)) is not None:
                return self._drawn(found, "variability", "confidence")
        if name not in data.scores:
            raise unknown_choice("plot", name, (*data.scores, "confusion", "map", "vectors"))
        spread = run_figures.distribution_data(data.scores[name], data.labels, data.class_names)
        bins = {"edges": spread.edges.tolist(), "names": list(spread.names), "counts": spread.counts.tolist()}
        return self._drawn(spread, name, "") | bins

    def _drawn(self, plot: Plot, x: str, y: str) -> dict[str, Any]:
        with self._drawing:
            drawn = map_inline(plot, "map") if isinstance(plot, Cartography) else inline(plot, x)
        return {"svg": drawn.element(plot, is_picture=False), "axes": drawn.axes, "x": x, "y": y, "about": plot.description}

    @cached_property
    def _vectors(self) -> Plot:
        """Lay a sample of the vectors out; where each lies becomes two columns of the table."""
        data = self.data
        if data.features is None:
            raise InputError(f"there are no vectors. {data.missing.get('features', '')}")
        rows = mapped_rows(data)
        made = map_data(np.asarray(data.features[rows]), "label", data.labels[rows], tuple(data.class_names))
        for axis, name in enumerate("xy"):
            self.table.values[name] = np.full(len(self.table), np.nan, np.float32)
            self.table.values[name][rows] = made.points[:, axis]
        return made


def table_of(data: ReportData) -> ReviewTable:
    """Return the columns of all examples that the run and its data know."""
    parts, n = data.beyond, len(data)
    n_all = n + sum(map(len, parts.values()))

    def whole(values: np.ndarray, missing: float, kind: type) -> np.ndarray:
        column: np.ndarray = np.full(n_all, missing, kind)
        column[:n] = values
        return column

    values = {name: score.values for name, score in data.scores.items()}
    values |= {} if data.suspects is None else {"suspicion": data.suspects.probability, "rank": data.suspects.rank}
    seen = {} if data.issues is None else data.issues.values
    labels = [data.labels, *(np.full(len(one), NONE) if one.labels is None else one.labels for one in parts.values())]
    return ReviewTable(
        np.concatenate([data.ids, *(one.ids for one in parts.values())]),
        np.repeat(np.array([0, *map(SPLITS.index, parts)], np.int8), [n, *map(len, parts.values())]),
        np.concatenate(labels).astype(np.int32),
        whole(data.predictions.predicted, NONE, np.int32),
        groups_of(data.pair_rows, n_all),
        {name: whole(one, np.nan, np.float32) for name, one in (values | dict(seen)).items()},
        {kind: whole(data.issues.is_flagged(kind), False, bool) for kind in seen if data.issues is not None},
    )
