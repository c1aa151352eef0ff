"""How does what was decided about suspects get out as a cleaned set?"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from dataprune import store
from dataprune.data import Dataset
from dataprune.errors import InputError, invalid
from dataprune.noise.decide import Decisions
from dataprune.run.kept import How, build_folder, check_pictures, folder_bytes
from dataprune.selection import Selection
from dataprune.selection.ids import ids_sha256
from dataprune.tables import write_table


@dataclass(frozen=True)
class Targets:
    """Where a cleaned set goes.

    Attributes:
        labels: a file, .csv or .parquet.
        folders: new folders, each of copies or of links.
    """

    labels: Path | None = None
    folders: Mapping[Path, How] = field(default_factory=dict)

    @property
    def paths(self) -> list[Path]:
        """All of them."""
        return [*([] if self.labels is None else [self.labels]), *self.folders]

    def check(self) -> None:
        """Refuse names that could not be written, or that are taken, before any work.

        Raises:
            InputError: another ending, no such folder, or there is something of that name.
        """
        out = self.labels
        if out is not None and out.suffix.lower() not in (".csv", ".parquet"):
            raise invalid(
                "out", "end in .csv or .parquet", repr(str(out)), "A folder of pictures is written by --copy-to or --link-to."
            )
        if out is not None and not out.parent.is_dir():
            raise invalid("out", "lie in a folder that exists", str(out.parent))
        store.check_new(self.paths)


def write_cleaned(decided: Decisions, targets: Targets, dataset: Dataset | None = None) -> None:
    """Write the file of labels, and folders `class/file` of the examples that stay, under their labels after it.

    All appear together, or none. Killed, the same call goes on.

    Args:
        decided: what is done about every example.
        targets: where to.
        dataset: the pictures, for folders.

    Raises:
        InputError: there is something at a target, nothing stays, or the data are no pictures or have no files to link to.
        MachineError: no room, or no permission.
    """
    targets.check()
    if not targets.paths:
        return
    kept = _kept(decided) if targets.folders else None
    moved = None if dataset is None else dataset.with_labels(decided.labels, decided.classes)
    needs = 0
    for how in targets.folders.values():
        assert kept is not None
        assert moved is not None
        check_pictures(moved, how)
        needs += folder_bytes(kept, moved, how) or 0
    with store.publish_together(targets.paths, _identity(decided, targets), needs or None) as places:
        for target, place in places.items():
            if target == targets.labels:
                _write_labels(decided, place)
            else:
                assert kept is not None
                assert moved is not None
                build_folder(kept, moved, place, targets.folders[target])


def _write_labels(decided: Decisions, place: Path) -> None:
    """Write `id, label, given_label, decision`, a row for each example, dropped ones too; labels are class names.

    `--labels` takes the file and leaves out the examples that it drops.
    """
    names = np.array(decided.classes, dtype=object)
    table = {"id": decided.ids, "label": names[decided.labels], "given_label": names[decided.given], "decision": decided.decision}
    write_table(place, table)


def _identity(decided: Decisions, targets: Targets) -> str:
    rows = [decided.ids.tolist(), decided.given.tolist(), decided.labels.tolist(), decided.decision.tolist()]
    what = [*rows, list(decided.classes), list(targets.folders.values())]
    return hashlib.sha256(store.canonical_json(what).encode()).hexdigest()


def _kept(decided: Decisions) -> Selection:
    rows = decided.rows
    if not len(rows):
        raise InputError("every example would be dropped. Keep some.")
    ids = decided.ids[rows]
    return Selection(
        rows=rows,
        ids=ids,
        labels=decided.labels[rows],
        scores=None,
        n_total=len(decided),
        strategy="decisions",
        keep=len(rows) / len(decided),
        spec={"strategy": "decisions", "ids_sha256": ids_sha256(ids.tolist())},
    )
