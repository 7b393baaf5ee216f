"""From a table to a served model: prepare, choose k, understand, store, serve, watch.

Every step stands alone and is also a command of `rust-kmeans`; the extra `workflow` brings what they need.
"""

from rust_kmeans.workflow._convert import from_sklearn, to_onnx, to_sklearn
from rust_kmeans.workflow._drift import DriftReport, DriftWindow, drift
from rust_kmeans.workflow._errors import ModelFileError, WorkflowError
from rust_kmeans.workflow._model import ClusterModel, Prediction
from rust_kmeans.workflow._model_file import load_model, save_model
from rust_kmeans.workflow._preparation import Preparation
from rust_kmeans.workflow._statistics import StatisticsBuilder, TrainingStatistics

__all__ = [
    "ClusterModel",
    "DriftReport",
    "DriftWindow",
    "ModelFileError",
    "Prediction",
    "Preparation",
    "StatisticsBuilder",
    "TrainingStatistics",
    "WorkflowError",
    "drift",
    "from_sklearn",
    "load_model",
    "save_model",
    "to_onnx",
    "to_sklearn",
]
