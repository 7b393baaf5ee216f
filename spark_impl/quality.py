"""How good a clustering is, as Spark itself judges it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from spark_impl.tables import FEATURES

if TYPE_CHECKING:
    from pyspark.sql import DataFrame

#: Column that MLlib's models write labels to.
PREDICTION = "prediction"


def silhouette(labelled: DataFrame) -> float:
    """Return the mean silhouette coefficient of a clustering, by MLlib's ``ClusteringEvaluator``.

    Parameters
    ----------
    labelled : pyspark.sql.DataFrame
        The columns `FEATURES` and `PREDICTION`, as a model's ``transform`` returns them; two clusters at
        least.

    Returns
    -------
    float
        From -1 to 1, of squared Euclidean distances, which let it be had in one pass:
        ``sklearn.metrics.silhouette_score(X, labels, metric="sqeuclidean")``.
    """
    from pyspark.ml.evaluation import ClusteringEvaluator

    evaluator = ClusteringEvaluator(
        featuresCol=FEATURES,
        predictionCol=PREDICTION,
        metricName="silhouette",
        distanceMeasure="squaredEuclidean",
    )
    return float(evaluator.evaluate(labelled))
