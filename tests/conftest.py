"""Shared by all tests: checked shapes and types, a cache folder of their own, and where the data is."""

import os
import sys
from pathlib import Path

import jaxtyping
import pytest

TESTS = Path(__file__).parent
# Tests are imported without a package around them: this lets them import toys.py.
sys.path.insert(0, str(TESTS))
# Every annotation in dataprune is checked at each call, shapes too. Must come before dataprune is imported.
jaxtyping.install_import_hook("dataprune", "typechecks.checked")


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory):
    """Point the cache at a temporary folder, for this process and those it starts."""
    before = os.environ.get("DATAPRUNE_CACHE")
    os.environ["DATAPRUNE_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    yield
    if before is None:
        del os.environ["DATAPRUNE_CACHE"]
    else:
        os.environ["DATAPRUNE_CACHE"] = before


@pytest.fixture(scope="session")
def shared_data():
    """Give the folder with real data sets, or skip."""
    folder = Path(os.environ.get("DATAPRUNE_DATA", TESTS.parent.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no data at {folder} (set DATAPRUNE_DATA)")
    return folder
