"""Shared by all tests: checked shapes and types, a cache folder of their own, and where the data is."""

import contextlib
import io
import os
import shutil
import sys
from pathlib import Path

import jaxtyping
import pytest

TESTS = Path(__file__).parent
# Tests are imported without a package around them: this lets them import toys.py.
sys.path.insert(0, str(TESTS))
# With CHECK_TYPES=1 every annotation in dataprune is checked at each call, shapes too. Must come before dataprune is imported.
if os.environ.get("CHECK_TYPES") == "1":
    jaxtyping.install_import_hook("dataprune", "typechecks.checked")

# Files whose tests all have one marker, and whose imports take seconds: they are imported where that marker is asked for.
ONLY = {"test_integrations.py": "integrations", "test_page_browser.py": "browser", "test_review_browser.py": "browser"}


def pytest_ignore_collect(collection_path, config):
    marker = ONLY.get(collection_path.name, "")
    return marker not in config.option.markexpr.replace(f"not {marker}", "") or None


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
def browser():
    """Yield Debian's Chromium, driven by Playwright; skip where one of them is missing."""
    playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    place = shutil.which("chromium") or shutil.which("chromium-browser")
    if place is None:
        pytest.skip("no chromium on this machine (apt-get install chromium)")
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=place, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def opened_tab(browser):
    """Open tabs that are listened to: what they log, or ask of a network, is a failure in the end."""
    contexts, heard = [], []

    def opened(address, context=None, **options):
        if context is None:
            context = browser.new_context(accept_downloads=True, **options)
            contexts.append(context)
        tab = context.new_page()
        tab.on("console", lambda message: heard.append(f"{message.type}: {message.text}"))
        tab.on("pageerror", lambda error: heard.append(str(error)))
        local = ("file:", "data:", "blob:", "http://127.0.0.1:")
        tab.on("request", lambda request: None if request.url.startswith(local) else heard.append(request.url))
        tab.goto(address)
        return tab

    yield opened
    for context in contexts:
        context.close()
    assert heard == []


@pytest.fixture(scope="session")
def shared_data():
    """Return the folder with real data sets, or skip."""
    folder = Path(os.environ.get("DATAPRUNE_DATA", TESTS.parent.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no data at {folder} (set DATAPRUNE_DATA)")
    return folder


@pytest.fixture
def small_disk(tmp_path):
    """Yield a function that gives an empty folder on a disk of so many kilobytes; `machine_kit.give_room` makes it larger."""
    from machine_kit import small_disk

    with contextlib.ExitStack() as disks:
        yield lambda kilobytes: disks.enter_context(small_disk(tmp_path / "small", kilobytes))


@pytest.fixture
def read_only(tmp_path):
    """Yield a folder that cannot be written, not by root either, and that holds `old`."""
    from machine_kit import read_only

    with read_only(tmp_path / "read-only") as place:
        yield place


@pytest.fixture
def memory_limit():
    """Yield a function that puts the process which calls it under a limit of so many megabytes, as a container has one."""
    from machine_kit import memory_limit

    with memory_limit() as limit:
        yield limit


@pytest.fixture
def undrawn(monkeypatch):
    """Leave the plots of pages empty, where a test looks at all else: to draw them is most of the work."""
    from dataprune.report.figures import Inline

    monkeypatch.setattr("dataprune.report.page.render.inline", lambda plot, name: Inline(1.0, 1.0, "", []))


@pytest.fixture
def cli_as_it_ends(capfd):
    """Run the command in this process, also where a test interrupts it: gives the exit code, stdout and stderr."""
    from dataprune.cli import main

    def run(*arguments):
        capfd.readouterr()
        code = main([str(one) for one in arguments])
        out, err = capfd.readouterr()
        return code, out, err

    return run


@pytest.fixture
def cli(cli_as_it_ends):
    """Run the command in this process: gives the exit code, stdout and stderr."""

    def run(*arguments):
        code, out, err = cli_as_it_ends(*arguments)
        if code in (130, 143):  # the signal was meant for the tests: no test with this fixture sends one to this process
            pytest.exit(f"interrupted: the command ended with {code}", returncode=code)
        return code, out, err

    return run


@pytest.fixture(scope="session")
def flowers(tmp_path_factory):
    """Return a tiny folder of pictures with odd names."""
    from command_line import make_pictures

    return make_pictures(tmp_path_factory.mktemp("data") / "flowers")


@pytest.fixture(scope="session")
def run_folder(flowers, tmp_path_factory):
    """Return a finished run; what was printed lies beside it."""
    from command_line import SETTINGS, complaints
    from dataprune.cli import main

    out, said, err = tmp_path_factory.mktemp("runs") / "run", io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(err):
        code = main(["score", str(flowers), "--out", str(out), *SETTINGS, "--executor", "serial"])
    assert (code, complaints(err.getvalue())) == (0, [])
    out.with_name("stdout").write_text(said.getvalue(), encoding="utf-8")
    return out


@pytest.fixture(scope="session")
def printed(run_folder):
    """Return what the command printed that made `run_folder`."""
    return run_folder.with_name("stdout").read_text(encoding="utf-8")
