"""What a study shows, in lines: the table of cells, areas, what can be dropped."""

from typing import TYPE_CHECKING

import dataprune as dp
from dataprune.cli.lines import duration, operations, say, say_columns
from dataprune.report.text import pluralise, several_points
from dataprune.study.cost import NOTHING, study_costs
from dataprune.study.results_table import DYNAMIC

if TYPE_CHECKING:
    from dataprune.study.summary import Summary

MOST_ROWS = 200  # of the table that is printed; the file has all


def say_summary(done: "dp.Study") -> None:
    """Print the table of cells, what can be dropped, and what the figures mean."""
    summary = done.summary
    table = summary.table
    extras = [name for name in ("arm", "order", "clusters") if name in table and any(table[name])]
    head = ("score", "strategy", "keep", "start", "accuracy %", "95 %", "- random", "95 %", "verdict", *extras)
    rows: list[tuple[str, ...]] = [head]
    for row in range(min(len(table["keep"]), MOST_ROWS)):
        cell = {name: column[row] for name, column in table.items()}
        figures = (f"{cell['keep']:g}", f"{cell['start']:g}", _percent(cell[done.measure]), _interval(cell["low"], cell["high"]))
        minus = (_percent(cell["minus_random"]), _interval(cell["minus_random_low"], cell["minus_random_high"]))
        more = (str(cell[name] or "") for name in extras)
        rows.append((cell["score"] or cell["strategy"], cell["strategy"], *figures, *minus, cell["verdict"], *more))
    judged = "test" if done.spec.judge == "test" else "validation"
    say(f"{done.spec.preset}, accuracy on {judged}, equal {done.spec.budget}, {pluralise(done.spec.seeds, 'seed')}:")
    say_columns(rows, right=(2, 3, 4, 5, 6, 7))
    if len(table["keep"]) > MOST_ROWS:
        say(f"  and {len(table['keep']) - MOST_ROWS:,} more in {done.path / 'summary.parquet'}")
    if done.spec.preset == "methods":
        _say_ranks(summary)
    else:
        _say_areas(summary)
    _say_droppable(summary)
    _say_arms(summary)
    _say_dynamic(done)
    say(*(f"note: {note}" for note in summary.notes))
    if done.manifest is None:
        return
    trained = done.manifest.training
    say(
        f"trained: {pluralise(len(set(done.trials['trial'])), 'trial')}, {duration(trained.train_seconds)} of training in all, "
        f"{trained.examples_seen:,} examples seen, {operations(trained.flops)}"
    )


def _say_ranks(summary: "Summary") -> None:
    say("ranked by what is gained over random of the same size, points, the mean over sizes:")
    accuracies = dict(zip(summary.cells, summary.table[summary.measure], strict=True))
    sizes = sorted({cell.keep for cell in summary.cells if cell.has_size})
    rows: list[tuple[str, ...]] = [("method", "gain", "95 %", *(f"accuracy % at {size:g}" for size in sizes), "needs")]
    for one in summary.ranks:
        own = {cell.keep: cell for cell in summary.cells if (cell.arm, cell.name) == (one.arm, one.name)}
        figures = (_percent(accuracies[own[size]]) if size in own else "-" for size in sizes)
        needs = " and ".join(dp.STRATEGIES[next(iter(own.values())).strategy].needs)
        rows.append((one.name, _percent(one.gain), _interval(one.low, one.high), *figures, needs))
    say_columns(rows, right=tuple(range(1, len(sizes) + 3)))


def _say_areas(summary: "Summary") -> None:
    if not summary.areas:
        return
    say("accuracy over all sizes as a share of that on all data (area under the curve, from nothing dropped):")
    rows: list[tuple[str, ...]] = [("curve", "area %", "95 %", "- random", "95 %", "10-70 % dropped %", "95 %")]
    for one in summary.areas:
        parts = [one.name, _percent(one.trapezoid), _interval(one.trapezoid_low, one.trapezoid_high), _percent(one.minus_random)]
        parts += [_interval(one.minus_random_low, one.minus_random_high), _percent(one.simpson)]
        rows.append((*parts, _interval(one.simpson_low, one.simpson_high)))
    say_columns(rows, right=(1, 2, 3, 4, 5, 6))
    absent = dict.fromkeys(one.absent for one in summary.areas if one.absent)
    say(*(f"  no area from 10 % to 70 % dropped: {why}" for why in absent))


def _say_droppable(summary: "Summary") -> None:
    if summary.no_loss:
        say(f"how much can be dropped is not known: {summary.no_loss}")
        return
    for one in summary.droppable:
        name = one.name + (f", {one.arm}" if one.arm and one.arm not in one.name else "")
        if one.keep < 1:
            loss = f"at a loss of at most {several_points(round(100 * one.at_most, 1))} (tolerance {100 * summary.tolerance:g})"
            say(f"{name}: {1 - one.keep:.0%} can be dropped {loss}")
        else:
            say(f"{name}: no size shown to lose at most {several_points(100 * summary.tolerance)}")


def _say_arms(summary: "Summary") -> None:
    arms = [dict(zip(summary.arms, values, strict=True)) for values in zip(*summary.arms.values(), strict=True)]
    if not arms:
        return
    say("what the arms differ by, points:")
    rows: list[tuple[str, ...]] = [("arm", "score", "keep", "start", "difference", "95 %")]
    for arm in arms:
        names = (
            f"{arm['arm']} - {arm['minus_arm']}",
            str(arm["score"] or arm["strategy"]),
            f"{arm['keep']:g}",
            f"{arm['start']:g}",
        )
        rows.append((*names, _percent(arm["difference"]), _interval(arm["difference_low"], arm["difference_high"])))
    say_columns(rows, right=(2, 3, 4, 5))


def _say_dynamic(done: "dp.Study") -> None:
    """Print what leaving out other examples in every epoch saves, and what it loses."""
    table, costs = done.summary.table, {one.cell: one for one in study_costs(done.trials, NOTHING, done.measure).cells}
    for row, cell in enumerate(done.summary.cells):
        if cell.strategy == DYNAMIC and cell.is_scored:
            one = costs[cell]
            saved = one.saved.examples_seen / (one.saved.examples_seen + one.training.examples_seen)
            lost = ""
            for control, name in (("all data", "minus_all"), ("random at the same cost", "minus_random")):
                found, low, high = (table[f"{name}{end}"][row] for end in ("", "_low", "_high"))
                lost += f", {100 * found:+.2f} points against {control} ({_interval(low, high)})"
            say(f"{cell.name}: {saved:.1%} of the examples saved{lost}")


def _percent(value: float) -> str:
    """Write a share; the notes below the table say why one is not known."""
    return "-" if value != value else f"{100 * value:.2f}"


def _interval(low: float, high: float) -> str:
    return "-" if low != low else f"{100 * low:.2f} ... {100 * high:.2f}"
