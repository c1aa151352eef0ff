"""The page in a real Chromium: what a person does with mouse and keyboard works, and no name from the data ever runs."""

import csv
from dataclasses import replace

import numpy as np
import pytest

from dataprune.report.page import Options
from dataprune.report.page.build import run_page
from dataprune.report.page.render import html
from dataprune.report.page.study import study_page
from pages import HOSTILE, material, pairs
from test_page_study import study_data

pytestmark = [pytest.mark.browser, pytest.mark.filterwarnings("default")]


@pytest.fixture
def open_page(opened_tab, tmp_path):
    """Open a page from disk, which asks no network for anything."""

    def opened(page, *, is_static=False, **options):
        path = tmp_path / "page.html"
        path.write_text(html(page, is_static=is_static), encoding="utf-8")
        return opened_tab(path.as_uri(), **options)

    return opened


def whole(**options):
    one = material(60, **options)
    return run_page(replace(one, **pairs(one)), Options())


def study():
    return study_page(study_data(), Options())


def test_picture_opens_on_click_and_closes(open_page):
    tab = open_page(whole())
    tab.locator("#gallery-hardest .see").first.click()
    assert tab.locator("#viewer").is_visible()
    assert tab.locator("#viewer img").count() == 1
    tab.wait_for_selector("#viewer tbody tr")
    assert tab.locator("#viewer tbody tr").count() == 5
    first = tab.text_content("#viewer-name")
    for key in ("l", "l", "j", "d"):  # decides about the second, and goes on
        tab.keyboard.press(key)
    tab.wait_for_function("document.querySelector('#viewer .place').textContent.startsWith('3 of')")
    assert tab.text_content("#viewer-name") != first
    assert tab.locator("#gallery-hardest .see").nth(1).get_attribute("data-decision") == "drop"
    tab.keyboard.press("Escape")
    assert not tab.locator("#viewer").is_visible()


def test_gallery_follows_score_and_class(open_page):
    tab = open_page(whole())
    before = tab.locator("#gallery-hardest .name").all_text_contents()
    tab.select_option("#gallery-score", "variability")
    assert tab.locator("#gallery-hardest .name").all_text_contents() != before
    tab.select_option("#gallery-class", label="dog")
    assert set(tab.locator("#gallery-easiest .label").all_text_contents()) == {"dog"}


def test_map_is_walked_by_keyboard_and_mouse(open_page):
    tab = open_page(whole())
    tab.locator("#map-plot").focus()
    tab.keyboard.press("ArrowRight")
    first = tab.locator("#map-said").text_content()
    assert "Confidence" in first
    tab.keyboard.press("Enter")
    assert tab.locator("#viewer").is_visible()
    tab.keyboard.press("Escape")
    dot = tab.locator("#map-plot circle").nth(5)
    dot.scroll_into_view_if_needed()
    box = dot.bounding_box()
    tab.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    assert tab.locator("#viewer").is_visible()


def test_tables_sort(open_page):
    tab = open_page(whole())
    column = tab.locator("#class-table tbody tr td:nth-child(2)")
    tab.locator("#class-table th", has_text="examples").locator("button").click()
    numbers = [int(text) for text in column.all_text_contents()]
    assert numbers == sorted(numbers)
    tab.locator("#class-table th", has_text="class").first.locator("button").click()
    tab.locator("#class-table th", has_text="class").first.locator("button").click()
    assert tab.locator("#class-table tbody th").all_text_contents() == ["ship", "dog", "cat"]


def test_trials_sort_and_filter(open_page):
    tab = open_page(study())
    tab.fill("#trial-filter", "el2n 0.5")
    assert tab.locator("#trial-table tbody tr:visible").count() == 3
    assert tab.locator("#trial-count").text_content() == "3 of 15"
    tab.fill("#trial-filter", "")
    tab.locator("#trial-table th", has_text="train seconds").locator("button").click()
    headings = tab.locator("#trial-table th").all_text_contents()
    place = next(at for at, text in enumerate(headings) if text.startswith("train seconds"))
    assert float(tab.locator("#trial-table tbody tr").first.locator("td").nth(place).text_content()) == 5.0


def test_a_choice_shows_one_of_several_charts(open_page):
    tab = open_page(study())
    assert tab.locator("[data-shown=by-epoch]:visible").count() == 1
    tab.select_option("[data-shows=by-epoch]", label="keep 50 %")
    assert "keep 50\u00a0%" in tab.locator("[data-shown=by-epoch]:visible figcaption").text_content()
    tab = open_page(whole())
    tab.select_option("#distribution-score", "aum")
    assert tab.locator("[data-shown=distribution]:visible").get_attribute("data-is") == "aum"


def test_decisions_by_keyboard_survive_a_reload_and_are_saved(open_page, tmp_path):
    names = [f'={row},"x"\n花.png' for row in range(60)]
    tab = open_page(whole(ids=names))
    assert tab.evaluate("scrollY") == 0
    for key in ("d", "d", "r", "k"):  # the first card lies below the window: the first key shows it, as nothing is decided unseen
        tab.keyboard.press(key)
    tab.keyboard.press("ArrowLeft")
    tab.keyboard.press("u")
    tab.keyboard.press("ArrowLeft")
    tab.keyboard.press("ArrowLeft")
    tab.reload()
    decided = [card.get_attribute("data-decision") for card in tab.locator("#review-cards .suspect").all()[:4]]
    assert decided == ["drop", "relabel", None, None]
    tab.locator("#review-cards .suspect").nth(3).locator("[data-do=keep]").click()
    with tab.expect_download() as waiting:
        tab.click("#review-save")
    waiting.value.save_as(tmp_path / "decisions.csv")
    with (tmp_path / "decisions.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file, strict=True))
    page = whole(ids=names)
    first = [page.payload["examples"]["id"][one["e"]] for one in page.payload["suspects"][:4]]
    suggested = page.payload["names"][page.payload["suspects"][1]["to"]]
    assert rows == [
        ["id", "decision", "label", "split"],
        [first[0], "drop", "", "train"],
        [first[1], "relabel", suggested, "train"],
        [first[3], "keep", "", "train"],
    ]


def test_other_label_may_be_chosen_and_shown_cards_filter(open_page):
    tab = open_page(whole())
    card = tab.locator("#review-cards .suspect").first
    given = card.locator(".label").text_content()
    assert given not in card.locator("option").all_text_contents()
    card.locator("select").select_option(index=0)
    assert card.get_attribute("data-decision") == "relabel"
    n = tab.locator("#review-cards .suspect").count()
    tab.select_option("#review-show", "open")
    assert tab.locator("#review-cards .suspect").count() == n - 1
    tab.select_option("#review-show", "done")
    assert tab.locator("#review-cards .suspect").count() == 1


def test_many_at_once_copies_cells_and_ids(open_page):
    tab = open_page(whole())
    tab.select_option("#review-scope", "80")
    tab.click("[data-many=relabel]")
    sure = [one for one in whole().payload["suspects"] if one["p"] >= 0.8]
    assert len(sure) > 1
    assert f"{len(sure)} relabel" in tab.text_content("#review-count")
    tab.click("#review-undo")
    assert "0 relabel" in tab.text_content("#review-count")
    tab.locator("#review-cards [data-do=keep]").first.click()
    tab.click("[data-many=drop]")
    assert "1 was decided before" in tab.text_content("#review-told")
    tab.keyboard.press("u")  # the focus is on the button
    assert "1 keep, 0 drop" in tab.text_content("#review-count")
    tab.click("#drop-copies")
    assert "2 drop" in tab.text_content("#review-count")
    tab.locator("#confusion-table td.n4 button, #confusion-table td.n3 button, #confusion-table td.n2 button").first.click()
    n = int(tab.text_content("#confusion-said").split(": ")[1].split(",")[0])
    assert tab.locator("#confusion-cards > li").count() == n > 0
    tab.fill("#search", "11.png")
    assert tab.locator("#search-cards .name").all_text_contents() == ["11.png"]


def test_values_stand_at_the_pointer(open_page):
    tab = open_page(study())
    plot = tab.locator("#curves svg").first
    plot.scroll_into_view_if_needed()
    box, said = plot.bounding_box(), set()
    for place in range(400):
        tab.mouse.move(box["x"] + box["width"] * (place % 20 + 1) / 21, box["y"] + box["height"] * (place // 20 + 1) / 21)
        said.add(tab.text_content(".tip"))
    assert any(" at " in one for one in said)


@pytest.mark.parametrize("is_static", [False, True])
def test_hostile_names_never_run(open_page, is_static):
    one = material(16, HOSTILE, ids=[f"{name}-{row}" for row, name in enumerate(HOSTILE * 2)])
    tab = open_page(run_page(replace(one, **pairs(one)), Options(title="A <b>title")), is_static=is_static)
    if not is_static:
        tab.locator("#gallery-hardest .see").first.click()
        tab.keyboard.press("Escape")
        tab.locator("#review-cards .suspect").first.focus()
        tab.keyboard.press("r")
    assert tab.title() == "A <b>title"
    assert tab.locator("main script, main img[onerror]").count() == 0
    assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_policy_is_a_second_wall(browser, tmp_path):
    text = html(whole()).replace(
        "<h1>", "<h1><img src=x onerror=\"document.title='broken'\"><script>document.title='broken'</script>", 1
    )
    (tmp_path / "page.html").write_text(text, encoding="utf-8")
    tab = browser.new_page()
    tab.goto((tmp_path / "page.html").as_uri())
    assert tab.title() == "Data report: my run"
    tab.close()


@pytest.mark.parametrize(("width", "scheme"), [(390, "light"), (1280, "dark")])  # colours do not turn on the width
@pytest.mark.parametrize("kind", ["run", "study", "static", "features"])
def test_no_serious_fault_for_whoever_cannot_see_it(open_page, kind, width, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    features = np.random.default_rng(0).random((60, 4)).astype(np.float32)
    page = study() if kind == "study" else whole(pictures=False, features=features) if kind == "features" else whole()
    tab = open_page(
        page, is_static=kind == "static", viewport={"width": width, "height": 800}, color_scheme=scheme, bypass_csp=True
    )
    found = axe.run(tab).response["violations"]
    assert [(one["id"], one["nodes"][0]["html"][:200]) for one in found if one["impact"] in ("serious", "critical")] == []
    assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_theme_switches_and_is_remembered(open_page):
    tab = open_page(whole(), color_scheme="light")
    tab.click("#theme")
    dark = tab.evaluate("getComputedStyle(document.body.parentElement).backgroundColor")
    tab.reload()
    assert tab.evaluate("getComputedStyle(document.body.parentElement).backgroundColor") == dark == "rgb(22, 24, 26)"
