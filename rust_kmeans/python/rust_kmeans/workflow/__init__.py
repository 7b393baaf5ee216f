"""From a table to a served model: prepare, choose k, understand, store, serve, watch.

Every step stands alone and is also a command of `rust-kmeans`; the extra `workflow` brings what they need.
"""

from rust_kmeans.workflow._cards import Card, Trait, describe_clusters
from rust_kmeans.workflow._errors import ModelFileError, WorkflowError
from rust_kmeans.workflow._explain import Explanation, Projection, explain, write_explanation_tables
from rust_kmeans.workflow._model import ClusterModel, Prediction
from rust_kmeans.workflow._model_file import load_model, save_model
from rust_kmeans.workflow._page import write_explanation
from rust_kmeans.workflow._preparation import Preparation
from rust_kmeans.workflow._statistics import StatisticsBuilder, TrainingStatistics

__all__ = [
    "Card",
    "ClusterModel",
    "Explanation",
    "ModelFileError",
    "Prediction",
    "Preparation",
    "Projection",
    "StatisticsBuilder",
    "TrainingStatistics",
    "Trait",
    "WorkflowError",
    "describe_clusters",
    "explain",
    "load_model",
    "save_model",
    "write_explanation",
    "write_explanation_tables",
]
