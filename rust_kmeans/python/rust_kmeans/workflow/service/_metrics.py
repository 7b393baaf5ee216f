"""What the service says of itself to Prometheus."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from rust_kmeans.workflow._model import ClusterModel

CONTENT_TYPE = CONTENT_TYPE_LATEST


class Metrics:
    """Counters of one service, in a registry of its own."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._requests = Counter(
            "rust_kmeans_requests", "Requests answered.", ("route", "status"), registry=self._registry
        )
        self._seconds = Histogram(
            "rust_kmeans_request_seconds",
            "Seconds from the head of a request to the end of its answer.",
            ("route",),
            buckets=_SECONDS,
            registry=self._registry,
        )
        self.in_flight = Gauge(
            "rust_kmeans_requests_in_flight", "Requests being answered.", registry=self._registry
        )
        self._rows = Counter("rust_kmeans_rows", "Rows that were given a cluster.", registry=self._registry)
        self._cluster_rows = Counter(
            "rust_kmeans_cluster_rows",
            "Rows given to a cluster of the present model.",
            ("cluster",),
            registry=self._registry,
        )
        self._model = Gauge(
            "rust_kmeans_model_info", "The model that answers; always 1.", _OF_MODEL, registry=self._registry
        )
        self._reloads = Counter(
            "rust_kmeans_model_reloads",
            "Models loaded anew; 'failed' kept the one before.",
            ("result",),
            registry=self._registry,
        )
        self._psi = Gauge(
            "rust_kmeans_drift_psi",
            "Population stability index of recent rows against the training data.",
            ("feature",),
            registry=self._registry,
        )
        self._alarm = Gauge(
            "rust_kmeans_drift_alarm",
            "1 where recent rows are unlike the training data.",
            registry=self._registry,
        )
        self._compared = Gauge(
            "rust_kmeans_drift_rows",
            "Recent rows that were compared with the training data.",
            registry=self._registry,
        )
        self._clusters: list[Counter] = []

    def set_model(self, name: str, model: ClusterModel) -> None:
        """Start counting for a model."""
        self._model.clear()
        self._model.labels(name, model.model_id, str(model.n_clusters), str(len(model.names))).set(1)
        self._cluster_rows.clear()
        self._clusters = [self._cluster_rows.labels(str(label)) for label in range(model.n_clusters)]
        self._psi.clear()
        self._alarm.set(0)
        self._compared.set(0)

    def count_request(self, route: str, status: int, seconds: float) -> None:
        """Count a request; `route` is one of the service's own."""
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def count_rows(self, labels: NDArray[np.int32]) -> None:
        """Count rows by the clusters they were given."""
        self._rows.inc(len(labels))
        if len(labels) == 1:
            self._clusters[labels[0]].inc()
            return
        for label, count in enumerate(np.bincount(labels).tolist()):
            if count:
                self._clusters[label].inc(count)

    def count_reload(self, *, failed: bool) -> None:
        """Count a reload."""
        self._reloads.labels("failed" if failed else "done").inc()

    def set_drift(self, psi: Mapping[str, float], n_rows: int, *, alarm: bool) -> None:
        """Note how unlike the training data recent rows are, and of how many that is said."""
        for feature, value in psi.items():
            self._psi.labels(feature).set(value)
        self._alarm.set(alarm)
        self._compared.set(n_rows)

    def text(self) -> bytes:
        """Return all of it as Prometheus reads it."""
        return generate_latest(self._registry)


_SECONDS: Sequence[float] = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_OF_MODEL = ("name", "model_id", "n_clusters", "n_features")
