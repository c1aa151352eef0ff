"""The pictures of the README, docs/pictures/*.png: `python docs/screenshots.py` (needs chromium; trains into build/)."""

import subprocess
import sys
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

import dataprune as dp

OUT = Path(__file__).parent / "pictures"
DATAPRUNE = [sys.executable, "-m", "dataprune"]
MOST_BYTES = 300_000


def main() -> None:
    """Make a run with wrong labels and a study of the digits, and take pictures of review, page and study."""
    folder = Path(__file__).parents[1] / "build" / "screenshots"
    OUT.mkdir(exist_ok=True)
    with sync_playwright() as play:
        digits = dp.read("digits")
        assert digits.labels is not None
        given = dp.inject_noise(digits.labels, 0.05, "uniform", n_classes=10)
        run = dp.score(digits.with_labels(given), folder / "run")
        run.report(folder / "report.html", data=digits.with_labels(given), overwrite=True)
        study = dp.run_study(dp.read_splits("digits"), dp.preset("half"), folder / "half")
        study.report(folder / "study.html", overwrite=True)
        browser = play.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1200, "height": 720})
        page.goto((folder / "report.html").as_uri() + "#suspects")
        _take(page, "page")
        page.goto((folder / "study.html").as_uri())
        _take(page, "study")
        server = subprocess.Popen([*DATAPRUNE, "review", folder / "run", "--no-browser"], stdout=subprocess.PIPE, text=True)
        try:
            assert server.stdout is not None
            address = next(word for line in server.stdout for word in line.split() if word.startswith("http://"))
            page.goto(address)
            _take(page, "review")
        finally:
            server.terminate()


def _take(page: Page, name: str) -> None:
    page.wait_for_timeout(1500)
    page.screenshot(path=OUT / f"{name}.png")
    size = (OUT / f"{name}.png").stat().st_size
    assert size < MOST_BYTES, f"{name}.png has {size:,} bytes"


if __name__ == "__main__":
    main()
