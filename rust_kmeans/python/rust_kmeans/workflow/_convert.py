"""Models to and from other libraries: scikit-learn's estimators, and ONNX for whatever runs it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.cluster import KMeans as SklearnKMeans
from sklearn.cluster import MiniBatchKMeans as SklearnMiniBatchKMeans
from sklearn.exceptions import NotFittedError
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, RobustScaler, StandardScaler
from sklearn.utils.validation import check_is_fitted

from rust_kmeans._kmeans import KMeans
from rust_kmeans._minibatch import MiniBatchKMeans
from rust_kmeans.workflow._errors import WorkflowError
from rust_kmeans.workflow._learning import kept
from rust_kmeans.workflow._model import ClusterModel
from rust_kmeans.workflow._preparation import MissingName, Preparation, ScaleName
from rust_kmeans.workflow._sources import rows_of
from rust_kmeans.workflow._statistics import STEPS, StatisticsBuilder, TrainingStatistics

if TYPE_CHECKING:
    from rust_kmeans._data import Floats

#: Centers so many times as far from zero as from each other are moved there: differences of their squares
#: would lose six digits and more.
_FAR_FROM_ZERO = 1e3
#: Estimators whose prediction is the nearest center.
_ESTIMATORS = (SklearnKMeans, SklearnMiniBatchKMeans, KMeans, MiniBatchKMeans)
_Vector = NDArray[np.float64]


def to_sklearn(model: ClusterModel) -> Pipeline:
    """Return a model as estimators of scikit-learn alone, which predict the same labels.

    Parameters
    ----------
    model : ClusterModel
        The model.

    Returns
    -------
    sklearn.pipeline.Pipeline
        The steps "imputer" (if missing values are filled), "scaler" (if values are scaled) and "kmeans"; it
        takes data frames with the columns of the model. It computes in float64: where the features of the
        model are float32, a row nearer to a tie than their rounding may get the other label. The limits of
        outliers, which decide what a fit leaves out and no label, are not in it. Where centers lie together
        far from zero, the scaler also subtracts their middle, for scikit-learn finds distances as differences
        of squares, of which nothing would be left.

    Raises
    ------
    WorkflowError
        If missing values are filled in some columns and refused in others, which no imputer does.

    See Also
    --------
    from_sklearn : The way back.
    """
    of = model.preparation
    names = list(of.names)
    row = np.where(np.isnan(of.fill), 0.0, of.fill)[np.newaxis]
    steps: list[tuple[str, Any]] = []
    fills = ~np.isnan(of.fill)
    if fills.any():
        if not fills.all():
            missing = ", ".join(f"'{name}'" for name, fill in zip(names, fills, strict=True) if not fill)
            msg = f"missing values are refused in {missing} and filled elsewhere: no imputer does both."
            raise WorkflowError(msg)
        strategy = "mean" if of.missing == "mean" else "median"
        # Of one row, mean and median are the row.
        steps.append(("imputer", SimpleImputer(strategy=strategy).fit(row)))
    middle = _middle(model.centers)
    if np.abs(middle).max() <= _FAR_FROM_ZERO * np.abs(model.centers - middle).max():
        middle = np.zeros_like(middle)
    offset = of.offset + middle * of.divisor
    if of.scale != "none" or (offset != 0).any() or (of.divisor != 1).any():
        steps.append(("scaler", _scaler(of, offset, row)))
    steps.append(("kmeans", _kmeans(model, middle)))
    # Later steps get arrays, without names.
    steps[0][1].feature_names_in_ = np.array(names, dtype=object)
    return Pipeline(steps)


def from_sklearn(
    estimator: Any,  # noqa: ANN401  # scikit-learn ships no types
    X: Any = None,  # noqa: ANN401  # whatever tables users have
    *,
    names: Sequence[str] | None = None,
) -> ClusterModel:
    """Return a fitted estimator, with what prepares its data, as a model.

    Parameters
    ----------
    estimator : KMeans, MiniBatchKMeans or Pipeline
        Of scikit-learn or of rust_kmeans, fitted. A pipeline may have, in this order, a `SimpleImputer` and
        a scaler (`StandardScaler`, `MinMaxScaler`, `RobustScaler` or `MaxAbsScaler`) before, or a
        `TablePreparer`.
    X : data frame, array of shape (n_samples, n_features), path or iterator of tables, default=None
        The rows it was fitted to, before any preparation, for the statistics that drift is told from. None
        for a model that knows the sizes of its clusters at most.
    names : sequence of str, default=None
        The columns. None for the names that the estimator was fitted with, or "x0", "x1", ...

    Returns
    -------
    ClusterModel
        It predicts the same labels but for rounding: features are computed in float64.

    Raises
    ------
    WorkflowError
        For an estimator that is not fitted, predicts in another way or has a step that a model does not know.
    """
    steps = [step for _, step in estimator.steps] if isinstance(estimator, Pipeline) else [estimator]
    *before, kmeans = [step for step in steps if step is not None and step != "passthrough"] or [None]
    if type(kmeans) not in _ESTIMATORS:
        what = "SphericalKMeans predicts by angle" if "Spherical" in type(kmeans).__name__ else _name(kmeans)
        msg = f"{what}: only KMeans and MiniBatchKMeans, alone or as the last step, become a model."
        raise WorkflowError(msg)
    for step in (*before, kmeans):
        try:
            check_is_fitted(step)
        except (NotFittedError, TypeError) as error:
            msg = f"{_name(step)} is not fitted or no estimator: fit it first."
            raise WorkflowError(msg) from error
    preparation = _preparation(before, kmeans, names)
    centers: Floats = np.ascontiguousarray(kmeans.cluster_centers_, dtype=preparation.dtype)
    parameters: dict[str, Any] = {
        "imported_from": ", ".join(
            f"{type(step).__module__.split('.')[0]}.{_name(step)}" for step in (*before, kmeans)
        ),
        "n_clusters": len(centers),
    }
    for name in ("init", "max_iter", "tol", "random_state"):
        value = getattr(kmeans, name, None)
        if isinstance(value, str | int | float):
            parameters[name] = value
    for name in ("n_iter", "inertia"):
        if hasattr(kmeans, f"{name}_"):
            parameters[name] = getattr(kmeans, f"{name}_")
    if X is None:
        statistics = _unknown(preparation, centers, getattr(kmeans, "labels_", None))
    else:
        builder = StatisticsBuilder(preparation, centers)
        n_left_out = 0
        for values in rows_of(X, preparation.names):
            inside = kept(preparation, values)
            builder.add(values[inside])
            n_left_out += int(len(values) - inside.sum())
        statistics = builder.finish(n_left_out)
    return ClusterModel(centers, preparation, statistics, parameters)


def to_onnx(model: ClusterModel) -> bytes:
    """Return a model as an ONNX graph: from rows in their own units to labels and distances.

    Needs the extra ``onnx``.

    Parameters
    ----------
    model : ClusterModel
        The model.

    Returns
    -------
    bytes
        The graph, serialised. Its input "X" has shape (n_samples, n_features) and type double, NaN for
        missing; its outputs are "label" (int64) and "scores", the distances to all centers (double). Features
        are filled, scaled and rounded as in the model; distances are roots of differences of squares in
        float64, taken about the middle of the centers: a distance below 1e-8 of that between the centers
        counts for nothing.

    Raises
    ------
    WorkflowError
        If the extra is not installed.
    """
    try:
        from skl2onnx import convert_sklearn
        from skl2onnx.common.data_types import DoubleTensorType
    except ModuleNotFoundError as error:
        msg = f"no module '{error.name}', which ONNX needs: pip install 'rust-kmeans[onnx]'."
        raise WorkflowError(msg) from error
    pipeline = Pipeline([("features", _Features(model.preparation)), ("kmeans", _Nearest(model.centers))])
    graph = convert_sklearn(
        pipeline,
        name="kmeans",
        initial_types=[("X", DoubleTensorType([None, model.preparation.n_features]))],
        custom_conversion_functions={_Features: _convert_features, _Nearest: _convert_nearest},
        custom_shape_calculators={_Features: _shape_of_features, _Nearest: _shape_of_nearest},
        custom_parsers={_Nearest: _parse_nearest},
    )
    graph.doc_string = f"rust_kmeans model {model.model_id}, columns: {', '.join(model.names)}"
    content: bytes = graph.SerializeToString()
    return content


def _name(step: object) -> str:
    return type(step).__name__


def _middle(centers: Floats) -> _Vector:
    """Return what lies amid the centers."""
    middle: _Vector = centers.mean(axis=0, dtype=np.float64)
    return middle


def _scaler(of: Preparation, offset: _Vector, row: _Vector) -> StandardScaler | RobustScaler:
    """Return the scaler that subtracts the offset and divides by the divisor, in this order as we do."""
    if of.scale == "standard":
        scaler = StandardScaler().fit(row)
        scaler.mean_, scaler.scale_, scaler.var_ = offset.copy(), of.divisor.copy(), of.divisor**2
        return scaler
    scaler = RobustScaler().fit(row)
    scaler.center_, scaler.scale_ = offset.copy(), of.divisor.copy()
    return scaler


def _kmeans(model: ClusterModel, middle: _Vector) -> SklearnKMeans:
    """Return scikit-learn's estimator with our centers less their middle, in float64."""
    k, d = model.centers.shape
    # Fitted to rows that are apart, for all that a fitted one has; then ours takes their place.
    apart = np.tile(np.arange(k, dtype=np.float64)[:, np.newaxis], (1, d))
    kmeans = SklearnKMeans(k, init=apart, n_init=1, max_iter=1).fit(apart)
    kmeans.cluster_centers_ = np.ascontiguousarray(model.centers - middle, dtype=np.float64)
    kmeans.set_params(init="k-means++", max_iter=300)
    kmeans.inertia_ = model.parameters.get("inertia", np.nan)
    kmeans.n_iter_ = model.parameters.get("n_iter", 0)
    # Those of rows that are nobody's.
    del kmeans.labels_
    return kmeans


def _preparation(before: list[Any], kmeans: Any, names: Sequence[str] | None) -> Preparation:  # noqa: ANN401  # skl2onnx and scikit-learn ship no types
    """Return what the steps before the last do."""
    learned = [getattr(step, "preparation_", None) for step in before]
    if len(learned) == 1 and isinstance(learned[0], Preparation):
        return learned[0]
    n_features = kmeans.cluster_centers_.shape[1]
    fill: _Vector = np.full(n_features, np.nan)
    offset, divisor = np.zeros(n_features), np.ones(n_features)
    missing: MissingName = "error"
    scale: ScaleName = "none"
    rest = list(before)
    if rest and type(rest[0]) is SimpleImputer:
        imputer = rest.pop(0)
        fill = _fill(imputer, n_features)
        missing = "mean" if imputer.strategy == "mean" else "median"
    if rest and type(rest[0]) in _SCALERS:
        scaler = rest.pop(0)
        scale = _SCALERS[type(scaler)]
        offset, divisor = _scaling(scaler, n_features)
    if rest:
        msg = (
            f"the step {_name(rest[0])} does not become part of a model: it knows one SimpleImputer, then "
            f"one of {', '.join(kind.__name__ for kind in _SCALERS)}."
        )
        raise WorkflowError(msg)
    first = before[0] if before else kmeans
    found = getattr(first, "feature_names_in_", [f"x{j}" for j in range(n_features)])
    chosen = tuple(str(name) for name in (found if names is None else names))
    if len(chosen) != n_features or len(set(chosen)) < n_features:
        msg = f"names are {len(chosen)}, not all different or not one for each of {n_features} features."
        raise WorkflowError(msg)
    dtype: Literal["float32", "float64"] = (
        "float32" if kmeans.cluster_centers_.dtype == np.float32 else "float64"
    )
    return Preparation(
        names=chosen,
        fill=fill,
        lower=np.full(n_features, -np.inf),
        upper=np.full(n_features, np.inf),
        offset=offset,
        divisor=divisor,
        dtype=dtype,
        scale=scale,
        missing=missing,
    )


_SCALERS: dict[type, ScaleName] = {
    StandardScaler: "standard",
    MinMaxScaler: "minmax",
    RobustScaler: "robust",
    MaxAbsScaler: "minmax",
}


def _fill(imputer: SimpleImputer, n_features: int) -> _Vector:
    is_nan = isinstance(imputer.missing_values, float) and np.isnan(imputer.missing_values)
    if imputer.add_indicator or not is_nan:
        msg = "a SimpleImputer with add_indicator, or of missing values other than NaN, does not fit a model."
        raise WorkflowError(msg)
    try:
        fill = np.array(imputer.statistics_, dtype=np.float64)
    except (TypeError, ValueError) as error:
        msg = "a SimpleImputer that fills in text does not fit a model."
        raise WorkflowError(msg) from error
    if fill.shape != (n_features,) or not np.isfinite(fill).all():
        msg = "a SimpleImputer that leaves out columns without values does not fit a model: drop them before."
        raise WorkflowError(msg)
    return fill


def _scaling(scaler: Any, n_features: int) -> tuple[_Vector, _Vector]:  # noqa: ANN401  # scikit-learn ships no types
    """Return what a scaler subtracts and then divides by."""
    if getattr(scaler, "clip", False):
        msg = f"a {_name(scaler)} that clips does not fit a model."
        raise WorkflowError(msg)
    offset: Any = None
    divisor: Any = getattr(scaler, "scale_", None)
    if isinstance(scaler, MinMaxScaler):
        offset, divisor = -scaler.min_ / scaler.scale_, 1 / scaler.scale_
    elif isinstance(scaler, StandardScaler):
        offset = scaler.mean_ if scaler.with_mean else None
    elif isinstance(scaler, RobustScaler):
        offset = scaler.center_
    offset = np.zeros(n_features) if offset is None else np.array(offset, dtype=np.float64)
    divisor = np.ones(n_features) if divisor is None else np.array(divisor, dtype=np.float64)
    return offset, divisor


def _unknown(
    preparation: Preparation, centers: Floats, labels: NDArray[np.int32] | None
) -> TrainingStatistics:
    """Return the statistics of rows that are not at hand: the sizes of clusters, if those are known."""
    n_clusters, n_features = centers.shape
    counts = np.zeros(n_clusters, dtype=np.int64)
    if labels is not None and len(labels):
        counts = np.bincount(labels, minlength=n_clusters).astype(np.int64)
    unknown = np.full(STEPS + 1, np.nan)
    return TrainingStatistics(
        n_samples=int(counts.sum()),
        n_left_out=0,
        probabilities=np.arange(STEPS + 1) / STEPS,
        quantiles=np.tile(unknown, (n_features, 1)),
        missing=np.zeros(n_features),
        counts=counts,
        means=preparation.originals(centers),
        deviations=np.full((n_clusters, n_features), np.nan),
        distances=unknown,
        margins=unknown,
        n_sampled=0,
    )


class _Features(TransformerMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn ships no types
    """What `Preparation.features` does, as a step that can be converted."""

    def __init__(self, preparation: Preparation) -> None:
        self.preparation = preparation


class _Nearest(BaseEstimator):  # type: ignore[misc]  # scikit-learn ships no types
    """Labels and distances, as a step that can be converted."""

    def __init__(self, centers: Floats) -> None:
        self.centers = centers


def _shape_of_features(operator: Any) -> None:  # noqa: ANN401  # skl2onnx ships no types
    from skl2onnx.common.data_types import DoubleTensorType

    operator.outputs[0].type = DoubleTensorType([None, operator.raw_operator.preparation.n_features])


def _parse_nearest(scope: Any, step: _Nearest, inputs: list[Any], **_options: Any) -> Any:  # noqa: ANN401  # skl2onnx and scikit-learn ship no types
    """Tell skl2onnx what comes out of the step."""
    from skl2onnx.common.data_types import DoubleTensorType, Int64TensorType

    operator = scope.declare_local_operator("RustKmeansNearest", step)
    operator.inputs = inputs
    operator.outputs.append(scope.declare_local_variable("label", Int64TensorType([None])))
    operator.outputs.append(
        scope.declare_local_variable("scores", DoubleTensorType([None, len(step.centers)]))
    )
    return operator.outputs


def _shape_of_nearest(operator: Any) -> None:  # noqa: ANN401  # skl2onnx and scikit-learn ship no types
    """Leave the shapes as they were declared."""


class _Graph:
    """Writes nodes of a graph."""

    def __init__(self, scope: Any, container: Any) -> None:  # noqa: ANN401  # skl2onnx and scikit-learn ship no types
        self._scope, self._container = scope, container

    def node(self, kind: str, *inputs: str, output: str | None = None, **attributes: Any) -> str:  # noqa: ANN401  # skl2onnx and scikit-learn ship no types
        """Add a node; return the name of what it gives."""
        output = output or str(self._scope.get_unique_variable_name(kind.lower()))
        name = self._scope.get_unique_operator_name(kind)
        self._container.add_node(kind, list(inputs), output, name=name, **attributes)
        return output

    def constant(self, name: str, array: NDArray[Any]) -> str:
        """Add numbers; return their name."""
        from onnx import TensorProto

        variable: str = self._scope.get_unique_variable_name(name)
        kind = TensorProto.DOUBLE if array.dtype == np.float64 else TensorProto.INT64
        self._container.add_initializer(variable, kind, list(array.shape), array.ravel().tolist())
        return variable


def _convert_features(scope: Any, operator: Any, container: Any) -> None:  # noqa: ANN401  # skl2onnx and scikit-learn ship no types
    """Write the nodes that fill, scale and round rows; a model that refuses missing values lets NaN pass."""
    from onnx import TensorProto

    of: Preparation = operator.raw_operator.preparation
    value: str = operator.inputs[0].full_name
    graph = _Graph(scope, container)
    if not np.isnan(of.fill).all():
        missing = graph.node("IsNaN", value, op_version=13)
        value = graph.node("Where", missing, graph.constant("fill", of.fill[None]), value, op_version=9)
    value = graph.node("Sub", value, graph.constant("offset", of.offset[None]), op_version=14)
    value = graph.node("Div", value, graph.constant("divisor", of.divisor[None]), op_version=14)
    if of.dtype == "float32":
        value = graph.node("Cast", value, to=TensorProto.FLOAT, op_version=13)
        value = graph.node("Cast", value, to=TensorProto.DOUBLE, op_version=13)
    graph.node("Identity", value, output=operator.outputs[0].full_name, op_version=14)


def _convert_nearest(scope: Any, operator: Any, container: Any) -> None:  # noqa: ANN401  # skl2onnx and scikit-learn ship no types
    """Write the nodes that find distances to all centers and the least of them.

    A square that rounding has made negative is none; what is missing stays NaN, which a maximum would lose.
    """
    centers: Floats = operator.raw_operator.centers
    middle = _middle(centers)
    moved = centers.astype(np.float64) - middle
    graph = _Graph(scope, container)
    rows = graph.node(
        "Sub", operator.inputs[0].full_name, graph.constant("middle", middle[None]), op_version=14
    )
    products = graph.node("MatMul", rows, graph.constant("centers", -2.0 * moved.T), op_version=13)
    of_centers = graph.constant("squares", np.square(moved).sum(axis=1)[None])
    squares = graph.node("Add", products, of_centers, op_version=14)
    axis = graph.constant("axis", np.array([1]))
    of_rows = graph.node("ReduceSumSquare", rows, axis, keepdims=1, op_version=18)
    squares = graph.node("Add", squares, of_rows, op_version=14)
    zero = graph.constant("zero", np.zeros(1))
    negative = graph.node("Less", squares, zero, op_version=13)
    squares = graph.node("Where", negative, zero, squares, op_version=9)
    label, scores = (output.full_name for output in operator.outputs)
    graph.node("ArgMin", squares, output=label, axis=1, keepdims=0, op_version=13)
    graph.node("Sqrt", squares, output=scores, op_version=13)
