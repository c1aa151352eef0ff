"""Scores computed from a trace, chunk by chunk: those of the table, or a function of the user's own."""

from collections.abc import Sequence
from functools import partial
from typing import Literal

import numpy as np

from dataprune.blocks import as_array
from dataprune.errors import InputError, invalid, unknown_choice
from dataprune.plugins import call, load
from dataprune.scores.score import Score, Scores
from dataprune.scores.table import ALIASES, SCORES, ScoreSpec, canonical
from dataprune.trace import Trace

Evidence = Literal["all", "in", "out"]


def score_trace(
    trace: Trace,
    names: Sequence[str] | None = None,
    ids: np.ndarray | None = None,
    *,
    evidence: Evidence = "all",
    window: int | None = None,
) -> Scores:
    """Compute scores from a trace, reading it in chunks.

    Args:
        trace: of members that may be scored; `trace.until(epoch)` for scores of an earlier epoch.
        names: of the table `SCORES`, other words for them, or `"module:function"`: a function of a `Trace` that gives one number an
            example, called on chunks of examples; its attribute `harder` (default 1) is its direction. By default those of the
            table that are `usual`; "all" is the whole table.
        ids: (N,) the examples' names; the trace's own if not given.
        evidence: which members speak for an example: "all", those trained on it ("in"), or those that were not ("out").
        window: epochs in a window of `dual`, `dyn_unc` and `tdds`, and those that `el2n_sum` adds up; 10, or all of fewer.
    Returns:  The scores by our names. Where none was named, `.absent` has those that this trace does not allow, with the reason.
    Raises:   InputError: an unknown name; a named score that this trace does not allow; a function of yours that fails, or gives
              NaN or too few numbers; an example without such members; a window that is wider than the trace.
    """
    named = names is not None and names != "all"
    asked = names if named else [name for name, spec in SCORES.items() if spec.usual or names == "all"]
    specs = {canonical(name): _spec(canonical(name)) for name in asked or ()}
    windowed = {name for name, spec in specs.items() if spec.windowed and window is not None}
    if window is not None and not windowed:
        takes = ", ".join(name for name, spec in SCORES.items() if spec.windowed)
        raise invalid("window", f"go with one of {takes}", ", ".join(specs))
    functions = {name: spec.function for name, spec in specs.items() if spec.function is not None}
    functions |= {name: partial(functions[name], window=window) for name in windowed}
    absent: dict[str, str] = {}
    parts: dict[str, list[np.ndarray]] = {name: [] for name in specs}
    for chunk in trace.chunks():
        views = [(slice(None), chunk)] if evidence == "all" else list(chunk.cross_fitted(evidence))
        for name in [one for one in specs if one not in absent]:
            part = np.empty(len(chunk))
            try:
                for rows, view in views:
                    part[rows] = _checked(name, functions[name](view), view)
            except InputError as reason:
                if named or name in windowed:
                    raise
                absent[name] = str(reason)
                continue
            parts[name].append(part)
    found, ids = [name for name in specs if name not in absent], trace.ids if ids is None else ids
    return Scores([Score(name, np.concatenate(parts[name]), specs[name].harder, ids, trace.labels) for name in found], absent)


def _checked(name: str, values: object, view: Trace) -> np.ndarray:
    found = as_array(values, f"score '{name}'")
    if found.shape != (len(view),) or not (np.issubdtype(found.dtype, np.number) or found.dtype == bool):
        raise invalid(f"score '{name}'", f"give {len(view)} numbers for as many examples", f"{found.dtype} of shape {found.shape}")
    return found


def _spec(name: str) -> ScoreSpec:
    if name in SCORES:
        return SCORES[name]
    if ":" not in name:
        raise unknown_choice("score", name, SCORES, also=ALIASES)
    harder = int(getattr(load(name), "harder", 1))
    return ScoreSpec(lambda trace: call(name, trace), harder, f"see {name}", "a trace", name)
