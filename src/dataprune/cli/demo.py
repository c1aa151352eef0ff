"""`dataprune demo`: the story on a set that is built in."""

import shlex
from pathlib import Path

import dataprune as dp
from dataprune.cli.lines import say
from dataprune.cli.options import Workers
from dataprune.errors import invalid, percent

KEEP = 0.7
# The default network soon memorises these few pictures, which tells hard from easy badly; a small one does not.
MODEL, RECIPE, MEMBERS, EPOCHS = "simple", "fast-gray", 4, 12


def demo(*, out: Path = Path("dataprune-demo"), workers: Workers = None) -> object:
    """Show the whole story on a small built-in set of digits.

    In about a minute it scores 1,437 pictures, says which are hardest, keeps the harder 70 %, and makes a page that shows it
    all. Needs no data and no network. Run again, it finds what it made.

    For example:
        dataprune demo

    Args:
        out: Folder for what it makes.
    """
    from dataprune.cli.options import Reading, read_data
    from dataprune.cli.prune import say_kept
    from dataprune.cli.score import say_hardest, say_scores, train
    from dataprune.report.page import Options
    from dataprune.training.settings import Hardware, Settings

    if out.is_dir() and any(out.iterdir()) and not (out / "run" / "spec.json").exists():  # overwrites nothing of anybody's
        raise invalid("out", "be a new folder or one that the demo made", f"{out}, which holds other things", "Choose another.")
    say("1. Read the digits that scikit-learn brings along: handwritten, 8 x 8 pixels, ten classes.")
    dataset = read_data("digits", Reading(), workers)
    say("", "2. Score: train a few small networks and note what each says about every picture after every epoch.")
    settings = Settings(model=MODEL, recipe=RECIPE, members=MEMBERS, epochs=EPOCHS)
    run = train(dataset, out / "run", settings, Hardware(workers=workers))
    say_scores(run)
    score = run.scores["el2n"]
    say_hardest(score, run, 8)
    say("   el2n is the distance between what the networks answer and the label, from 0 (sure and right) to 1.41 (sure and wrong).")
    say("", f"3. Prune: keep the {percent(KEEP)} that are hardest.")
    kept = dp.select(score, keep=KEEP)
    dp.write_kept(kept, out / "kept.csv", run, overwrite=True)
    say_kept(kept, run)
    say("", "4. Report: one page with the hardest and the easiest pictures, plots and tables; open it in a browser.")
    page = run.report(out / "report.html", options=Options("The digits of scikit-learn"))
    say(f"   {page.out}, {page.size_bytes / 1e6:.1f} MB", "")
    _say_found(score, len(kept), out)
    return run


def _say_found(score: "dp.Score", n_kept: int, out: Path) -> None:
    import numpy as np

    median = float(np.median(score.values))
    far = int((score.values > 0.5).sum())
    run = shlex.quote(str(out / "run"))
    say(
        "What was found:",
        f"   Half of the pictures have an el2n below {median:.3f}: the networks learn them without effort, and many are alike.",
        f"   {far} of {len(score.values):,} have one above 0.5: untidy hands, or labels worth a second look.",
        f"   {n_kept:,} are kept in {out / 'kept.csv'}, to show how: on so small a set pruning hardly pays.",
        "What to try next:",
        f"   open {out / 'report.html'} in a browser: what to drop, which labels to check",
    )
    commands = {
        f"advise {run}": "what to keep, at which size, and why",
        f"prune {run} --keep 0.3 --strategy stratified": "keep few, but over the whole range",
        f"prune {run} --by forget --count 500 --balanced": "another score, a number, the same share of each class",
        "show digits --augment": "what training makes of the pictures",
        "score FOLDER --out RUN": "your own pictures, in a folder for each class",
    }
    width = max(map(len, commands))
    say(*(f"   dataprune {command:<{width}}  {what}" for command, what in commands.items()))
