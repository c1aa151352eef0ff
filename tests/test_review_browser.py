"""A review in a real Chromium: keys decide, plots lead to examples, two windows know of each other, and nobody is shut out."""

import shutil
from dataclasses import replace

import numpy as np
import pytest

import dataprune as dp
from dataprune.quality.issues import Issues
from dataprune.report.page.data import gather
from dataprune.review.book import Book
from dataprune.run.journal import Journal
from pages import HOSTILE
from review_toys import pictures, recorded, served

pytestmark = [pytest.mark.browser, pytest.mark.filterwarnings("default")]
pytest.importorskip("dataprune.review.server", reason="starlette and uvicorn are not installed")
WRONG = (4, 10, 17)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Return a run of pictures with three contradicted labels and a copy in test, and what is known of it."""
    folder = tmp_path_factory.mktemp("review")
    run = recorded(dp.read(pictures(folder / "toys")), folder / "run", WRONG)
    np.save(folder / "features.npy", np.random.default_rng(0).random((30, 4), np.float32))
    light = np.ones(len(run.ids))
    light[[3, 7, 20]] = 0.3, 0.1, 0.2
    issues = Issues.of(run.ids, {"dark": light, "burst": np.ones(len(run.ids))}, {})
    return run, replace(gather(run, features=folder / "features.npy"), issues=issues)


@pytest.fixture
def open_review(opened_tab, made, tmp_path):
    """Open a review in a new window."""
    run, tabs = dp.open_run(shutil.copytree(made[0].path, tmp_path / "run")), []
    with served(Book(run, made[1]), "key") as port:

        def opened(context=None, **options):
            tab = opened_tab(f"http://127.0.0.1:{port}/?token=key", context, **options)
            tab.wait_for_selector(".tile .what bdi:not(:empty)")
            tabs.append(tab)
            return tab

        opened.path = run.path
        yield opened
        for tab in tabs:
            tab.context.close()  # before the server is gone


def stands(path):
    return sorted((key[1].rpartition("/")[2], one.decision, one.label) for key, one in Journal(path).state.items() if one.decision)


def found(tab, count):
    tab.wait_for_function("(text) => document.getElementById('found').textContent.startsWith(text)", arg=f"{count} example")


def test_a_kind_of_issue_shows_its_examples_the_furthest_first(open_review):
    tab = open_review()
    assert tab.locator("#f-issue option").all_text_contents() == ["or not", "dark (3)"]
    tab.select_option("#f-issue", "dark")
    found(tab, 3)
    names = [str(dp.open_run(open_review.path).ids[row]).rpartition("/")[2] for row in (7, 20, 3)]
    first = "(name) => document.querySelector(\".tile[aria-posinset='1'] .who\")?.textContent.endsWith(name)"
    tab.wait_for_function(first, arg=names[0])  # the count stands there before the rows have come
    shown = [tab.text_content(f".tile[aria-posinset='{place}'] .who").rpartition(" ")[2] for place in (1, 2, 3)]
    assert shown == names
    tab.select_option("#f-issue", "")
    tab.wait_for_function("() => !document.getElementById('found').textContent.startsWith('3 ')")


def test_keys_decide_in_the_grid_and_large(open_review):
    tab = open_review()
    assert "token" not in tab.url
    found(tab, 3)
    assert tab.locator(".tile:visible .to").first.text_content().startswith("wrong ")
    names = [one.split(" ")[-1] for one in tab.locator(".tile:visible .who").all_text_contents()]
    for key in ("d", "k", "r", "u"):  # quickly: each means the tile that is active then
        tab.keyboard.press(key)
    tab.wait_for_function("() => document.getElementById('told').textContent.includes('taken back')")
    assert stands(open_review.path) == sorted([(names[0], "drop", ""), (names[1], "keep", "")])
    tab.keyboard.press("Home")
    tab.keyboard.press("Enter")
    tab.wait_for_selector("#viewer[open] .p-curve")
    assert tab.text_content("#viewer .said-so") == "Decided: drop."
    assert tab.locator("#viewer .members li").count() == 2
    assert tab.locator("#viewer .near li.card").count() == 8
    for key in ("l", "j", "2", "k"):
        tab.keyboard.press(key)
    tab.wait_for_function("() => document.getElementById('decided').textContent.includes('1 keep, 0 drop, 1 relabel')")
    assert [one[1] for one in stands(open_review.path) if one[0] == names[0]] == ["relabel"]
    tab.keyboard.press("Escape")
    assert not tab.locator("#viewer").is_visible()


def test_a_search_that_finds_nothing_leads_to_all_examples(open_review):
    tab = open_review()
    tab.keyboard.press("/")
    tab.keyboard.type("copy")
    tab.click("#elsewhere:has-text('1 in all examples')")
    found(tab, 1)
    assert not tab.is_visible("#nothing")
    tab.wait_for_function("() => document.activeElement.id === 'grid'")
    tab.keyboard.press("d")
    tab.wait_for_function("() => document.getElementById('decided').textContent.includes('1 drop')")


def test_plots_lead_to_examples(open_review):
    tab = open_review()
    tab.click("[data-view=all]")
    found(tab, 34)
    tab.click("#plots > summary")
    tab.click("details[data-plot=confusion] > summary")
    cell = tab.locator(".plots .heat td[class^=n] button").first
    cell.wait_for()
    count = int(cell.text_content())
    cell.click()
    found(tab, count)
    tab.click("#f-clear")
    found(tab, 34)
    for name in ("map", "vectors"):
        tab.click(f"details[data-plot={name}] > summary")
        plot = tab.locator(f"details[data-plot={name}] svg.plot")
        plot.wait_for(timeout=60_000)
        plot.scroll_into_view_if_needed()
        box = plot.bounding_box()
        corners = [(0.1, 0.05), (0.9, 0.05), (0.9, 0.85), (0.1, 0.85)]
        tab.mouse.move(box["x"] + box["width"] * 0.1, box["y"] + box["height"] * 0.05)
        tab.mouse.down()
        for x, y in corners[1:]:
            tab.mouse.move(box["x"] + box["width"] * x, box["y"] + box["height"] * y, steps=4)
        tab.mouse.up()
        tab.wait_for_selector("#f-drawn:visible")
        tab.wait_for_function("() => parseInt(document.getElementById('found').textContent) <= 30")
        assert 5 <= int(tab.text_content("#found").split()[0]) <= 30
        tab.click("#f-drawn")
        found(tab, 34)


def test_many_at_once_duplicates_and_the_audit(open_review, monkeypatch):
    monkeypatch.setattr("dataprune.review.book.MOST_ROWS", 1)  # what one answer tells of many
    tab = open_review()
    tab.click("#f-decision")
    tab.select_option("#f-decision", "none")  # set with the mouse, a list gives the keys back
    tab.wait_for_function("() => document.activeElement.id === 'grid'")
    tab.click("[data-view=suspects]")
    found(tab, 3)
    tab.keyboard.press("d")
    tab.focus("#f-decision")
    tab.keyboard.press("u")
    tab.wait_for_function("() => document.getElementById('told').textContent.includes('taken back')")
    tab.focus("#f-changed")
    tab.keyboard.press("Home")
    tab.keyboard.press("d")
    tab.wait_for_function("() => document.getElementById('decided').textContent.includes('1 drop')")
    tab.click("[data-all=relabel]")
    tab.wait_for_function("() => document.getElementById('told').textContent.includes('1 was decided before')")
    tab.focus("[data-all=relabel]")
    tab.keyboard.press("u")
    tab.wait_for_function("() => document.getElementById('decided').textContent.includes('1 drop, 0 relabel')")
    tab.keyboard.press("u")
    tab.wait_for_function("() => document.getElementById('decided').textContent.includes('0 drop')")
    tab.click("#found")
    tab.keyboard.press(" ")
    assert tab.input_value("#bulk-scope") == "chosen"
    assert tab.locator("#bulk-scope option:checked").text_content() == "the chosen ones (1)"
    tab.keyboard.press("Escape")
    assert tab.input_value("#bulk-scope") == "shown"
    tab.click("[data-all=relabel]")
    tab.wait_for_function("() => document.getElementById('decided').textContent.includes('3 relabel')")
    tab.wait_for_function("() => document.querySelectorAll('.tile[data-decision=relabel]').length === 3")
    tab.route("**/rows*", lambda route: None)  # never answered: what the window knew of the three is outdated from here on
    tab.click("#undo")
    tab.wait_for_function("() => document.getElementById('decided').textContent.includes('0 relabel')")
    tab.click("[data-view=copies]")
    found(tab, 1)
    tab.click("[data-all=drop]")
    tab.wait_for_function("() => document.getElementById('decided').textContent.includes('1 drop')")
    assert stands(open_review.path) == [("copy.png", "drop", "")]
    tab.fill("#audit-size", "12")
    tab.click("[data-view=audit]")
    tab.wait_for_selector("#viewer[open]")
    assert "Is the label right" in tab.text_content("#viewer .why")
    assert not tab.locator("#viewer .bars, #viewer .members, #viewer .near, #viewer .curve").filter(visible=True).count()
    for _ in range(12):
        tab.keyboard.press("k")
    tab.wait_for_function("() => document.getElementById('decided').textContent.includes('12 keep')")


def test_an_audit_goes_on_where_it_was_left(open_review):
    tab = open_review()
    for window, place in ((tab, 0), (open_review(tab.context), 3)):
        window.fill("#audit-size", "12")
        window.click("[data-view=audit]")
        window.wait_for_selector("#viewer[open]")
        assert window.text_content("#viewer .place") == f"{place + 1} of 12"
        for _ in range(3):
            window.keyboard.press("k")
        window.wait_for_function(f"() => document.getElementById('decided').textContent.includes('{place + 3} keep')")


def test_two_windows_know_of_each_other(open_review):
    one = open_review()
    other = open_review(one.context)
    one.keyboard.press("d")
    one.wait_for_function("() => document.getElementById('decided').textContent.includes('1 drop')")
    other.keyboard.press("k")
    other.wait_for_function("() => document.getElementById('told').textContent.includes('Another window')")
    assert other.locator(".tile[data-decision=drop]").count() == 1
    assert [word for _, word, _ in stands(open_review.path)] == ["drop"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 1280])
def test_no_fault_for_whoever_cannot_see_it(open_review, width, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    tab = open_review(viewport={"width": width, "height": 800}, color_scheme=scheme, bypass_csp=True)
    tab.click("#plots > summary")
    tab.click("details[data-plot=confusion] > summary")
    tab.wait_for_selector(".plots .heat td")
    for is_open in (False, True):
        if is_open:
            tab.focus("#grid")
            tab.keyboard.press("Enter")
            tab.wait_for_selector("#viewer[open] .p-curve")
        faults = axe.run(tab).response["violations"]
        assert [(one["id"], one["nodes"][0]["html"][:200]) for one in faults] == []
        assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_hostile_names_never_run(browser, tmp_path):
    names = [f"{HOSTILE[row % len(HOSTILE)]}-{row}" for row in range(24)]
    data = dp.from_arrays(np.random.default_rng(0).random((24, 2), np.float32), np.arange(24) % 8, ids=names, classes=list(HOSTILE))
    run = recorded(data, tmp_path / "run", WRONG)
    with served(Book(run, gather(run, data)), "key") as port:
        tab = browser.new_page()
        tab.goto(f"http://127.0.0.1:{port}/?token=key")
        tab.wait_for_selector(".tile .what bdi:not(:empty)")
        tab.click("[data-view=all]")
        tab.focus("#grid")
        tab.keyboard.press("r")
        tab.keyboard.press("Enter")
        tab.wait_for_selector("#viewer[open] .p-curve")
        assert tab.title() == "Review: run"
        assert tab.locator("main script, main img[onerror], dialog script").count() == 0
        tab.wait_for_function("() => document.getElementById('decided').textContent.includes('1 relabel')")
        tab.close()
    assert next(iter(Journal(run.path).state.values())).label in HOSTILE
