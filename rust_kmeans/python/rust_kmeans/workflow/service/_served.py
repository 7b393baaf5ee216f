"""The model that answers, work on its rows, and its replacement while requests go on."""

from __future__ import annotations

import asyncio
import logging
import math
import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from http import HTTPStatus
from pathlib import Path
from threading import Lock
from time import monotonic
from typing import Any, Final, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from rust_kmeans.workflow._drift import DriftWindow
from rust_kmeans.workflow._errors import WorkflowError
from rust_kmeans.workflow._model import ClusterModel, Prediction
from rust_kmeans.workflow._model_file import load_model
from rust_kmeans.workflow.service._limits import Limits
from rust_kmeans.workflow.service._metrics import Metrics
from rust_kmeans.workflow.service._refusals import Refusal, unprocessable
from rust_kmeans.workflow.service._rows import Accepted

_T = TypeVar("_T")
logger = logging.getLogger("rust_kmeans.service")


#: Seconds from one computation of the drift of the last rows to the next; in between all get the same.
DRIFT_SECONDS: Final = 10.0
#: How often fresh rows of the same kind are called drift: seldom, as the same window is looked at many times.
DRIFT_LEVEL: Final = 0.001


class Served(NamedTuple):
    """A model, what rows it takes and the last it has seen: a request keeps to the one it found."""

    model: ClusterModel
    accepted: Accepted
    # None for a model that does not know its training rows.
    window: DriftWindow | None


class Service:
    """What the routes of one application share.

    Parameters
    ----------
    model : ClusterModel, str or Path
        What answers; from a file it can be loaded anew.
    name : str or None
        Of the model in addresses; None for the name of the file, or "model".
    limits : Limits
        What is taken on at most.
    """

    def __init__(self, model: ClusterModel | str | Path, name: str | None, limits: Limits) -> None:
        self.limits = limits
        self.metrics = Metrics()
        self.path = None if isinstance(model, ClusterModel) else Path(model)
        self.name = name or (self.path.stem if self.path else "model")
        self._reloading = asyncio.Lock()
        self._executor = ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="rows")
        self._drift_due = -math.inf
        self._n_jobs = 0
        self._jobs_lock = Lock()
        self._serve(model if isinstance(model, ClusterModel) else load_model(model))

    def predict(self, served: Served, values: NDArray[np.float64]) -> Prediction:
        """Return what a model says of rows; they are not counted yet."""
        try:
            # Requests share the cores.
            return served.model.predict(values, n_threads=1)
        except ValueError as error:
            raise unprocessable(str(error)) from None

    def count(self, served: Served, values: NDArray[np.float64], prediction: Prediction) -> None:
        """Note rows that were answered; those of a model that has gone do not count for the present one."""
        if served is self.served:
            self.metrics.count_rows(prediction.labels)
            if served.window is not None:
                served.window.add(values, prediction)

    async def measure_drift(self) -> None:
        """Bring the figures of drift up to date, unless they were a moment ago."""
        served = self.served
        if not served.window or monotonic() < self._drift_due:
            return
        self._drift_due = monotonic() + DRIFT_SECONDS
        try:
            report = await asyncio.to_thread(served.window.report)
        except WorkflowError:
            # All rows in the window are such as were left out of the training.
            return
        if served is self.served:
            of_features = report.table[report.table["test"] == "PSI"]
            psi = dict(zip(of_features["feature"], of_features["effect"], strict=True))
            self.metrics.set_drift(psi, report.n_samples, alarm=report.is_drift)

    async def work(self, n_bytes: int, job: Callable[[], _T]) -> _T:
        """Return what a job over a body returns, found in a thread where others would wait for it."""
        if n_bytes * self.served.model.n_clusters <= _AT_ONCE:
            return job()
        with self._jobs_lock:
            # A job that ran out of time goes on in its thread and counts until it ends.
            if self._n_jobs >= self.limits.max_concurrency:
                raise busy()
            self._n_jobs += 1
        future = self._executor.submit(job)
        future.add_done_callback(self._job_ended)
        return await asyncio.wrap_future(future)

    async def reload(self) -> ClusterModel:
        """Load the file anew and let it answer from now on; a bad one is not taken.

        Returns
        -------
        ClusterModel
            The new one.

        Raises
        ------
        WorkflowError, OSError
            If the file is no good; the model before goes on answering.
        """
        if self.path is None:
            msg = "the model did not come from a file: it cannot be loaded anew."
            raise WorkflowError(msg)
        async with self._reloading:
            try:
                model = await asyncio.to_thread(load_model, self.path)
            except (WorkflowError, OSError) as error:
                self.metrics.count_reload(failed=True)
                logger.error("kept model %s: %s", self.served.model.model_id, error)
                raise
            self._serve(model)
        self.metrics.count_reload(failed=False)
        logger.warning("now serving model %s", model.model_id)
        return model

    def close(self) -> None:
        """Start no more jobs."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _serve(self, model: ClusterModel) -> None:
        try:
            window = DriftWindow(model, level=DRIFT_LEVEL)
        except WorkflowError:
            window = None
        self.metrics.set_model(self.name, model)
        self._drift_due = -math.inf
        self.served = Served(model, Accepted.by(model, self.limits.max_rows), window)

    def _job_ended(self, _future: Future[Any]) -> None:
        with self._jobs_lock:
            self._n_jobs -= 1


def busy() -> Refusal:
    """Return the refusal of a request too many."""
    reason = "the service is busy: send the request again in a second."
    return Refusal(HTTPStatus.SERVICE_UNAVAILABLE, reason, {"Retry-After": "1"})


#: Bytes of a body times clusters of the model: what takes less than some milliseconds is done at once.
_AT_ONCE = 1 << 18
