"""The table of labels that a person looks at: written, filled in anywhere, extended without losing anything."""

from pathlib import Path

import numpy as np

from dataprune import store
from dataprune.noise.audit import Audit
from dataprune.run.decisions import read_decisions, said_in
from dataprune.tables import TABLES, check_output, read_table, write_table

WRONG = ("drop", "relabel")  # what a person decides about a wrong label
COLUMNS = ("id", "given_label", "suggested_label", "reason", "decision", "new_label")


def update_table(sample: Audit, out: str | Path, decisions: str | Path | None = None) -> list[str]:
    """Write the labels to look at as .csv or .parquet, in their order, and return the decision about each ("" is none yet).

    What is in the file already stays: decisions, columns and rows of one's own, examples that the sample does not ask for.

    Args:
        decisions: what a person decided elsewhere, as `read_decisions` takes it; it goes into the table, and overrules it.

    Raises:
        InputError: the file is another table; ids are unknown or twice; other words than keep, drop and relabel.
    """
    out, found = check_output(out, TABLES), sample.found
    ids = [str(one) for one in found.ids.tolist()]
    names = np.array(found.classes, dtype=object)
    lines: dict[int, dict[str, str]] = {row: {} for row in sample.rows.tolist()}
    columns = list(COLUMNS)
    if out.exists():
        before = read_table(out, as_text=True).columns
        columns = [*before, *(name for name in COLUMNS if name not in before)]
        for at, row in enumerate(said_in(out, ids)[0]):
            lines.setdefault(row, {}).update({name: str(cells[at]) for name, cells in before.items()})
    if decisions is not None:
        after = read_decisions(Path(decisions), ids, found.labels, found.classes, found).labels
        for row, word in zip(*said_in(Path(decisions), ids), strict=True):
            if word:
                new = names[after[row]] if word == "relabel" else ""
                lines.setdefault(row, {}).update(decision=word, new_label=new)
    for row, line in lines.items():
        fresh = (ids[row], names[found.labels[row]], names[found.suggested_label[row]], found.reason[row], "", "")
        for column, value in zip(COLUMNS, fresh, strict=True):
            line.setdefault(column, str(value))
    table = {column: np.array([line.get(column, "") for line in lines.values()], dtype=object) for column in columns}
    with store.writing(out) as temporary:
        write_table(temporary, table)
    said = dict(zip(*said_in(out, ids), strict=True))
    return [said[row] for row in sample.rows.tolist()]
