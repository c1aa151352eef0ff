"""A built wheel, installed away from the sources: is everything in it that the commands need?"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.network  # building fetches the build tool


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Build a wheel, and install it without what it needs into a folder of its own."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    subprocess.run([*pip, "wheel", str(ROOT), "--no-deps", "--wheel-dir", str(folder)], check=True, capture_output=True)
    wheel = next(folder.glob("dataprune-*.whl"))
    subprocess.run([*pip, "install", str(wheel), "--no-deps", "--target", str(folder / "site")], check=True, capture_output=True)
    return folder / "site"


def run(installed, *command, cwd):
    environment = os.environ | {"PYTHONPATH": str(installed)}
    return subprocess.run(
        [sys.executable, *command], cwd=cwd, env=environment, capture_output=True, text=True, check=False, timeout=300
    )


def test_it_is_imported_from_there_with_all_its_names(installed, tmp_path):
    code = "import dataprune; print(dataprune.__file__); [getattr(dataprune, name) for name in dataprune.__all__]"
    done = run(installed, "-W", "error", "-c", code, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert Path(done.stdout.strip()).is_relative_to(installed)


def test_the_command(installed, tmp_path):
    done = run(installed, str(installed / "bin" / "dataprune"), "--help", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Commands:" in done.stdout


def test_every_file_of_the_package_is_there(installed):
    source = ROOT / "src" / "dataprune"
    wanted = {path.relative_to(source) for path in source.rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    there = {path.relative_to(installed / "dataprune") for path in (installed / "dataprune").rglob("*") if path.is_file()}
    assert wanted == {path for path in there if "__pycache__" not in path.parts}


def test_a_page_is_written_with_its_templates_and_scripts(installed, run_folder, tmp_path):
    done = run(installed, "-m", "dataprune", "report", str(run_folder), "--out", "page.html", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "page.html").stat().st_size > 50_000
