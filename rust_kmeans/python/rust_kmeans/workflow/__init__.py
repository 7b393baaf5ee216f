"""From a table to a served model: prepare, choose k, understand, store, serve, watch.

Every step stands alone and is also a command of `rust-kmeans`; the extra `workflow` brings what they need.
"""

from rust_kmeans.workflow._choose_k import ChoiceOfK, choose_k
from rust_kmeans.workflow._convert import from_sklearn, to_onnx, to_sklearn
from rust_kmeans.workflow._drift import DriftReport, DriftWindow, drift
from rust_kmeans.workflow._errors import ModelFileError, WorkflowError
from rust_kmeans.workflow._fit import FittedTable, fit_table
from rust_kmeans.workflow._learning import Decision
from rust_kmeans.workflow._model import ClusterModel, Prediction
from rust_kmeans.workflow._model_file import load_model, save_model
from rust_kmeans.workflow._preparation import Preparation
from rust_kmeans.workflow._prepare import TablePreparer
from rust_kmeans.workflow._quality import Agreement, Quality, Silhouette, majority_labels, quality
from rust_kmeans.workflow._statistics import StatisticsBuilder, TrainingStatistics
from rust_kmeans.workflow._tables import iter_table, read_table
from rust_kmeans.workflow._update import update_model

__all__ = [
    "Agreement",
    "ChoiceOfK",
    "ClusterModel",
    "Decision",
    "DriftReport",
    "DriftWindow",
    "FittedTable",
    "ModelFileError",
    "Prediction",
    "Preparation",
    "Quality",
    "Silhouette",
    "StatisticsBuilder",
    "TablePreparer",
    "TrainingStatistics",
    "WorkflowError",
    "choose_k",
    "drift",
    "fit_table",
    "from_sklearn",
    "iter_table",
    "load_model",
    "majority_labels",
    "quality",
    "read_table",
    "save_model",
    "to_onnx",
    "to_sklearn",
    "update_model",
]
