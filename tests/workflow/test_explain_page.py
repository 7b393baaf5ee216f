"""The page of an explanation: whole, offline and harmless, as text and in a real Chromium."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from html.parser import HTMLParser
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser

from rust_kmeans.workflow import Explanation, explain, write_explanation
from rust_kmeans.workflow._cards import CHOSEN
from rust_kmeans.workflow._effects import CIRCULAR
from rust_kmeans.workflow._figures import BARS, GUTTER, LABEL, WIDTH, distribution, scatter
from rust_kmeans.workflow._page import MAX_CLUSTERS, MAX_FEATURES, page
from tests.browsers import CONTRAST, DESK, PHONE, Watched
from tests.workflow.models import blobs, fitted, prepared

#: Names that a page must show as they are and never take for its own.
NAMES = (
    "<script>document.title='taken'</script>",
    '"><img src=x onerror="document.title=\'taken\'">',
    "{{style}}",
    "a" * 300,
    "größe & 大小",
)


def explained(
    n_samples: int, n_features: int, n_clusters: int, names: tuple[str, ...] | None = None
) -> Explanation:
    values = blobs(n_samples, n_features)
    values[::5, 0] = np.nan
    return explain(fitted(values, n_clusters, prepared(values, names=names)), values)


@pytest.fixture(scope="module")
def explanation() -> Explanation:
    return explained(3_000, len(NAMES), 4, NAMES)


@pytest.fixture(scope="module")
def address(explanation: Explanation, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("page") / "page.html"
    write_explanation(explanation, path)
    return path.as_uri()


class Elements(HTMLParser):
    """All tags of a page with their attributes, and its text."""

    VOID = frozenset({"meta", "link", "br"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_names_are_shown_and_never_run(explanation: Explanation) -> None:
    elements = Elements(page(explanation))
    assert elements.open == []
    kinds = {tag for tag, _ in elements.tags}
    assert kinds.isdisjoint({"script", "img", "iframe", "object", "embed", "form"})
    assert not [name for _, attributes in elements.tags for name in attributes if name.startswith("on")]
    for name in NAMES:
        assert name in elements.text


def test_nothing_is_fetched_by_what_the_page_says_of_itself(explanation: Explanation) -> None:
    elements = Elements(page(explanation))
    links = [attributes.get("href") or attributes.get("src") for _, attributes in elements.tags]
    assert {link for link in links if link and not link.startswith("#")} == {"data:,"}
    assert "url(" not in page(explanation)
    targets = {attributes["id"] for _, attributes in elements.tags if "id" in attributes}
    assert {link[1:] for link in links if link and link.startswith("#")} <= targets


def test_the_caveat_stands_beside_each_table_of_p_values(explanation: Explanation) -> None:
    text = page(explanation)
    tests = text[text.index('id="tests"') :]
    assert tests.count(CIRCULAR) == 2
    first, second = tests.index(CIRCULAR), tests.rindex(CIRCULAR)
    assert (
        first
        < tests.index('aria-label="Analysis of variance"')
        < second
        < tests.index('aria-label="Pairwise tests"')
    )


def test_the_caveat_stands_before_the_cards(explanation: Explanation) -> None:
    text = page(explanation)
    assert text.index('id="clusters"') < text.index(CHOSEN) < text.index('class="cards"')


def test_the_same_rows_make_the_same_bytes() -> None:
    assert page(explained(500, 3, 3)) == page(explained(500, 3, 3))


def test_a_page_that_cannot_be_written_leaves_the_old_one(tmp_path: Path, explanation: Explanation) -> None:
    (tmp_path / "page.html").mkdir()
    with pytest.raises(OSError, match=r"page\.html"):
        write_explanation(explanation, tmp_path / "page.html")
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]


def test_many_columns_and_clusters_are_cut_and_the_page_says_so() -> None:
    found = explained(600, 30, 15)
    elements = Elements(page(found))
    assert f"shows the {MAX_CLUSTERS} largest clusters" in elements.text
    assert f"Of 30 columns it shows the {MAX_FEATURES} that set the clusters apart most." in elements.text
    figures = [
        attributes["aria-label"]
        for tag, attributes in elements.tags
        if tag == "svg" and "aria-label" in attributes
    ]
    assert len([label for label in figures if label and label.startswith("Distribution of")]) == MAX_FEATURES
    assert "The first 300 of 3,150 lines; tests.csv holds all." in elements.text


def test_one_cluster_has_no_tests_and_no_comparison() -> None:
    elements = Elements(page(explained(100, 2, 1)))
    assert "100 rows in one cluster" in elements.text
    assert "All rows are in this cluster" in elements.text
    assert "Tests" not in elements.text


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("screen", [DESK, PHONE], ids=["desk", "phone"])
def test_a_browser_shows_all_of_it_offline_without_scripts_and_sideways_scrolling(
    browser: Browser, address: str, scheme: str, screen: dict[str, int]
) -> None:
    context = browser.new_context(
        viewport={"width": screen["width"], "height": screen["height"]},
        offline=True,
        color_scheme="dark" if scheme == "dark" else "light",
    )
    watched = Watched(context.new_page(), address)
    reader = watched.page
    assert reader.title() != "taken"
    for summary in reader.locator("summary").all():
        summary.click()
    assert not watched.wider_than_the_screen()
    figures = reader.locator("figure svg")
    # A distribution each and the projection.
    assert figures.count() == len(NAMES) + 1
    for figure in figures.all():
        figure.scroll_into_view_if_needed()
        box = figure.bounding_box()
        assert box is not None
        assert box["width"] > 250
        assert box["height"] > 100
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= screen["width"]
        assert figure.locator(".bars, .mark").count() >= 4
    # Level AA for text of normal size.
    assert [one for one in reader.evaluate(CONTRAST) if one[0] < 4.5] == []
    assert [url for url in watched.requests if not url.startswith(("file:", "data:"))] == []
    assert watched.complaints == []
    context.close()


def test_bars_and_boxes_are_drawn_to_scale() -> None:
    # Whole numbers from 0 to 9: a bar each, as high as the number is frequent.
    column = np.repeat(np.arange(10.0), [1, 2, 3, 4, 8, 8, 4, 3, 2, 1])
    found = explain(fitted(column[:, None], 1, prepared(column[:, None])), column[:, None])
    elements = Elements(distribution(found, 0, [0])).tags
    (bars,) = [attributes["d"] or "" for _, attributes in elements if attributes.get("class") == "bars"]
    tops = np.array([float(top) for top in re.findall(r"V([\d.]+)H", bars)])
    heights = tops.max() - tops + BARS / 8
    np.testing.assert_allclose(heights, BARS * np.bincount(column.astype(int)) / 8, atol=0.11)
    ends = [float(end) for end in re.findall(r"H([\d.]+)", bars)]
    np.testing.assert_allclose(np.diff(ends), (WIDTH - GUTTER - 8) / 10, atol=0.11)
    (box,) = [attributes for _, attributes in elements if attributes.get("class") == "box"]
    left = float(box["x"] or "nan")
    quartiles = np.quantile(column, (0.25, 0.75))
    edges = [left, left + float(box["width"] or "nan")]
    np.testing.assert_allclose(edges, GUTTER + (quartiles + 0.5) / 10 * (WIDTH - GUTTER - 8), atol=0.11)


def test_no_label_of_a_center_hides_another_not_even_of_equal_centers() -> None:
    found = explained(200, 2, 3).projection
    assert found is not None
    equal = replace(found, centers=np.zeros((6, 2)), labels=found.labels % 6)
    for projection, clusters in ((found, range(3)), (equal, range(6))):
        circles = [
            (float(attributes["cx"] or "nan"), float(attributes["cy"] or "nan"))
            for tag, attributes in Elements(scatter(projection, clusters)).tags
            if tag == "circle"
        ]
        assert len(circles) == len(clusters)
        assert min(math.dist(one, other) for one, other in combinations(circles, 2)) >= 2 * LABEL - 0.2


def test_every_figure_has_an_alternative_in_words(browser: Browser, address: str) -> None:
    context = browser.new_context(java_script_enabled=True, offline=True)
    reader = Watched(context.new_page(), address).page
    assert reader.locator("svg:not([aria-hidden]):not([role=img][aria-label])").count() == 0
    label = reader.locator("#columns svg").first.get_attribute("aria-label")
    assert label is not None
    assert "cluster 0: median " in label
    assert reader.locator("[role=region]:not([aria-label])").count() == 0
    context.close()


def test_the_keyboard_reaches_the_tables_and_what_is_folded(browser: Browser, address: str) -> None:
    context = browser.new_context(viewport=DESK, offline=True)
    reader = Watched(context.new_page(), address).page
    folded = reader.locator("#tests details")
    folded.locator("summary").focus()
    reader.keyboard.press("Enter")
    assert folded.locator("table").is_visible()
    table = reader.get_by_role("region", name="Pairwise tests")
    table.focus()
    before = table.evaluate("region => region.scrollTop")
    reader.keyboard.press("End")
    reader.wait_for_function("region => region.scrollTop > 0", arg=table.element_handle())
    assert before == 0
    context.close()
