"""Names of the form module:function."""

import sys

import pytest

from dataprune.errors import InputError
from dataprune.plugins import load


def test_load_gives_the_function_itself():
    assert load("operator:add")(2, 3) == 5
    assert load("collections:Counter.fromkeys") is not None


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("operator", "`name` must read module:function, got 'operator'."),
        (":add", "`name` must read module:function, got ':add'."),
        ("operator:", "`name` must read module:function, got 'operator:'."),
        (
            "no_such_module:f",
            "'no_such_module:f': there is no module 'no_such_module'. Is it installed, or on PYTHONPATH?",
        ),
        ("operator:ad", "'operator:ad': operator has no 'ad'. Check the spelling after the colon."),
        ("sys:path", "'sys:path' is a list, not a function. Name something that can be called."),
    ],
)
def test_load_says_what_is_wrong(name, message):
    with pytest.raises(InputError) as caught:
        load(name)
    assert str(caught.value) == message


def test_a_module_that_fails_on_import_is_one_line(tmp_path, monkeypatch):
    (tmp_path / "fails_on_import.py").write_text("raise RuntimeError('no luck')\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(InputError, match="importing fails_on_import failed with RuntimeError: no luck"):
        load("fails_on_import:f")
    assert "fails_on_import" not in sys.modules
