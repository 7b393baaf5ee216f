"""The page as its reader has it: in a real Chromium, offline, with a mouse, a keyboard and a phone."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Download

from harness import report
from harness.analysis import MachineLimits
from harness.record import COLUMNS
from tests.browsers import CONTRAST, DESK, PHONE, Watched
from tests.rows import GRID, MODELS, modelled, write_run

BASELINE = "sklearn-lloyd"


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Two runs, so that the reader has something to choose from, the second one with losses of ours."""
    folder = tmp_path_factory.mktemp("page")
    runs = [
        write_run(folder, modelled(run_id="first")),
        write_run(folder, modelled(run_id="second", slower={"rust": 40.0}, seed=1)),
    ]
    limits = MachineLimits({"float32": 4e11, "float64": 2e11}, 3e10)
    report.write_html(folder / "report.html", report.collect(runs, BASELINE, limits))
    return (folder / "report.html").as_uri()


class Report(Watched):
    """The page with its table."""

    def column(self, heading: str) -> list[str]:
        """Return the texts of a column of the table."""
        headings = self.page.locator("#table thead th").all_inner_texts()
        cells = f"#table tbody tr:not(.details) > :nth-child({headings.index(heading) + 1})"
        return self.page.locator(cells).all_inner_texts()

    def sort(self, heading: str) -> str | None:
        """Press a heading and return how its column is sorted now."""
        head = self.page.locator("#table thead th").filter(has_text=heading).first
        head.get_by_role("button").click()
        return head.get_attribute("aria-sort")


@pytest.fixture
def reader(browser: Browser, address: str) -> Iterator[Report]:
    context = browser.new_context(viewport=DESK, offline=True, color_scheme="light")
    watched = Report(context.new_page(), address)
    yield watched
    # Whatever a test did: nothing was fetched and nothing went wrong.
    assert [url for url in watched.requests if not url.startswith(("file:", "blob:", "data:"))] == []
    assert watched.complaints == []
    context.close()


def seconds(text: str) -> float:
    value, unit = text.split()
    return float(value.replace(",", "")) * {"s": 1.0, "ms": 1e-3, "µs": 1e-6}[unit]


def text_of(download: Download) -> str:
    return Path(download.path()).read_text(encoding="utf-8")


def test_the_verdict_is_there_at_once_and_without_scripts(browser: Browser, address: str) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(address)
    assert page.locator("h1").inner_text().startswith("rust is ")
    assert "(range " in page.locator("h1").inner_text()
    assert page.locator("noscript p").is_visible()
    context.close()


def test_a_heading_sorts_by_the_figure_and_not_by_its_text(reader: Report) -> None:
    assert reader.sort("median") == "ascending"
    texts = reader.column("median")
    rising = [seconds(text) for text in texts if text != "–"]
    assert rising == sorted(rising)
    assert {"µs", "ms"} <= {text.split()[-1] for text in texts}
    assert reader.sort("median") == "descending"
    texts = reader.column("median")
    falling = [seconds(text) for text in texts if text != "–"]
    assert falling == sorted(falling, reverse=True)
    # What has no figure stands last either way.
    assert texts[-1] == "–"
    assert texts.index("–") == len(falling)


def test_the_keyboard_sorts_and_unfolds(reader: Report) -> None:
    heading = reader.page.locator("#table thead button").filter(has_text="ratio").first
    heading.focus()
    reader.page.keyboard.press("Enter")
    sorted_by = reader.page.locator("#table th[aria-sort]")
    assert (sorted_by.inner_text(), sorted_by.get_attribute("aria-sort")) == ("ratio", "ascending")
    # The heading keeps the focus, though the table was drawn anew.
    reader.page.keyboard.press("Enter")
    assert reader.page.locator("#table th[aria-sort]").get_attribute("aria-sort") == "descending"
    first = reader.page.locator("#table .unfold").first
    first.focus()
    reader.page.keyboard.press("Space")
    assert reader.page.locator("#table .unfold").first.get_attribute("aria-expanded") == "true"
    command = reader.page.locator("tr.details code").inner_text()
    assert command.startswith("python runner.py --sizes ")
    assert command.endswith(f"--implementations rust,{BASELINE}")
    reader.page.keyboard.press("Space")
    assert reader.page.locator("tr.details").count() == 0


def test_words_and_status_filter_the_table(reader: Report) -> None:
    reader.page.fill("#filter", "rust n=1e5")
    assert set(reader.column("implementation")) == {"rust"}
    assert set(reader.column("n")) == {"1e5"}
    reader.page.fill("#filter", "k=1")
    assert reader.column("n") == []
    assert reader.page.locator("#count").inner_text().startswith("0 of ")
    reader.page.fill("#filter", "")
    reader.page.select_option("#status", "not")
    assert set(reader.column("status")) == {"skipped"}
    reader.page.select_option("#status", "ok")
    assert set(reader.column("status")) == {"ok"}


def test_the_controls_choose_run_and_track_everywhere(reader: Report) -> None:
    page = reader.page
    cells, names = len(GRID.scenarios()), len(MODELS)
    assert len(reader.column("n")) == 2 * cells * names
    page.select_option("#run", "first")
    assert len(reader.column("n")) == cells * names
    assert page.locator("#growth figure").count() == 4
    page.select_option("#track", "")
    assert len(reader.column("n")) == 2 * cells * names
    assert set(reader.column("track")) == {"matched", "default"}
    assert page.locator("#growth figure").count() == 8


def test_the_reader_switches_the_baseline(reader: Report) -> None:
    page = reader.page
    page.select_option("#run", "first")
    page.fill("#filter", "rust n=1e5 d=10 k=10")
    (to_lloyd,) = reader.column("ratio")
    page.select_option("#baseline", "numpy")
    (to_numpy,) = reader.column("ratio")
    assert float(to_numpy[:-1]) > float(to_lloyd[:-1])
    assert "as fast as numpy" in page.locator("h1").inner_text()
    assert page.locator("#count").inner_text().endswith("ratio to numpy")
    page.fill("#filter", "numpy")
    assert set(reader.column("ratio")) == {"1.00×"}
    page.select_option("#baseline", "rust")
    assert "choose another baseline" in page.locator("h1").inner_text()


def test_losses_of_both_tracks_are_named(reader: Report) -> None:
    page = reader.page
    page.select_option("#run", "first")
    assert page.locator("#lost-note").inner_text().startswith("In no cell is rust slower")
    page.select_option("#run", "second")
    tracks = page.locator("#lost tbody td:nth-child(2)").all_inner_texts()
    assert set(tracks) == {"matched", "default"}
    ratios = [float(text[:-1]) for text in page.locator("#lost tbody td:nth-child(5)").all_inner_texts()]
    assert ratios == sorted(ratios)
    assert max(ratios) < 1


def test_where_nothing_of_ours_was_measured_no_loss_is_denied(browser: Browser, tmp_path: Path) -> None:
    others = [one for one in modelled(n_repeats=1) if one.implementation != "rust"]
    report.write_html(tmp_path / "page.html", report.collect([write_run(tmp_path, others)], BASELINE))
    page = browser.new_page()
    page.goto((tmp_path / "page.html").as_uri())
    assert page.locator("#lost-note").inner_text() == "Nothing of rust was measured."
    page.close()


def test_what_is_saved_is_what_was_measured(reader: Report) -> None:
    page = reader.page
    page.fill("#filter", "rust n=1e3")
    with page.expect_download() as caught:
        page.click("#save-table")
    table = list(csv.DictReader(io.StringIO(text_of(caught.value))))
    assert caught.value.suggested_filename == "table.csv"
    assert {(one["implementation"], one["n_samples"], one["baseline"]) for one in table} == {
        ("rust", "1000", BASELINE)
    }
    assert len(table) == len(reader.column("n"))
    with page.expect_download() as caught:
        page.click("#save-rows")
    rows = list(csv.DictReader(io.StringIO(text_of(caught.value))))
    assert tuple(rows[0]) == COLUMNS
    assert len(rows) == 2 * len(modelled())
    with page.expect_download() as caught:
        page.click("#save-json")
    assert set(json.loads(text_of(caught.value))["implementations"]) == set(MODELS)


def test_implementations_can_be_hidden_and_axes_changed(reader: Report) -> None:
    page = reader.page
    page.select_option("#run", "first")
    marks = page.locator("#growth title")
    before = marks.count()
    page.get_by_role("button", name="numpy", exact=True).last.click()
    assert page.locator('#legend [data-name="numpy"]').get_attribute("aria-pressed") == "false"
    assert marks.count() == before * 3 // 4
    page.get_by_label("clusters", exact=True).check()
    assert page.locator("#growth figcaption").first.inner_text() == "1e3 samples, 2 features"


def test_the_maps_have_every_metric_and_the_limit(reader: Report) -> None:
    page = reader.page
    page.select_option("#run", "first")
    for label, unit in (
        ("ratio to the baseline", "×"),
        ("peak memory", "MiB"),
        ("share of", "%"),
        ("time", "s"),
    ):
        page.locator("#metric label").filter(has_text=label).first.click()
        texts = page.locator("#grids td").all_inner_texts()
        assert len(texts) == 4 * len(GRID.scenarios())
        assert all(text.endswith(unit) for text in texts)


def test_one_cell_shows_frontier_and_phases(reader: Report) -> None:
    page = reader.page
    page.select_option("#run", "first")
    assert page.locator("#cell option:checked").inner_text() == "blobs-n100000-d10-k10-float32, default track"
    assert set(page.locator("#frontier .name").all_text_contents()) == set(MODELS)
    first = page.locator("#phases .phase").first
    assert first.locator("span").first.inner_text() == "rust"
    assert "seeding" in first.inner_text()
    page.select_option("#cell", label="blobs-n1000-d2-k3-float32, matched track")
    assert page.locator("#frontier .name").count() == 4


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_colours_follow_the_system_until_the_reader_chooses(reader: Report, scheme: str) -> None:
    def brightness() -> int:
        script = "getComputedStyle(document.documentElement).backgroundColor.match(/\\d+/g).map(Number)"
        return sum(reader.page.evaluate(script))

    dark = scheme == "dark"
    reader.page.emulate_media(color_scheme="dark" if dark else "light")
    assert (brightness() < 200) == dark
    for name, expected in (("light", False), ("dark", True), ("system", dark)):
        reader.page.click("#theme")
        assert reader.page.locator("#theme").inner_text() == f"Colours: {name}"
        assert (brightness() < 200) == expected


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_stands_out_from_its_ground(reader: Report, scheme: str) -> None:
    reader.page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    found = reader.page.evaluate(CONTRAST)
    assert len(found) > 500
    # Level AA for text of normal size; the names in the figures are large marks' labels: 3.
    assert [one for one in found if one[0] < (3.0 if one[1] in MODELS else 4.5)] == []


def test_every_control_has_a_name(reader: Report) -> None:
    named = "e.ariaLabel || e.textContent.trim() || [...e.labels].map((label) => label.textContent).join()"
    names = reader.page.locator("select, input, button").evaluate_all(f"all => all.map((e) => {named})")
    assert len(names) > 50
    assert all(names)
    assert reader.page.locator("svg:not([aria-hidden]):not([role=img][aria-label])").count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_all_of_it_without_scrolling_sideways(
    browser: Browser, address: str, scheme: str
) -> None:
    context = browser.new_context(
        viewport=PHONE, is_mobile=True, has_touch=True, color_scheme="dark" if scheme == "dark" else "light"
    )
    watched = Report(context.new_page(), address)
    page = watched.page
    assert not watched.wider_than_the_screen()
    page.locator("#table .unfold").first.tap()
    assert not watched.wider_than_the_screen()
    page.select_option("#track", "")
    page.get_by_text("peak memory", exact=True).last.tap()
    assert not watched.wider_than_the_screen()
    assert watched.complaints == []
    context.close()
