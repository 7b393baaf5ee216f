"""A model as a service: FastAPI, the Open Inference Protocol, Prometheus, and a page for people."""

from rust_kmeans.workflow.service._app import create_app
from rust_kmeans.workflow.service._limits import Limits

__all__ = ["Limits", "create_app"]
