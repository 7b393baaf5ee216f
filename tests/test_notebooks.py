"""Every notebook runs from top to bottom, shows a figure, and is kept without what it printed."""

from __future__ import annotations

import ast
import json
import shlex
from pathlib import Path
from urllib.error import URLError

import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient

import runner
from harness import analysis, explore, figures
from harness.datasets import obtain
from harness.errors import UserError
from harness.scenario import DatasetSpec, Grid
from notebooks import pictures
from notebooks.pictures import by_clusters, digits, draw_digits, judged_on_the_test, quantised
from python_impl.kmeans import lloyd
from python_impl.walkthrough import draw, steps
from tests import rows

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
#: What would be logic of a notebook's own.
LOGIC = (ast.FunctionDef, ast.ClassDef, ast.For, ast.While, ast.If, ast.Try, ast.Lambda, ast.ListComp)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of results with one run in it."""
    folder = tmp_path_factory.mktemp("results")
    rows.write_run(folder, rows.modelled())
    return folder


def read(path: Path) -> nbformat.NotebookNode:
    return nbformat.read(path, as_version=4)


def code(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_there_is_a_notebook_for_every_question() -> None:
    names = [path.stem for path in NOTEBOOKS]
    of_the_bench = ["1-dataset", "2-runtime", "3-memory", "4-quality", "5-scaling", "6-walkthrough"]
    assert names == [*of_the_bench, "colors", "mnist"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_stored_without_outputs(path: Path) -> None:
    notebook = read(path)
    nbformat.validate(notebook)
    for cell in code(notebook):
        assert not cell.outputs
        assert cell.execution_count is None


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_has_no_logic_of_its_own(path: Path) -> None:
    for cell in code(read(path)):
        lines = [line for line in cell.source.splitlines() if not line.startswith("%")]
        assert not [node for node in ast.walk(ast.parse("\n".join(lines))) if isinstance(node, LOGIC)]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_from_top_to_bottom_and_shows_figures(
    path: Path, results: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    if path.stem == "mnist":
        monkeypatch.setenv("KMEANS_MNIST", str(request.getfixturevalue("real_data") / "mnist"))
        monkeypatch.setenv("KMEANS_MNIST_SAMPLES", "2000")
    monkeypatch.setenv("KMEANS_BENCH_RESULTS", str(results))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    notebook = read(path)
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(ROOT)}}).execute()
    shown = [output for cell in code(notebook) for output in cell.outputs]
    assert any("image/png" in output.get("data", {}) for output in shown)
    assert not [output for output in shown if output.output_type == "stream" and output.name == "stderr"]


def test_a_notebook_says_what_its_figure_needs_where_the_run_has_it_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    grid = Grid(sizes=(1_000,), dims=(2,), clusters=(3,))
    rows.write_run(tmp_path, rows.modelled(grid=grid, n_repeats=2), grid=grid)
    monkeypatch.setenv("KMEANS_BENCH_RESULTS", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    notebook = read(ROOT / "notebooks" / "2-runtime.ipynb")
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(ROOT)}}).execute()
    said = [
        output.get("data", {}).get("text/plain", "") for cell in code(notebook) for output in cell.outputs
    ]
    assert any("measure with --sizes" in text for text in said)


def test_where_there_is_no_run_a_small_one_is_measured_once(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KMEANS_BENCH_RESULTS", str(tmp_path))
    monkeypatch.setattr(explore, "CACHE", cache)
    monkeypatch.setattr(explore, "SMALL", Grid(sizes=(200,), dims=(2,), clusters=(3,)))
    monkeypatch.setattr(explore, "SMALL_NAMES", "numpy")
    run = explore.latest_run()
    assert run.rows["status"].tolist() == ["ok", "ok"]
    assert explore.latest_run().run_id == run.run_id
    assert set(run.rows["track"]) == {"matched", "default"}
    # What the notebooks show of such a run is there: the frontier, and whether the labels are right.
    lines = analysis.summarise(run.rows, "numpy")
    assert figures.frontier(lines, ["numpy"]) is not None
    assert lines["label_agreement"].tolist() == [1.0, 1.0]


def test_the_command_of_a_run_that_a_notebook_measured_measures_it_again(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KMEANS_BENCH_RESULTS", str(tmp_path))
    monkeypatch.setattr(explore, "CACHE", cache)
    monkeypatch.setattr(runner, "CACHE", cache)
    monkeypatch.setattr(runner, "load_dotenv", lambda _: None)
    explore.scaling_run(200, "numpy", repeats=1)
    runs = sorted((tmp_path / "scaling").glob("*/env.json"))
    commands = [shlex.split(json.loads(path.read_text())["command"]) for path in runs]
    assert len(set(map(tuple, commands))) == len(runs)
    for words in commands:
        assert runner.main([*words[2:], "--results", str(tmp_path / "scaling")]) == 0
    # A run is named after its plan: the same names are the same plans.
    assert sorted((tmp_path / "scaling").glob("*/env.json")) == runs
    assert len(list(tmp_path.iterdir())) == 1


def test_the_walkthrough_ends_where_the_algorithm_does(cache: Path) -> None:
    data = obtain(DatasetSpec("blobs", 300, 2, 4, dtype="float64"), cache)
    X = data.dataset.load()
    done = steps(X, data.init)
    expected = lloyd(X, data.init, tol=0.0)
    assert done[0].centers is None
    assert done[1].labels is None
    assert done[-1].centers is not None
    np.testing.assert_array_equal(done[-1].centers, expected.centers)
    np.testing.assert_array_equal(done[-1].labels, expected.labels)
    assert len(draw(X, done).axes) == len(done)


def test_digits_without_a_network_say_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: object, **__: object) -> None:
        raise URLError("no network")

    monkeypatch.delenv("KMEANS_MNIST", raising=False)
    monkeypatch.setattr(pictures, "fetch_openml", offline)
    with pytest.raises(UserError, match="set KMEANS_MNIST to a folder with its four IDX files"):
        digits()


@pytest.mark.parametrize("n_colors", [1, 5])
def test_a_picture_in_few_colours_has_so_many(n_colors: int) -> None:
    image = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    few = quantised(image, n_colors)
    assert few.pixels.shape == image.shape
    assert len(np.unique(few.pixels.reshape(-1, 3), axis=0)) == n_colors
    # No single colour is nearer than the mean, and more colours are nearer than one.
    error = np.square(image.astype(float) - few.pixels).mean()
    assert error <= image.reshape(-1, 3).astype(float).var(axis=0).mean() + 0.1


def test_digits_are_read_where_the_variable_says(real_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KMEANS_MNIST", str(real_data / "mnist"))
    monkeypatch.setenv("KMEANS_MNIST_SAMPLES", "1000")
    data = digits()
    assert data.X_train.shape == data.X_test.shape == (1_000, 784)
    # The first five images of the training set show these digits, those of the test set the others.
    assert data.y_train[:5].tolist() == [5, 0, 4, 1, 9]
    assert data.y_test[:5].tolist() == [7, 2, 1, 0, 4]
    fits = by_clusters(data, (10, 64))
    few, many = (judged_on_the_test(model, data).agreement for model in fits["model"])
    assert few is not None
    assert many is not None
    assert 0.4 < few.accuracy < many.accuracy
    assert fits["inertia"].is_monotonic_decreasing
    assert len(draw_digits(fits.loc[10, "model"].cluster_centers_, range(10)).axes) == 10
