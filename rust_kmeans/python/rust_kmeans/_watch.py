"""Watching a fit: what `verbose` prints, and scikit-learn's callbacks where it has them."""

# scikit-learn ships no types.
# mypy: disallow-untyped-calls=False

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

try:
    from sklearn.callback import CallbackSupportMixin, with_callbacks
except ImportError:  # scikit-learn before 1.9

    class CallbackSupportMixin:  # type: ignore[no-redef]  # in its place
        """Nothing: this scikit-learn has no callbacks."""

    def with_callbacks(method: Any) -> Any:  # noqa: ANN401  # as scikit-learn's
        """Return the method as it is: this scikit-learn has no callbacks."""
        return method


from rust_kmeans._data import Fit

__all__ = ["CallbackSupportMixin", "FitWatch", "is_watched", "with_callbacks"]

_Starts = TypeVar("_Starts")


def is_watched(model: Any) -> bool:  # noqa: ANN401  # an estimator, which imports this module
    """Return whether somebody watches fits of an estimator: they are slower and return the same."""
    return bool(model.verbose) or hasattr(model, "_skl_callbacks")


class FitWatch:
    """Prints, and calls the callbacks of an estimator, while it is fitted.

    For callbacks a fit is a task with one subtask a run, "run", and those have one subtask an iteration,
    "iteration". An `on_fit_task_end` that returns True ends the iterations of the run, or the runs.
    """

    def __init__(
        self,
        model: Any,  # noqa: ANN401  # an estimator, which imports this module
        X: object,
        y: object,
        sample_weight: ArrayLike | None,
    ) -> None:
        self._model = model
        self._called = hasattr(model, "_skl_callbacks")
        metadata = {} if sample_weight is None else {"sample_weight": sample_weight}
        self._told = {"estimator": model, "X": X, "y": y, "metadata": metadata}
        # The tasks under way, from the fit to the iteration.
        self._tasks: list[Any] = []

    def best(
        self, starts: Sequence[_Starts], fit: Callable[[_Starts], list[Fit]], dtype: np.dtype[Any]
    ) -> Fit:
        """Return the fit of least inertia, the first of equals, of those from each start on `dtype` data."""
        self._dtype = dtype
        self._begin_fit(len(starts))
        fits: list[Fit] = []
        for start in starts:
            self._begin("run", max_subtasks=self._model.max_iter)
            fits += fit(start)
            centers, labels, inertia, history, n_iter, algorithm, _ = fits[-1]
            found = {
                **_state(centers, n_iter),
                "labels_": labels,
                "inertia_": inertia,
                "inertia_history_": history,
                "algorithm_": algorithm,
            }
            if self._end(partial(dict, found)):
                break
        return min(fits, key=lambda fit: fit[2])

    def finish(self) -> None:
        """Tell callbacks that the estimator is fitted."""
        self._end(dict)

    def started(self) -> None:
        """See a run that has its starting centers."""
        if self._model.verbose:
            print("Initialization complete")  # noqa: T201  # what verbose is for
        self._begin("iteration")

    def iterated(
        self,
        number: int,
        inertia: float,
        centers: NDArray[np.float64],
        shift: float,
        tol: float,
        converged: Literal["strict", "shift"] | None,
    ) -> bool:
        """See an iteration of the run; return whether it is to be the last."""
        if self._model.verbose:
            print(f"Iteration {number}, inertia {inertia}.")  # noqa: T201  # what verbose is for
            if converged == "strict":
                print(f"Converged at iteration {number}: strict convergence.")  # noqa: T201  # what verbose is for
            elif converged == "shift":
                print(  # noqa: T201  # what verbose is for
                    f"Converged at iteration {number}: center shift {shift} within tolerance {tol}."
                )
        last = self._end(partial(_state, centers.astype(self._dtype), number + 1))
        if not (last or converged or number + 1 == self._model.max_iter):
            self._begin("iteration")
        return last

    def _begin_fit(self, n_runs: int) -> None:
        if self._called:
            self._tasks = [self._model._init_callback_context(max_subtasks=n_runs)]
            self._tasks[-1].call_on_fit_task_begin(**self._told)

    def _begin(self, name: str, max_subtasks: int = 0) -> None:
        if self._called:
            self._tasks.append(self._tasks[-1].subcontext(task_name=name, max_subtasks=max_subtasks))
            self._tasks[-1].call_on_fit_task_begin(**self._told)

    def _end(self, attributes: Callable[[], dict[str, Any]]) -> bool:
        """End the task under way; return whether a callback wants no more like it."""
        if not self._called:
            return False
        task = self._tasks.pop()
        return bool(task.call_on_fit_task_end(**self._told, reconstruction_attributes=attributes))


def _state(centers: NDArray[Any], n_iter: int) -> dict[str, Any]:
    """Return the attributes without which an estimator cannot predict."""
    return {"cluster_centers_": centers, "n_iter_": n_iter, "_n_features_out": len(centers)}
