"""The service's page as its reader has it: in a real Chromium, on a wide screen and a phone in the dark."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, ViewportSize

from rust_kmeans.workflow import save_model
from tests.browsers import DESK, PATIENCE_MS, PHONE
from tests.workflow.served import Running, serving, small_model

D, K = 3, 4
#: One row, in every form that can be pasted.
ROWS = (
    "1.5, -2, 0.25",
    "1.5\t-2\t0.25\n",
    "1.5;-2;0.25",
    " 1.5 -2 0.25 ",
    "[1.5, -2, 0.25]",
    '{"x2": 0.25, "x0": 1.5, "x1": -2}',
    '{"features": [1.5, -2, 0.25]}',
)
#: Rows that are none, and what is said of them.
BAD_ROWS = (
    ("1, 2", "row 0 has 2 values: it must have 3"),
    ("1, two, 3", "Value 2 is 'two'"),
    ("1, 2, 1e39", "too large"),
    ("", "row 0 has 1 values"),
    ("[1, 2", "begins like JSON"),
    ('{"x0": 1}', "row 0 has no 'x1', 'x2'"),
    ("[[1, 2, 3], [1, 2, 3]]", "more than one row"),
    ("1, 2, 3\n4, 5, 6", "more than one line"),
    ('[1, "<img src=x onerror=alert(1)>", 2]', "a string for 'x1'"),
)


class Reader(NamedTuple):
    """Who looks at a service: without a token on a wide screen, or with one on a phone."""

    token: str
    size: ViewportSize
    scheme: Literal["light", "dark"]


READERS = {"desk": Reader("", DESK, "light"), "phone": Reader("secret", PHONE, "dark")}


@pytest.fixture(scope="module", params=READERS)
def service(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Running, Reader]]:
    reader = READERS[request.param]
    path = tmp_path_factory.mktemp("page") / "trips.safetensors"
    save_model(small_model(D, K), path)
    with serving(path, token=reader.token) as running:
        yield running, reader


@pytest.fixture
def page(browser: Browser, service: tuple[Running, Reader]) -> Iterator[Page]:
    running, (token, size, scheme) = service
    context = browser.new_context(viewport=size, color_scheme=scheme)
    page = context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    requests: list[str] = []
    complaints: list[str] = []
    page.on("request", lambda asked: requests.append(asked.url))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda message: complaints.append(message.text))
    page.goto(running.url)
    if token:
        for said in ("wrong", token):
            page.locator("#token").fill(said)
            page.get_by_role("button", name="Use it").click()
            if said == "wrong":
                problem(page, "a token is needed")
    page.locator("#row-form").wait_for()
    yield page
    assert not page.evaluate("document.documentElement.scrollWidth > window.innerWidth")
    assert [url for url in requests if not url.startswith((running.url, "data:"))] == []
    # Chromium itself notes every answer that is an error; nothing else is there.
    assert [text for text in complaints if not text.startswith("Failed to load resource")] == []
    context.close()


def find(page: Page, row: str) -> None:
    page.locator("#row").fill(row)
    page.get_by_role("button", name="Find the cluster").click()


def problem(page: Page, said: str) -> None:
    """Wait until the page says what is wrong."""
    page.get_by_role("alert").filter(has_text=said).wait_for()


def check_answer(page: Page, row: list[float]) -> None:
    """Compare what the page shows with what the model says."""
    page.locator("#answer").wait_for()
    prediction = small_model(D, K).predict(np.array([row]))
    cluster, distances, margin = (part[0] for part in prediction)
    assert page.get_by_role("alert").is_hidden()
    assert page.locator("#cluster").inner_text() == f"Cluster {cluster}"
    assert page.locator("#distances .nearest th").inner_text() == f"cluster {cluster}"
    shown = [float(text) for text in page.locator("#distances td:last-child").all_inner_texts()]
    np.testing.assert_allclose(shown, distances, rtol=1e-4)
    said = page.locator("#margin").inner_text().split()[1].rstrip(":")
    assert float(said) == pytest.approx(margin, rel=1e-4)
    bars = page.locator("#distances .bar")
    widths = np.array(bars.evaluate_all("bars => bars.map(bar => bar.getBoundingClientRect().width)"))
    np.testing.assert_allclose(widths / widths.max(), distances / distances.max(), rtol=0.05)


def test_a_row_in_any_form_gets_its_cluster_and_a_bad_one_the_reason(page: Page) -> None:
    for place, (row, said) in enumerate(BAD_ROWS):
        find(page, row)
        problem(page, said)
        assert page.locator("#answer").is_hidden()
        find(page, ROWS[place % len(ROWS)])
        check_answer(page, [1.5, -2.0, 0.25])


def test_one_value_is_changed_in_its_field(page: Page) -> None:
    find(page, "1.5, -2, 0.25")
    check_answer(page, [1.5, -2.0, 0.25])
    page.locator("#by-field summary").click()
    assert [field.input_value() for field in page.locator("#fields input").all()] == ["1.5", "-2", "0.25"]
    page.get_by_label("x1").fill("much")
    page.get_by_label("x1").press("Enter")
    problem(page, "x1 is 'much'")
    page.get_by_label("x1").fill("40")
    page.get_by_label("x1").press("Enter")
    check_answer(page, [1.5, 40.0, 0.25])


def test_the_page_describes_the_service_for_programs(page: Page) -> None:
    route = page.locator("#routes details", has_text="POST /predict_cluster")
    route.locator("summary").click()
    assert '"features"' in route.locator("pre").first.inner_text()
    assert page.locator("#routes details").count() >= 8
    assert "4 clusters of 3 features" in page.locator("#about").inner_text()
