"""The targets of the fuzzer: right files are read, some thousand changed ones answer, and what the fuzzer once found stays mended.

`make fuzz` looks for more, guided by coverage; this is a plain loop with a fixed seed.
"""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent / "fuzz"))
from targets import TARGETS, survives

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
