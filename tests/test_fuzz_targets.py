"""The targets of the fuzzer: right files are read, some thousand changed ones answer, and what the fuzzer once found stays mended.

`make fuzz` looks for more, guided by coverage; this is a plain loop with a fixed seed.
"""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent / "fuzz"))
from fuzz_targets import TARGETS, survives

CHANGED = 60  # inputs a target


def changed(content, draw):
    """Change, cut out, put in or double some bytes, or end the file early."""
    content = bytearray(content)
    for _ in range(draw.integers(1, 4)):
        at = int(draw.integers(0, len(content) + 1))
        some = draw.integers(0, 256, draw.integers(1, 9), dtype=np.uint8).tobytes()
        match int(draw.integers(0, 5)):
            case 0:
                content[at : at + len(some)] = some
            case 1:
                del content[at : at + len(some)]
            case 2:
                content[at:at] = some
            case 3:
                content[at:at] = content[at : at + 20]
            case 4:
                del content[at:]
    return bytes(content)


@pytest.mark.parametrize("name", TARGETS)
def test_changed_files_answer(name, tmp_path):
    folder, draw = tmp_path / "work", np.random.default_rng(0)
    folder.mkdir()
    seeds = list(TARGETS[name].seeds(folder))
    read = [survives(name, seed, folder) for seed in seeds]
    assert any(read), "none of the right files is read"
    for number in range(CHANGED):
        content = changed(seeds[number % len(seeds)], draw)
        survives(name, content, folder)


def resealed(folder, **other):
    """Return the manifest of a run in which something else stands; the target puts the checksum right."""
    said = json.loads(next(TARGETS["run"].seeds(folder)))
    return json.dumps(said | other).encode()


# What was found, by the fuzzer or on the way to it.
FOUND = {
    "a line end in a column's name": ("labels-csv", b'id,",0\n""",2\n"\ni2,"32\x02\x00\x00""i3",0\n'),
    "a manifest that is no run's": ("run", lambda folder: resealed(folder, data=7)),
    "members that are none": ("run", lambda folder: resealed(folder, members=[{"status": "ok"}])),
    "a member whose file is a list": (
        "run",
        lambda folder: resealed(folder, members=[{"member": 0, "status": "ok", "reason": "", "file": []}]),
    ),
    "classes that are none": ("run", lambda folder: resealed(folder, data={"classes": 3})),
    "a trial that says nothing": ("trial", b'{"format": 1, "spec": {}, "result": {"trial": ""}}'),
    "a trial of 10¹² test examples in one byte": (
        "trial",
        lambda folder: next(TARGETS["trial"].seeds(folder)).replace(b'"n_test": 2', b'"n_test": 1000000000000'),
    ),
    "a curve of words": ("trial", lambda folder: next(TARGETS["trial"].seeds(folder)).replace(b"0.5", b'"x"')),
}


@pytest.mark.parametrize("what", FOUND)
def test_what_was_found_is_refused_in_one_line(what, tmp_path):
    name, content = FOUND[what]
    folder = tmp_path / "work"
    folder.mkdir()
    content = content if isinstance(content, bytes) else content(folder)
    assert content not in list(TARGETS[name].seeds(folder)), "nothing was changed"
    assert not survives(name, content, folder)
