"""From a table to a served model: prepare, choose k, understand, store, serve, watch.

Every step stands alone and is also a command of `rust-kmeans`; the extra `workflow` brings what they need.
"""

from rust_kmeans.workflow._errors import ModelFileError, WorkflowError
from rust_kmeans.workflow._model import ClusterModel, Prediction
from rust_kmeans.workflow._model_file import load_model, save_model
from rust_kmeans.workflow._preparation import Preparation
from rust_kmeans.workflow._statistics import StatisticsBuilder, TrainingStatistics

__all__ = [
    "ClusterModel",
    "ModelFileError",
    "Prediction",
    "Preparation",
    "StatisticsBuilder",
    "TrainingStatistics",
    "WorkflowError",
    "load_model",
    "save_model",
]
