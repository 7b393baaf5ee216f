"""Spark MLlib's k-means on this machine, for the bench."""

from __future__ import annotations

import importlib.metadata
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from harness.contract import FitResult, FitSpec, FloatArray, LabelArray, Settings
from harness.datasets import Dataset
from spark_impl import session, tables
from spark_impl.quality import PREDICTION

if TYPE_CHECKING:
    from py4j.java_gateway import JavaObject
    from pyspark.sql import DataFrame, SparkSession

#: Iterations of the fit that is thrown away: enough for the JVM to compile the loops over all samples.
THROW_AWAY_ITERATIONS = 3


@dataclass
class SparkState:
    """A session with the samples in its cache.

    Parameters
    ----------
    session : Session
        The running session.
    frame : pyspark.sql.DataFrame
        The samples as a column of vectors, and their numbers; cached on the default track.
    vectors : JavaObject or None
        The cached ``RDD[Vector]`` of the matched track.
    """

    session: session.Session
    frame: DataFrame
    vectors: JavaObject | None


@dataclass(frozen=True)
class SparkFit:
    """What a fit ended with.

    Parameters
    ----------
    centers : ndarray of shape (n_clusters, n_features)
        Final centers, brought here from the JVM.
    model : pyspark.ml.clustering.KMeansModel
        The model as Python can use it, on either track.
    estimator, trained : object
        What was fitted and what it returned: of ``pyspark.ml`` on the default track, of the JVM's older
        interface on the matched one.
    """

    centers: FloatArray
    model: Any
    estimator: Any
    trained: Any


class SparkKMeans:
    """MLlib's Lloyd iteration, in float64 whatever the type of the samples.

    From given centers only the older, RDD-based interface starts (``org.apache.spark.mllib``), with
    ``setInitialModel``. It is called on an ``RDD[Vector]`` cached in the JVM: from Python, ``KMeans.train``
    would first send every sample through a Python process, within the fit. It stops when no center moves by
    more than ``epsilon``; 0 asks that none moves at all, which is when no label changes. On the default track
    the data-frame interface (``pyspark.ml``) seeds by k-means|| and stops after 20 iterations at the latest.

    An empty cluster keeps its center, where scikit-learn moves it to the farthest sample; and k-means|| may
    return fewer centers than were asked for if the samples have few distinct values.
    """

    def available(self) -> str | None:
        """Return None, or what is missing: PySpark or Java."""
        return session.refusal()

    def version(self) -> str:
        """Return Spark's version."""
        return importlib.metadata.version("pyspark")

    def prepare(self, dataset: Dataset, spec: FitSpec) -> SparkState:
        """Start the JVM, let Spark load the samples and keep them, and throw away a first short fit."""
        running = session.start(spec.n_threads)
        try:
            path = running.folder / "samples.parquet"
            tables.write(dataset, path, spec.n_threads)
            frame = tables.read(running.spark, path, keep=[tables.ROW])
            if spec.init is None:
                state = SparkState(running, frame.cache(), None)
                frame.count()
            else:
                state = SparkState(running, frame, _vectors(running.spark, frame))
            iterations = THROW_AWAY_ITERATIONS if spec.max_iter is None else spec.max_iter
            self.fit(state, replace(spec, max_iter=min(iterations, THROW_AWAY_ITERATIONS)))
        except BaseException:
            session.stop(running)
            raise
        return state

    def fit(self, state: SparkState, spec: FitSpec) -> SparkFit:
        """Cluster the cached samples; what `spec` leaves open stays at Spark's defaults."""
        if spec.init is None:
            return _fit_frame(state, spec)
        return _fit_vectors(state, spec, spec.init)

    def result(self, fitted: SparkFit, spec: FitSpec) -> FitResult:
        """Ask the estimator what it used and the model how it went."""
        estimator, trained = fitted.estimator, fitted.trained
        if spec.init is None:
            return FitResult(
                centers=fitted.centers,
                n_iter=trained.summary.numIter,
                reported_inertia=trained.summary.trainingCost,
                settings=Settings(
                    init=estimator.getInitMode(),
                    n_init=1,
                    max_iter=estimator.getMaxIter(),
                    tol=estimator.getTol(),
                ),
                algorithm=estimator.getSolver(),
            )
        return FitResult(
            centers=fitted.centers,
            n_iter=trained.numIter(),
            reported_inertia=trained.trainingCost(),
            settings=Settings(
                init="given", n_init=1, max_iter=estimator.getMaxIterations(), tol=estimator.getEpsilon()
            ),
        )

    def predict(self, state: SparkState, fitted: SparkFit) -> LabelArray:
        """Assign the samples to the final centers and bring the labels here, in the order of the samples."""
        labelled = fitted.model.transform(state.frame).select(tables.ROW, PREDICTION).toArrow()
        labels = np.empty(labelled.num_rows, dtype=np.int32)
        labels[labelled[tables.ROW].to_numpy()] = labelled[PREDICTION].to_numpy()
        return labels

    def close(self, state: SparkState) -> None:
        """End the JVM, so that the next start-up is a whole one."""
        session.stop(state.session)


def spark() -> SparkKMeans:
    """Return the registry's ``spark``."""
    return SparkKMeans()


def _fit_frame(state: SparkState, spec: FitSpec) -> SparkFit:
    """Fit by the data-frame interface, from its own seeding."""
    from pyspark.ml.clustering import KMeans

    given = {"maxIter": spec.max_iter, "tol": spec.tol}
    estimator = KMeans(
        k=spec.n_clusters,
        seed=spec.seed,
        **{name: value for name, value in given.items() if value is not None},
    )
    model = estimator.fit(state.frame)
    return SparkFit(np.array(model.clusterCenters()), model, estimator, model)


def _fit_vectors(state: SparkState, spec: FitSpec, init: FloatArray) -> SparkFit:
    """Fit by the RDD interface, from given centers."""
    from pyspark.ml.clustering import KMeansModel

    jvm = state.session.spark._jvm
    mllib = jvm.org.apache.spark.mllib
    starts = jvm.java.util.ArrayList()
    for center in init.tolist():
        starts.add(mllib.linalg.Vectors.dense(_doubles(state.session.spark, center)))
    algorithm = (
        mllib.clustering.KMeans()
        .setK(spec.n_clusters)
        .setInitialModel(mllib.clustering.KMeansModel(starts))
        .setSeed(spec.seed)
    )
    if spec.max_iter is not None:
        algorithm = algorithm.setMaxIterations(spec.max_iter)
    if spec.tol is not None:
        algorithm = algorithm.setEpsilon(spec.tol)
    trained = algorithm.run(state.vectors)
    # The model of the data-frame interface around it is one that Python can use.
    model = KMeansModel(jvm.org.apache.spark.ml.clustering.KMeansModel("kmeans", trained))
    centers = np.array([list(center.toArray()) for center in trained.clusterCenters()])
    return SparkFit(centers, model, algorithm, trained)


def _vectors(spark: SparkSession, frame: DataFrame) -> JavaObject:
    """Return the samples as a cached ``RDD[Vector]`` of the JVM, without Python in between."""
    from pyspark.mllib.util import MLUtils

    jvm = spark._jvm
    converted = MLUtils.convertVectorColumnsFromML(frame.select(tables.FEATURES), tables.FEATURES)
    encoder = jvm.org.apache.spark.sql.Encoders.udt(jvm.org.apache.spark.mllib.linalg.VectorUDT())
    # "as" is a word of Python's.
    vectors = getattr(converted._jdf, "as")(encoder).rdd()
    vectors.persist(jvm.org.apache.spark.storage.StorageLevel.MEMORY_AND_DISK())
    vectors.count()
    return vectors


def _doubles(spark: SparkSession, values: list[float]) -> JavaObject:
    """Return an array of Java's: a Python list would arrive as one of objects."""
    gateway = spark.sparkContext._gateway
    array = gateway.new_array(gateway.jvm.double, len(values))
    for i, value in enumerate(values):
        array[i] = value
    return array
