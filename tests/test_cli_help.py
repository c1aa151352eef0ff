"""Help and wrong calls: what is there, named once, and refused in one line."""

import os
import pty
import re
import select
import shutil
import signal
import subprocess
import time
from collections import Counter

import pytest
from docstring_parser import parse

import dataprune as dp
from dataprune.cli.app import COMMANDS, NOISE_COMMANDS
from dataprune.cli.options import Reading
from dataprune.cli.study import Changes
from dataprune.selection import STRATEGIES
from dataprune.training.models import MODELS
from dataprune.training.recipes import RECIPES
from dataprune.training.settings import Hardware, Settings, SwavSettings


@pytest.mark.parametrize("command", ["demo", "score", "prune", "km", "map", "show", "verify"])
def test_every_command_has_an_example(cli, command):
    code, out, _ = cli(command, "--help")
    assert code == 0
    assert re.search(rf"^ +dataprune {command}", out, re.MULTILINE)
    assert all(len(line) <= 90 for line in out.splitlines())


def test_without_a_command_help_is_shown(cli):
    code, out, err = cli()
    assert (code, err) == (0, "")
    assert "dataprune score flowers/train --out run" in out
    assert "..." not in out.partition("Commands:")[2], "a summary was cut"


def test_version(cli):
    assert cli("--version") == (0, f"dataprune {dp.__version__}\n", "")


TYPED = {
    "noise fi": "find",
    "prune run --ke": "--keep",
    "score x --fit pa": "pad",
    "prune run --strategy graph": "graph-cut",
    "prune run --by least_c": "least_confidence",
    "score x --encoder efficientnet-lite2": "efficientnet-lite2",
    "score x --model tre": "trees",
    "score x --recipe report-ph": "report-photos",
    "embed x --recipe fast-": "fast-gray",
    "study x --preset easy-": "easy-vs-hard",
}


def test_bash_completes_commands_options_and_choices(cli, tmp_path):
    code, script, _ = cli("completion", "bash")
    assert code == 0
    word = "COMP_WORDS=(dataprune {}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); _dataprune; echo ${{COMPREPLY[@]}}"
    (tmp_path / "ask.sh").write_text("\n".join([script, *map(word.format, TYPED)]))
    said = subprocess.run(["bash", tmp_path / "ask.sh"], capture_output=True, text=True, check=True).stdout
    assert dict(zip(TYPED, said.splitlines(), strict=True)) == TYPED


@pytest.mark.skipif(shutil.which("fish") is None, reason="there is no fish")
def test_fish_completes(cli, tmp_path):
    (tmp_path / "dataprune.fish").write_text(cli("completion", "fish")[1])
    words = "; ".join(f"complete -C 'dataprune {typed}'" for typed in TYPED)
    asked = ["fish", "--no-config", "-c", f"source {tmp_path}/dataprune.fish; {words}"]
    found = subprocess.run(asked, capture_output=True, text=True, check=True).stdout
    assert [line.split("\t")[0] for line in found.splitlines()] == list(TYPED.values())


@pytest.mark.skipif(shutil.which("zsh") is None, reason="there is no zsh")
def test_zsh_completes(cli, tmp_path):
    (tmp_path / "_cyclopts_dataprune").write_text(cli("completion", "zsh")[1])
    pid, terminal = pty.fork()
    if not pid:
        os.execvpe("zsh", ["zsh", "-f", "-i"], {**os.environ, "TERM": "dumb", "PS1": "", "COLUMNS": "200"})
    told = f"fpath=({tmp_path} $fpath); autoload -U compinit; compinit -u -D; unsetopt zle_bracketed_paste; print rea''dy\n"
    os.write(terminal, told.encode())
    assert "ready" in _read_until(terminal, "ready")
    for typed, wanted in TYPED.items():
        os.write(terminal, f"\x15dataprune {typed}\t".encode())
        said = _read_until(terminal, f"{typed.rpartition(' ')[0]} {wanted}")
        assert f"{typed.rpartition(' ')[0]} {wanted}" in said
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    os.close(terminal)


def _read_until(terminal, text):
    said, end = "", time.monotonic() + 20
    while text not in said and time.monotonic() < end:
        if select.select([terminal], [], [], 0.2)[0]:
            said += os.read(terminal, 4096).decode(errors="replace")
    return said


def test_help_names_what_there_is(cli):
    words = set(re.findall(r"[\w-]+", re.sub(r"-\n +", "-", cli("score", "--help")[1])))
    assert words >= {*MODELS, *RECIPES}
    words = set(re.findall(r"[\w-]+", re.sub(r"-\n +", "-", cli("prune", "--help")[1])))
    assert words >= {*STRATEGIES}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["scroe"], ["`command`", "'scroe'", "Did you mean 'score'?"]),
        (["prune", "--kep", "1"], ["--kep", "Did you mean `--keep`?", "See dataprune prune --help."]),
        (["prune"], ["`RUN` must be given", "See dataprune prune --help."]),
        (["score", "x"], ["`--out` must be given", "See dataprune score --help."]),
        (["score", "x", "--ou", "y"], ["`--ou`", "Did you mean `--out`?"]),
        (["score", "x", "y", "--out", "z"], ["more arguments", ": y."]),
        (["score", "x", "--out", "y", "--epochs"], ["`--epochs` must be followed by its value"]),
        (
            ["score", "x", "--out", "y", "--effort", "hihg"],
            ["`--effort` must be one of high, low, medium", "Did you mean 'high'?"],
        ),
        (["score", "x", "--out", "y", "--epochs", "0"], ["`--epochs` must be at least 1, got 0."]),
        (["score", "x", "--out", "y", "--epochs", "1.5"], ["`--epochs` must be a whole number, got '1.5'."]),
        (["score", "x", "--out", "y", "--device", "gpu"], ["`--device` must be cpu, cuda (or cuda:1) or mps, got 'gpu'."]),
        (["score", "x", "--out", "y", "--image-size", "0"], ["`--image-size` must be at least 1, got 0."]),
        (["show", "digits", "--count", "0"], ["`--count` must be at least 1, got 0."]),
        (["prune", "x", "--keep", "some"], ["`--keep` must be a number, got 'some'."]),
        (["noise", "fnd", "x"], ["'fnd'", "Did you mean 'find'?"]),
    ],
)
def test_wrong_calls_are_one_line(cli, arguments, words):
    code, out, err = cli(*arguments)
    assert (code, out) == (2, "")
    assert [word for word in words if word not in err] == []
    assert err.startswith("error: ")
    assert err.count("\n") == 1


def test_the_text_of_an_option_stands_once():
    """In a command's docstring or in that of its settings; what several commands share, in the shared options."""
    owners = [*COMMANDS, *NOISE_COMMANDS, Settings, SwavSettings, Hardware, Reading, Changes]
    texts = Counter(" ".join(one.description.split()) for owner in owners for one in parse(owner.__doc__).params)
    assert len(texts) > 90
    assert [text for text, times in texts.items() if times > 1] == []
