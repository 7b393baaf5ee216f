"""The commands export, import and drift: files in and out, one line for a mistake, codes for schedulers."""

from __future__ import annotations

import json
import os
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pandas as pd
import pytest
import skops.io
from sklearn.cluster import KMeans as SklearnKMeans
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from rust_kmeans import KMeans
from rust_kmeans.workflow import load_model, save_model
from rust_kmeans.workflow.commands import main
from tests.workflow.models import blobs, fitted, prepared

NAMES = ["a", "[b]", "c"]
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Return what runs the command line in a folder with a model and gives exit code, output and errors."""
    monkeypatch.chdir(tmp_path)
    values = blobs(1000)
    save_model(fitted(values, 4, prepared(values, names=tuple(NAMES))), "taxi.model")

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["rust-kmeans", *arguments])
        code: Any = 0
        try:
            main()
        except SystemExit as end:
            code = end.code
        said = capsys.readouterr()
        return code or 0, said.out, said.err

    return run


def frame(seed: int = 5, shift: float = 0.0) -> pd.DataFrame:
    return pd.DataFrame(blobs(1000, seed=seed) + np.array([shift, 0, 0]), columns=NAMES)


def test_fresh_rows_end_with_0_and_drifted_ones_with_3(run: Run) -> None:
    frame().to_csv("same.csv", index=False)
    frame(shift=4.0).to_parquet("moved.parquet")
    code, out, err = run("drift", "taxi.model", "same.csv")
    assert (code, err) == (0, "")
    assert out.splitlines()[-1].startswith("No drift: of 10 tests on 1,000 new rows none")
    assert "[b]" in out
    code, out, err = run("drift", "taxi.model", "moved.parquet")
    assert (code, err) == (3, "")
    assert out.splitlines()[-1].startswith(
        "Drift: 1,000 new rows differ from the training rows in column 'a' (KS "
    )


def test_the_report_of_drift_is_written_in_three_forms(run: Run) -> None:
    frame(shift=4.0).to_csv("new.csv", index=False)
    code, out, _ = run(
        "drift", "taxi.model", "new.csv", "--json", "r.json", "--csv", "r.csv", "--plot", "r.png"
    )
    assert code == 3
    assert out.splitlines()[-3:] == ["written: r.json", "written: r.csv", "written: r.png"]
    report = json.loads(Path("r.json").read_text())
    assert report["is_drift"] is True
    assert report["verdict"] in out
    tests = pd.read_csv("r.csv", keep_default_na=False)
    assert tests.to_dict("records") == report["tests"]
    assert {test["feature"] for test in report["tests"]} == {*NAMES, ""}
    assert [share["cluster"] for share in report["shares"]] == [0, 1, 2, 3]
    assert Path("r.png").read_bytes().startswith(b"\x89PNG")
    # Nothing is left beside them.
    assert {path.name for path in Path().iterdir()} == {"new.csv", "r.csv", "r.json", "r.png", "taxi.model"}


def test_the_level_decides(run: Run) -> None:
    frame()[:60].assign(a=lambda rows: rows["a"] + 1.6).to_csv("new.csv", index=False)
    assert run("drift", "taxi.model", "new.csv", "--level", "1e-9")[0] == 0
    assert run("drift", "taxi.model", "new.csv", "--level", "0.5")[0] == 3
    code, _, err = run("drift", "taxi.model", "new.csv", "--level", "2")
    assert (code, err) == (2, "error: level=2.0: it must be above 0 and below 1.\n")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("drift", "none.model", "new.csv"), "error: none.model is not there: "),
        (("drift", "new.csv", "new.csv"), "error: new.csv is no model file"),
        (("drift", "taxi.model", "other.csv"), "has no column 'a'"),
        (("export", "new.csv", "--to", "onnx", "--out", "x"), "error: new.csv is no model file"),
        (("import", "none.skops", "--out", "x"), "error: none.skops is no file: "),
        (("import", "new.csv", "--out", "x"), "error: new.csv is no skops file, or a damaged one: "),
    ],
)
def test_a_mistake_is_one_line_and_2(run: Run, arguments: tuple[str, ...], said: str) -> None:
    frame().to_csv("new.csv", index=False)
    pd.DataFrame({"z": [1.0]}).to_csv("other.csv", index=False)
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert said in err
    assert err.count("\n") == 1
    assert not Path("x").exists()


def test_a_model_goes_to_scikit_learn_and_comes_back(run: Run) -> None:
    assert run("export", "taxi.model", "--to", "sklearn", "--out", "taxi.skops") == (
        0,
        "sklearn: taxi.skops\n",
        "",
    )
    # All that has to be trusted is the name of a dtype.
    assert skops.io.get_untrusted_types(file="taxi.skops") == ["numpy.dtype"]
    pipeline = skops.io.load("taxi.skops", trusted=["numpy.dtype"])
    model = load_model("taxi.model")
    np.testing.assert_array_equal(pipeline.predict(frame()), model.predict(frame().to_numpy()).labels)
    code, out, _ = run("import", "taxi.skops", "--out", "back.model")
    assert code == 0
    assert out.startswith(
        f"model {model.model_id}: 4 clusters, 3 columns, no training rows: drift cannot be told"
    )
    assert load_model("back.model").model_id == model.model_id
    code, _, err = run("drift", "back.model", "taxi.model")
    assert code == 2
    assert "import it with them (rust-kmeans import --table" in err


def test_a_model_goes_to_onnx(run: Run) -> None:
    assert run("export", "taxi.model", "--to", "onnx", "--out", "taxi.onnx") == (0, "onnx: taxi.onnx\n", "")
    session = onnxruntime.InferenceSession("taxi.onnx", providers=["CPUExecutionProvider"])
    labels = session.run(["label"], {"X": frame().to_numpy()})[0]
    np.testing.assert_array_equal(labels, load_model("taxi.model").predict(frame().to_numpy()).labels)


@pytest.mark.parametrize("estimator", [KMeans(4, random_state=0), SklearnKMeans(4, n_init=1, random_state=0)])
def test_an_estimator_with_its_training_rows_becomes_a_model_that_tells_drift(
    run: Run, estimator: Any
) -> None:
    table = frame(seed=1)
    table.to_csv("training.csv", index=False)
    skops.io.dump(make_pipeline(StandardScaler(), estimator).fit(table), "fitted.skops")
    code, out, _ = run("import", "fitted.skops", "--out", "new.model", "--table", "training.csv")
    assert code == 0
    assert "4 clusters, 3 columns, 1,000 rows" in out
    frame().to_csv("new.csv", index=False)
    assert run("drift", "new.model", "new.csv")[0] == 0


@pytest.mark.parametrize(("suffix", "start"), [(".svg", b"<?xml"), (".pdf", b"%PDF"), (".PNG", b"\x89PNG")])
def test_a_figure_is_of_the_kind_that_its_name_says(run: Run, suffix: str, start: bytes) -> None:
    frame().to_csv("new.csv", index=False)
    assert run("drift", "taxi.model", "new.csv", "--plot", f"r{suffix}")[0] in (0, 3)
    assert Path(f"r{suffix}").read_bytes().startswith(start)


def test_a_figure_of_another_kind_is_refused(run: Run) -> None:
    frame().to_csv("new.csv", index=False)
    code, _, err = run("drift", "taxi.model", "new.csv", "--plot", "r.jpg")
    assert code == 2
    assert "--plot is r.jpg: the name must end in .png, .svg or .pdf" in err
    assert not Path("r.jpg").exists()


class Exploit:
    """Its pickle leaves a trace when it is opened."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, ("opened",))


def test_files_that_could_run_code_are_not_opened(run: Run) -> None:
    Path("a.pkl").write_bytes(pickle.dumps(Exploit()))
    code, _, err = run("import", "a.pkl", "--out", "x")
    assert code == 2
    assert "A pickle is never opened here" in err
    skops.io.dump(make_pipeline(FunctionTransformer(os.system)), "b.skops")
    code, _, err = run("import", "b.skops", "--out", "x")
    assert code == 2
    assert "which is not known to be harmless: it is not opened" in err
    assert not Path("opened").exists()


def test_a_damaged_skops_file_is_one_line(run: Run) -> None:
    run("export", "taxi.model", "--to", "sklearn", "--out", "taxi.skops")
    content = Path("taxi.skops").read_bytes()
    random = np.random.default_rng(0)
    for _ in range(60):
        at = int(random.integers(len(content)))
        damaged = bytearray(content)
        damaged[at] ^= int(random.integers(1, 256))
        Path("damaged.skops").write_bytes(bytes(damaged))
        code, _, err = run("import", "damaged.skops", "--out", "x")
        assert code in (0, 2)
        assert err.count("\n") == (code == 2)
