"""Watching a fit: the history of the inertia, what verbose prints, scikit-learn's callbacks."""

from __future__ import annotations

import contextlib
import io
import re
import subprocess
import sys
import textwrap
from typing import Any

import numpy as np
import pytest
import sklearn.cluster
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from rust_kmeans import KMeans

callback = pytest.importorskip("sklearn.callback", reason="callbacks came with scikit-learn 1.9")

X: NDArray[np.float64] = np.random.default_rng(0).normal(size=(2_000, 5))
WEIGHT = np.random.default_rng(1).random(len(X))
NUMBER = re.compile(r"[0-9]+\.[0-9]+(?:e-?[0-9]+)?")


def bits(model: KMeans) -> tuple[Any, ...]:
    return (
        model.cluster_centers_.tobytes(),
        model.labels_.tobytes(),
        model.inertia_,
        model.inertia_history_.tobytes(),
        model.n_iter_,
        model.algorithm_,
    )


def printed(model: Any) -> list[str]:
    """What a fit prints, line by line."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        model.fit(X, sample_weight=WEIGHT)
    return out.getvalue().splitlines()


class Recorder:
    """A callback that notes each hook with the name and number of its task."""

    def __init__(self, stop_at: str = "", fail_at: str = "") -> None:
        self.seen: list[str] = []
        self.fitted: list[Any] = []
        self.stop_at, self.fail_at = stop_at, fail_at

    def note(self, hook: str, context: Any) -> bool:
        event = f"{hook} {context.task_name} {context.task_id}"
        self.seen.append(event)
        if event == self.fail_at:
            raise ZeroDivisionError(event)
        return event == self.stop_at

    def setup(self, estimator: Any, context: Any) -> None:
        self.note("setup", context)

    def on_fit_task_begin(self, estimator: Any, context: Any, *, X: Any, metadata: Any) -> None:
        assert X.shape[1] == 5
        self.metadata = metadata
        self.note("begin", context)

    def on_fit_task_end(self, estimator: Any, context: Any, *, fitted_estimator: Any) -> bool:
        self.fitted.append(fitted_estimator)
        return self.note("end", context)

    def teardown(self, estimator: Any, context: Any) -> None:
        self.note("teardown", context)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_history_is_what_scikit_learn_prints_for_the_same_start(dtype: str) -> None:
    data = X.astype(dtype)
    ours = KMeans(6, init=data[:6], tol=0).fit(data)
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        sklearn.cluster.KMeans(6, init=data[:6], n_init=1, tol=0, verbose=1).fit(data)
    theirs = [float(x) for x in re.findall(r"inertia ([0-9.]+)\.\n", out.getvalue())]
    assert ours.inertia_history_.dtype == np.float64
    assert ours.inertia_history_.shape == (ours.n_iter_,)
    np.testing.assert_allclose(ours.inertia_history_, theirs, rtol=1e-5 if dtype == "float32" else 1e-12)
    assert ours.inertia_history_[-1] == ours.inertia_


def test_the_history_of_a_fit_cut_short_ends_before_the_last_labels() -> None:
    model = KMeans(6, init=X[:6], max_iter=3).fit(X)
    longer = KMeans(6, init=X[:6], max_iter=4).fit(X)
    assert len(model.inertia_history_) == 3
    # The next iteration finds the labels of the same centers.
    np.testing.assert_allclose(longer.inertia_history_, [*model.inertia_history_, model.inertia_], rtol=1e-14)


def test_the_history_is_that_of_the_best_run() -> None:
    together = KMeans(6, n_init=4, random_state=0).fit(X)
    state = np.random.RandomState(0)
    apart = [KMeans(6, n_init=1, random_state=state).fit(X) for _ in range(4)]
    best = min(apart, key=lambda model: model.inertia_)
    assert together.inertia_history_.tobytes() == best.inertia_history_.tobytes()


@pytest.mark.parametrize(("tol", "max_iter"), [(0, 300), (1e-2, 300), (0, 3)])
def test_verbose_prints_the_lines_of_scikit_learn(tol: float, max_iter: int) -> None:
    shared: dict[str, Any] = {"init": X[:6], "n_init": 1, "tol": tol, "max_iter": max_iter, "verbose": 1}
    ours = printed(KMeans(6, **shared))
    theirs = printed(sklearn.cluster.KMeans(6, **shared))
    assert [NUMBER.sub("x", line) for line in ours] == [NUMBER.sub("x", line) for line in theirs]
    for our, their in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(
            [float(x) for x in NUMBER.findall(our)], [float(x) for x in NUMBER.findall(their)], rtol=1e-9
        )


@pytest.mark.parametrize("init", ["k-means++", "k-means||", "random", lambda X, k, random_state: X[:k]])
def test_who_watches_changes_no_bit(init: Any) -> None:
    arguments: dict[str, Any] = {"n_clusters": 7, "init": init, "n_init": 3, "n_threads": 2}
    alone = KMeans(**arguments, random_state=5).fit(X, sample_weight=WEIGHT)
    state = np.random.RandomState(5)
    verbose = KMeans(**arguments, random_state=state, verbose=2)
    lines = printed(verbose)
    assert bits(verbose) == bits(alone)
    assert lines.count("Initialization complete") == 3
    called = KMeans(**arguments, random_state=5).set_callbacks(Recorder()).fit(X, sample_weight=WEIGHT)
    assert bits(called) == bits(alone)
    # The seeds drawn are the same too.
    plain = np.random.RandomState(5)
    KMeans(**arguments, random_state=plain).fit(X)
    assert plain.randint(2**31) == state.randint(2**31)


def test_verbose_shows_iterations_while_the_fit_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    class Screen(io.StringIO):
        def write(self, text: str) -> int:
            if text.startswith("Iteration 1"):
                raise BrokenPipeError
            return super().write(text)

    screen = Screen()
    monkeypatch.setattr(sys, "stdout", screen)
    with pytest.raises(BrokenPipeError):
        KMeans(6, init=X[:6], verbose=1).fit(X)
    assert screen.getvalue().splitlines()[0] == "Initialization complete"
    assert "Iteration 2" not in screen.getvalue()


def test_callbacks_see_the_fit_its_runs_and_their_iterations() -> None:
    recorder = Recorder()
    model = KMeans(6, n_init=2, max_iter=4, tol=0, random_state=0).set_callbacks(recorder)
    model.fit(X, sample_weight=WEIGHT)
    run = [f"{hook} iteration {i}" for i in range(4) for hook in ("begin", "end")]
    assert recorder.seen == [
        "setup fit 0",
        "begin fit 0",
        *["begin run 0", *run, "end run 0"],
        *["begin run 1", *run, "end run 1"],
        "end fit 0",
        "teardown fit 0",
    ]
    assert recorder.metadata["sample_weight"] is WEIGHT
    # What a callback gets after an iteration is the model of a fit that ends there.
    twice = KMeans(6, n_init=1, max_iter=2, tol=0, random_state=0).fit(X, sample_weight=WEIGHT)
    second = recorder.fitted[1]
    assert second.n_iter_ == 2
    assert second.cluster_centers_.tobytes() == twice.cluster_centers_.tobytes()
    assert second.predict(X).tobytes() == twice.labels_.tobytes()
    assert recorder.fitted[-1].cluster_centers_ is model.cluster_centers_


def test_the_iterations_that_callbacks_see_end_where_the_run_converges() -> None:
    recorder = Recorder()
    model = KMeans(6, init=X[:6], tol=1e-3).set_callbacks(recorder).fit(X)
    assert recorder.seen.count(f"begin iteration {model.n_iter_ - 1}") == 1
    assert f"begin iteration {model.n_iter_}" not in recorder.seen


def test_centers_that_callbacks_get_have_the_dtype_of_the_data() -> None:
    recorder = Recorder()
    KMeans(6, init=X[:6].astype("f4"), max_iter=2).set_callbacks(recorder).fit(X.astype("f4"))
    assert {fitted.cluster_centers_.dtype for fitted in recorder.fitted} == {np.dtype("float32")}


def test_a_callback_ends_the_iterations_of_a_run_or_the_runs() -> None:
    one = KMeans(6, n_init=3, random_state=0).set_callbacks(Recorder("end iteration 1")).fit(X)
    assert bits(one) == bits(KMeans(6, n_init=3, random_state=0, max_iter=2).fit(X))
    recorder = Recorder("end run 0")
    first = KMeans(6, n_init=3, random_state=0).set_callbacks(recorder).fit(X)
    assert bits(first) == bits(KMeans(6, n_init=1, random_state=0).fit(X))
    assert "begin run 1" not in recorder.seen


@pytest.mark.parametrize("event", ["setup fit 0", "begin run 0", "end iteration 1", "end run 0", "end fit 0"])
def test_what_a_callback_raises_ends_the_fit_after_teardown(event: str) -> None:
    recorder = Recorder(fail_at=event)
    model = KMeans(6, random_state=0).set_callbacks(recorder)
    with pytest.raises(ZeroDivisionError, match=event):
        model.fit(X)
    assert recorder.seen[-2:] == [event, "teardown fit 0"]
    model.set_callbacks().fit(X)
    assert bits(model) == bits(KMeans(6, random_state=0).fit(X))


def test_a_wrong_parameter_is_refused_before_callbacks_are_set_up() -> None:
    recorder = Recorder()
    with pytest.raises(ValueError, match="max_iter"):
        KMeans(6, max_iter=0).set_callbacks(recorder).fit(X)
    assert recorder.seen == []


def test_the_warning_of_duplicates_points_at_whoever_called_a_watched_fit() -> None:
    with pytest.warns(ConvergenceWarning, match="distinct clusters") as caught:
        KMeans(3).set_callbacks(Recorder()).fit(np.repeat(X[:2], 5, axis=0))
    assert caught[0].filename == __file__


def test_scikit_learns_progress_bar_follows_iterations(capsys: pytest.CaptureFixture[str]) -> None:
    model = KMeans(6, n_init=2, random_state=0).set_callbacks(callback.ProgressBar()).fit(X)
    shown = capsys.readouterr().out
    assert "KMeans - fit" in shown
    assert "KMeans - run #1" in shown
    assert bits(model) == bits(KMeans(6, n_init=2, random_state=0).fit(X))


def test_scikit_learns_scoring_monitor_scores_each_iteration() -> None:
    monitor = callback.ScoringMonitor(scoring={"score": lambda model, X, y: model.score(X)})
    # It scores where there is a target.
    model = KMeans(6, init=X[:6], tol=0).set_callbacks(monitor).fit(X, y=X[:, 0])
    rows = [row for row in monitor.get_logs().data if row["task_name"] == "iteration"]
    scores = [row["score"] for row in rows]
    # After iteration i the score is that of the next one's labels.
    np.testing.assert_allclose(scores[:-1], -model.inertia_history_[1:], rtol=1e-12)
    assert scores[-1] == -model.inertia_


def test_callbacks_of_a_pipeline_reach_its_last_step() -> None:
    recorder = Recorder()
    recorder.max_propagation_depth = None  # type: ignore[attr-defined]  # makes it one that is propagated
    pipeline = make_pipeline(StandardScaler(), KMeans(6, max_iter=2, tol=0, random_state=0))
    pipeline.set_callbacks(recorder).fit(X)
    assert "end iteration 1" in recorder.seen
    assert recorder.seen.count("teardown fit 0") == 1
    assert not hasattr(pipeline[-1], "_skl_callbacks")


def test_a_scikit_learn_without_callbacks_fits_as_well() -> None:
    script = """
        import sys
        import numpy as np
        import sklearn.cluster
        sys.modules["sklearn.callback"] = None
        from rust_kmeans import KMeans
        X = np.arange(20.0).reshape(10, 2)
        model = KMeans(2, random_state=0, verbose=1).fit(X)
        assert not hasattr(model, "set_callbacks")
        assert model.predict(X).tolist() == model.labels_.tolist()
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("Initialization complete\nIteration 0, inertia ")
