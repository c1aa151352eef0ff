"""The page for those who come from cleanlab shows what its code prints."""

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[1] / "docs" / "cleanlab.md"


def test_the_page_shows_what_its_code_prints(capsys):
    pytest.importorskip("cleanlab")
    page = PAGE.read_text(encoding="utf-8")
    code = re.findall(r"```python\n(.*?)```", page, re.DOTALL)[1]
    (shown,) = re.findall(r"```text\n(.*?)```", page, re.DOTALL)
    there = {}
    exec(code, there)
    said = capsys.readouterr().out
    expected, printed = (re.sub(r"[\d.,]+", "#", text).split() for text in (shown, said))
    assert printed == expected
    shown_f1, said_f1 = ([float(one) for one in re.findall(r"F1 ([\d.]+)", text)] for text in (shown, said))
    assert said_f1 == pytest.approx(shown_f1, abs=0.03)  # other versions of scikit-learn differ a little

    assert said_f1[1] >= said_f1[0] - 0.02
