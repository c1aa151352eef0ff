"""`dataprune check`: is a set fit to train on? A short list, and an exit code for pipelines."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import dataprune as dp
from dataprune.cli.lines import say, say_columns, warn
from dataprune.cli.options import FLAT, MovedData, Quiet, Reading, Test, Workers, encoded, read_all, say_splits
from dataprune.cli.progress import reading_progress
from dataprune.cli.results import Ended
from dataprune.errors import invalid, percent, unknown_choice
from dataprune.report.text import display_text
from dataprune.training.settings import Hardware

N_SHOWN = 3
LIMIT = re.compile(r"[0-9]{1,15}|([0-9]{1,2}([.][0-9]+)?|100)%")


@dataclass(frozen=True)
class Limits:
    """From where a check fails: a number, or a share of the examples with a percent sign.

    A limit that cannot be judged fails too, with the reason.

    Attributes:
        max_wrong: Wrong labels, as the networks of a RUN estimate them.
        max_duplicates: Pairs of duplicates within a split.
        max_leaks: Pairs of duplicates in two splits.
        max_unreadable: Items that cannot be read.
        max_issues: Examples with any other issue; or KIND=NUMBER of one kind: blurred=1%. May be given several times.
        allow_unjudged: Pass where a limit cannot be judged, say where the networks carry no number of wrong labels.
    """

    max_wrong: str | None = None
    max_duplicates: str | None = None
    max_leaks: str | None = None
    max_unreadable: str = "0"
    max_issues: tuple[str, ...] = ()
    allow_unjudged: bool = False

    def by_name(self) -> dict[str, str]:
        """Return the limits that are given by what they are of; refuse what is no number and no kind."""
        from dataprune.quality.kinds import KINDS

        given = {"wrong_labels": self.max_wrong, "duplicates": self.max_duplicates, "leaks": self.max_leaks}
        found = {name: one for name, one in given.items() if one is not None} | {"unreadable": self.max_unreadable}
        for one in self.max_issues:
            kind, _, limit = one.rpartition("=")
            if kind and kind not in KINDS:
                raise unknown_choice("max_issues", kind, KINDS)
            found[kind or "issues"] = limit
        for name, limit in found.items():
            if not LIMIT.fullmatch(limit):
                option = "max_issues" if name in ("issues", *KINDS) else f"max_{name.removesuffix('_labels')}"
                raise invalid(option, "be a whole number or a percentage", repr(limit), "For example 0, or 2%.")
        return found


@dataclass(frozen=True)
class Finding:
    """One line of a check: how many there are (None: not known), what may be at most, whether that holds (None: not judged)."""

    name: str
    count: float | None
    about: str = ""
    first: tuple[str, ...] = ()
    limit: str | None = None
    holds: bool | None = None


@dataclass(frozen=True)
class Checked:
    """A check: examples of train and of all splits, whether it passes, its findings, and why kinds were not looked for."""

    data: str
    n_train: int
    n_examples: int
    holds: bool
    findings: tuple[Finding, ...]
    absent: Mapping[str, str]


def check(
    data_or_run: str,
    /,
    *,
    limits: Annotated[Limits, FLAT] = Limits(),
    exact_only: bool = False,
    encoder: str | None = None,
    test: Test = None,
    data: MovedData = None,
    reading: Annotated[Reading, FLAT] = Reading(),
    workers: Workers = None,
    quiet: Quiet = False,
) -> object:
    """Check a set, as in a pipeline: exit code 1 where a limit is exceeded or cannot be judged, else 0.

    Takes data, or a scored run, whose networks also tell of wrong labels, of classes that mix, and of what is off topic. Counts
    what cannot be read, duplicates, leaks between splits, and other issues: dark, bright, low-contrast, blurred or oddly shaped
    pictures, bursts, file names that contradict labels. What has no limit is only reported.

    For example:
        dataprune check flowers --max-duplicates 0 --max-leaks 0
        dataprune check run --max-wrong 2% --max-issues 5%

    Args:
        data_or_run: A training set, as for dataprune score; or a folder made by dataprune score.
        exact_only: Look for identical duplicates only, which is faster.
        encoder: Of data: also find what is off topic, by the vectors of this encoder, as for dataprune score.
    """
    wanted = limits.by_name()
    opened = dp.open_run(data_or_run) if (Path(data_or_run) / "spec.json").is_file() else None
    if opened is None and limits.max_wrong is not None:
        raise invalid("max_wrong", "go with a RUN, whose networks judge labels", data_or_run, "Score the data first.")
    if opened is not None and encoder is not None:
        raise invalid("encoder", "go with data; a run has its own vectors", encoder)
    place = data_or_run if opened is None else data or opened.place
    splits = read_all(place, replace(reading, on_error="skip") if opened is None else reading, workers, run=opened, test=test)
    say_splits(place, splits)
    if encoder is not None:
        splits = encoded(splits, encoder, Hardware(workers=workers))
    pairs = dp.find_duplicates(splits, near=not exact_only)
    with reading_progress("measur") as progress:
        if opened is None:
            issues = dp.find_issues(splits.train, pairs=pairs, progress=progress)
        else:
            issues = opened.issues(data, None if exact_only else pairs, progress)
    found = [*_of_splits(splits, pairs), *_of_labels(opened), *_of_issues(issues)]
    sizes = (len(splits.train), pairs.n_examples)
    found += [Finding(kind, None, why) for kind, why in issues.absent.items() if kind in wanted]
    judged = tuple(_judged(one, wanted.get(one.name), *sizes) for one in found)
    are_unjudged = not limits.allow_unjudged and any(one.limit is not None and one.holds is None for one in judged)
    holds = not are_unjudged and all(one.holds is not False for one in judged)
    checked = Checked(data_or_run, *sizes, holds, judged, issues.absent)
    _say_checked(checked)
    return Ended(checked, int(not checked.holds))


def _judged(finding: Finding, limit: str | None, n_train: int, n_examples: int) -> Finding:
    """Hold a finding against its limit; what is not known is not judged."""
    if limit is None:
        return finding
    n = n_examples if finding.name in ("duplicates", "leaks", "unreadable") else n_train
    most = float(limit[:-1]) / 100 * n if limit.endswith("%") else int(limit)
    return replace(finding, limit=limit, holds=None if finding.count is None else finding.count <= most)


def _of_splits(splits: "dp.Splits", pairs: "dp.Duplicates") -> Iterator[Finding]:
    """Count what cannot be read, and pairs of duplicates, within a split and between two."""
    skipped = [item for part in splits.parts.values() for item in part.skipped]
    yield Finding("unreadable", len(skipped), first=tuple(f"{one.path} ({one.reason})" for one in skipped[:N_SHOWN]))
    for name, which in (("duplicates", ~pairs.is_leak), ("leaks", pairs.is_leak)):
        rows = which.nonzero()[0].tolist()
        n_exact, n_conflict = int((which & pairs.is_exact).sum()), int((which & pairs.is_conflict).sum())
        about = f"{n_exact:,} exact" + (f", {n_conflict:,} with different labels" if n_conflict else "") if rows else ""
        yield Finding(name, len(rows), about, tuple(f"{pairs.ids[row]} = {pairs.other_ids[row]}" for row in rows[:N_SHOWN]))


def _of_labels(run: "dp.Run | None") -> Iterator[Finding]:
    """Tell how many labels are wrong by the networks of a run; None where these carry no number."""
    if run is None:
        return
    found = dp.find_suspects(run)
    first = tuple(f"{found.ids[row]} ({found.classes[found.labels[row]]})" for row in found.order[:N_SHOWN].tolist())
    yield Finding("wrong_labels", found.n_wrong, found.count_in_words, first)


def _of_issues(issues: "dp.Issues") -> Iterator[Finding]:
    yield Finding("issues", len({row for one in issues for row in one.rows.tolist()}), "examples with any of the following")
    for one in issues:
        first = map(str, issues.ids[one.rows[:N_SHOWN]].tolist())
        mixed = (f"{a} and {b} ({percent(rate)})" for a, b, rate in issues.mixed[:N_SHOWN])
        yield Finding(one.kind, len(one), one.words, tuple(mixed if one.kind == "mixed_classes" else first))


def _say_checked(checked: Checked) -> None:
    """Print a line for each finding, with the first of them; what was not looked for, and why; and what fails."""
    words = {True: "ok", False: "FAILS", None: "?"}
    rows = [
        (
            words[one.holds] if one.limit else "",
            one.name,
            "?" if one.count is None else f"{one.count:,.0f}",
            one.limit or "no limit",
            one.about,
        )
        for one in checked.findings
    ]
    say_columns([("", "what", "found", "at most", ""), *rows], right=(2, 3), most=120)
    for one in checked.findings:
        if one.first and one.count != 0:
            say(f"{one.name}, first: {'; '.join(display_text(name, 80) for name in one.first)}")
    for reason in dict.fromkeys(checked.absent.values()):
        say(f"not looked for: {', '.join(name for name, why in checked.absent.items() if why == reason)}: {reason}")
    unjudged = [one for one in checked.findings if one.limit is not None and one.holds is None]
    for one in unjudged:
        warn(f"{one.name} cannot be judged by its limit of {one.limit}: {one.about}")
    failed = [f"{one.name} {one.count:,.0f}, at most {one.limit}" for one in checked.findings if one.holds is False]
    open_ones = [f"{one.name} cannot be judged (--allow-unjudged passes it)" for one in unjudged]
    if checked.holds:
        n_limits = sum(one.limit is not None for one in checked.findings)
        what = "passes what could be judged" if unjudged else "passes"
        say(f"{what}: no limit is exceeded ({n_limits} of {len(checked.findings)} {'has' if n_limits == 1 else 'have'} one)")
    else:
        say(f"fails: {', '.join(failed + open_ones)}")
