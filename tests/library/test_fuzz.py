"""Whatever is thrown at `rust_kmeans._core`, the answer is a valid result or a plain error, never a panic.

In the suite the examples are always the same; ``make fuzz`` draws many others, new ones each time.
"""

from __future__ import annotations

import importlib
import operator
import os
import pickle
import warnings
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

#: Called against its types on purpose.
_core: Any = importlib.import_module("rust_kmeans._core")

#: Examples of each test; set by ``make fuzz``.
ASKED = os.environ.get("FUZZ_EXAMPLES")
fuzz = settings(
    max_examples=int(ASKED or 100),
    derandomize=ASKED is None,
    deadline=None,
    # Hostile arguments take long to draw, and an array is large by nature: neither is the matter here.
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)

PLAIN_ERRORS = (ValueError, TypeError, OverflowError, MemoryError)
#: Positional arguments and keywords of each function.
SIGNATURES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "lloyd": (("X", "centers"), ("sample_weight", "max_iter", "tol", "algorithm", "n_threads")),
    "fit": (
        ("X", "starts"),
        ("sample_weight", "max_iter", "tol", "algorithm", "spherical", "n_threads"),
    ),
    "assign_block": (("X", "centers"), ("sample_weight", "scale", "check", "n_threads")),
    "block_scale": (("X", "sample_weight"), ("n_threads",)),
    "mean_variance": (("X",), ("n_threads",)),
    "predict": (("X", "centers"), ("n_threads",)),
    "inertia": (("X", "centers", "labels"), ("sample_weight", "n_threads")),
    "kmeans_plusplus": (
        ("X", "n_clusters"),
        ("sample_weight", "seed", "n_local_trials", "n_threads"),
    ),
    "random_rows": (("X", "n_clusters"), ("sample_weight", "seed")),
    "minibatch_fit": (
        ("X", "centers", "sampler"),
        (
            "sample_weight",
            "seed",
            "batch_size",
            "tol",
            "max_no_improvement",
            "reassignment_ratio",
            "compute_labels",
            "watch",
            "n_threads",
        ),
    ),
    "minibatch_step": (
        ("X", "centers", "counts", "n_since_reassignment"),
        ("sample_weight", "seed", "reassignment_ratio", "n_threads"),
    ),
    "farthest_rows": (("X", "centers", "labels", "count"), ("n_threads",)),
    "next_centers": (("partial", "centers", "X", "labels"), ("sample_weight",)),
}
#: Arguments that stay as they are: as many steps are made as asked for.
FIXED: dict[str, dict[str, Any]] = {"minibatch_fit": {"n_steps": 5}}
NUMBERS = (
    *(
        0,
        1,
        -1,
        2,
        7,
        64,
        1025,
        10**6,
        2**31,
        2**32,
        2**53,
        2**63 - 1,
        2**63,
        2**64 - 1,
        2**64,
        -(2**63),
        10**30,
    ),
    *(0.0, -0.0, 0.5, 1e-320, 1e150, 1e308, -1e308, float("inf"), float("-inf"), float("nan")),
)
DTYPES = (
    *("f4", "f8", ">f4", ">f8", "f2", "g", "c8", "c16", "i1", "i4", "i8", "u8", "?", "O", "S3", "U2", "V5"),
    *("M8[s]", "m8[ns]", "f8,f4"),
)


class Hostile:
    """An object that raises, or lies, when it is asked to be an array or a number."""

    def __array__(self, *_: object, **__: object) -> np.ndarray:
        raise ValueError("not an array")

    def __float__(self) -> float:
        raise TypeError("not a number")

    def __index__(self) -> int:
        raise TypeError("not an index")

    def __len__(self) -> int:
        return 2**60

    def __getitem__(self, index: object) -> object:
        raise IndexError(index)


class Subclass(np.ndarray):
    """An array in all but type."""


def in_record(array: np.ndarray) -> Any:
    """Return the same numbers as a field of packed records: strides that are no multiple of an element."""
    records = np.zeros(array.shape, dtype=np.dtype([("gap", "i1"), ("x", array.dtype)]))
    records["x"] = array
    return records["x"]


def unaligned(array: np.ndarray) -> np.ndarray:
    """Return the same numbers at an odd address."""
    buffer = np.zeros(array.nbytes + 1, dtype=np.uint8)
    moved = buffer[1:].view(array.dtype).reshape(array.shape)
    moved[...] = array
    return moved


def every_second(array: np.ndarray) -> np.ndarray:
    """Return the same numbers, with as many others between the rows."""
    return np.repeat(array, 2, axis=0)[::2]


def read_only(array: np.ndarray) -> np.ndarray:
    """Return the same numbers, not to be written."""
    copy = array.copy()
    copy.flags.writeable = False
    return copy


LAYOUTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "Fortran": np.asfortranarray,
    "backwards": lambda array: array[::-1].copy()[::-1],
    "flipped columns": lambda array: array[..., ::-1].copy()[..., ::-1],
    "every second": every_second,
    "padded": lambda array: np.concatenate([array, array], axis=-1)[..., : array.shape[-1]],
    "read-only": read_only,
    "packed records": in_record,
    "unaligned": unaligned,
    "subclass": lambda array: array.view(Subclass),
    "other byte order": lambda array: array.astype(array.dtype.newbyteorder()),
}


@st.composite
def arrays(draw: st.DrawFn) -> Any:
    """Any array: odd types, shapes, layouts and values."""
    shape = draw(st.lists(st.integers(0, 6), max_size=4))
    if draw(st.booleans()):
        shape = [draw(st.integers(0, 70)), draw(st.integers(0, 5))]
    seed = draw(st.integers(0, 2**20))
    values = np.random.default_rng(seed).integers(-9, 9, size=shape)
    with warnings.catch_warnings():
        # Numbers that a dtype cannot hold are wanted here.
        warnings.simplefilter("ignore")
        array = values.astype(draw(st.sampled_from(DTYPES)))
        if array.size and array.dtype.kind in "fc" and draw(st.booleans()):
            array.flat[draw(st.integers(0, array.size - 1))] = float(draw(st.sampled_from(NUMBERS)))
    how = draw(st.sampled_from(["as it is", *LAYOUTS, "broadcast", "enormous", "transposed"]))
    if how == "broadcast":
        return np.broadcast_to(array, (3, *array.shape))
    if how == "enormous":
        # Nothing of this size is in memory: all rows are the same one.
        return np.broadcast_to(
            np.float32(1.0), draw(st.sampled_from([(2**60,), (2**59, 2), (2**60, 1), (2**60, 0)]))
        )
    if how == "transposed":
        return array.T
    if how in LAYOUTS and array.ndim and array.dtype.kind in "fi":
        return LAYOUTS[how](array)
    return array


anything: st.SearchStrategy[Any] = st.one_of(
    arrays(),
    st.sampled_from(NUMBERS),
    st.sampled_from(NUMBERS).map(np.float64),
    st.integers(-128, 127).map(np.int8),
    st.none(),
    st.booleans(),
    st.text(max_size=5),
    st.binary(max_size=5),
    st.sampled_from(["k-means++", "random", "auto", "lloyd", "hamerly", "yinyang"]),
    st.lists(st.sampled_from(NUMBERS), max_size=4),
    st.lists(st.lists(st.floats(), max_size=3), max_size=3),
    st.builds(Hostile),
    st.sampled_from(
        [object(), len, int, {}, {1: 2}, (), set(), Decimal(1), Fraction(1, 3), 1j, ..., slice(1)]
    ),
    st.just(memoryview(b"1234")),
)
#: What a fit starts from: nearly right, so that what is wrong lies deeper.
starts = st.lists(
    st.one_of(
        anything,
        st.tuples(anything, st.integers(1, 3), st.lists(st.integers(0, 9), max_size=2)),
        st.tuples(st.just("k-means++"), anything, anything),
        st.lists(anything, max_size=2),
    ),
    max_size=3,
)


@st.composite
def arguments(draw: st.DrawFn) -> dict[str, Any]:
    """Arguments that every function accepts."""
    rng = np.random.default_rng(draw(st.integers(0, 2**20)))
    n, d = draw(st.sampled_from([1, 2, 5, 63, 64, 65, 130])), draw(st.integers(1, 4))
    k = draw(st.integers(1, min(n, 9)))
    X = rng.normal(size=(n, d)).astype(draw(st.sampled_from(["f4", "f8"])))
    weights = rng.integers(1, 4, n).astype(float) if draw(st.booleans()) else None
    return {
        "X": X,
        "centers": X[:k].copy(),
        "starts": draw(
            st.sampled_from(
                [
                    [("k-means++", k, [2**64 - 1, 0])],
                    [("random", k, [1]), [X[:k], X[-1:].copy()]],
                    [("k-means||", k, [3])],
                ]
            )
        ),
        "n_clusters": k,
        "labels": rng.integers(0, k, n).astype(np.int32),
        "sample_weight": weights,
        "scale": _core.block_scale(X, weights) if draw(st.booleans()) else None,
        "partial": _core.assign_block(X, X[:k], sample_weight=weights)[1],
        "sampler": _core.sampler(X, sample_weight=weights),
        "counts": rng.integers(0, 4, k).astype(float),
        "n_since_reassignment": draw(st.integers(0, 200)),
        "count": draw(st.integers(0, n)),
        "batch_size": draw(st.integers(1, 2 * n)),
        "max_no_improvement": draw(st.sampled_from([None, 0, 3])),
        "reassignment_ratio": draw(st.sampled_from([0.0, 0.01, 2.0])),
        "compute_labels": draw(st.booleans()),
        "watch": draw(st.sampled_from([None, lambda *_: None])),
        "check": draw(st.booleans()),
        "seed": draw(st.integers(0, 2**64 - 1)),
        "n_local_trials": draw(st.sampled_from([None, 1, 5])),
        "max_iter": draw(st.sampled_from([1, 2, 300])),
        "tol": draw(st.sampled_from([0.0, 1e-4])),
        "algorithm": draw(st.sampled_from(["auto", "lloyd", "hamerly", "yinyang"])),
        "spherical": draw(st.booleans()),
        "n_threads": draw(st.sampled_from([None, 1, 2])),
    }


def answer(call: Callable[..., Any], *args: Any, **keywords: Any) -> Any:
    """Return what a call returns, or None if it refuses with a plain error that says something."""
    with warnings.catch_warnings():
        # What NumPy remarks while it converts is not the matter here.
        warnings.simplefilter("ignore")
        try:
            return call(*args, **keywords)
        except PLAIN_ERRORS as error:
            assert str(error)  # noqa: PT017 - the message is the matter
            return None


def invoke(name: str, given_arguments: dict[str, Any]) -> Any:
    """Call a function by name with its part of the arguments."""
    positional, keywords = SIGNATURES[name]
    return answer(
        getattr(_core, name),
        *(given_arguments[word] for word in positional),
        **{word: given_arguments[word] for word in keywords},
        **FIXED.get(name, {}),
    )


def check(name: str, used: dict[str, Any], result: Any) -> None:
    """Check that a result is one: shapes, types, ranges."""
    X = used["X"]
    n, d = X.shape
    if name in ("mean_variance", "inertia"):
        assert result >= 0
    fits = {"lloyd": [result], "fit": result}.get(name, [])
    if name == "fit":
        assert len(fits) == sum(1 for _ in used["starts"])
    for centers, labels, inertia, *_ in fits:
        assert (centers.shape[1], centers.dtype) == (d, X.dtype)
        assert np.isfinite(centers).all()
        assert np.isfinite(inertia)
        assert inertia >= 0
        check_labels(labels, n, len(centers))
    if name == "predict":
        check_labels(result, n, len(used["centers"]))
    if name == "assign_block":
        check_labels(result[0], n, len(used["centers"]))
        assert result[1].n_rows == n
    if name in ("minibatch_fit", "minibatch_step"):
        centers, counts, _ = result[0]
        assert (centers.shape, centers.dtype) == (used["centers"].shape, X.dtype)
        assert np.isfinite(centers).all()
        assert (counts >= 0).all()
    if name == "farthest_rows":
        distances, rows = result
        assert (np.diff(distances) <= 0).all()
        assert len(set(rows.tolist())) == len(rows)
    if name == "next_centers":
        assert np.isfinite(result[0]).all()
    if name in ("kmeans_plusplus", "random_rows"):
        centers, indices = result
        assert (centers == X[indices]).all()
        assert len(set(indices.tolist())) == len(indices) or name == "kmeans_plusplus"


def named(result: Any) -> Any:
    """Return a result with one name for all bounds: those by groups need features that lie side by side."""
    if isinstance(result, tuple | list):
        return [named(part) for part in result]
    return "hamerly" if isinstance(result, str) and result == "yinyang" else result


def check_labels(labels: np.ndarray, n: int, k: int) -> None:
    """Check that labels name clusters."""
    assert labels.shape == (n,)
    assert labels.dtype == np.int32
    assert ((labels >= 0) & (labels < k)).all()


@pytest.mark.parametrize("name", SIGNATURES)
@fuzz
@given(data=st.data(), valid=arguments())
def test_any_argument_gives_a_result_or_a_plain_error(
    name: str, data: st.DataObject, valid: dict[str, Any]
) -> None:
    words = st.sampled_from([word for part in SIGNATURES[name] for word in part])
    changed = data.draw(st.dictionaries(words, anything, max_size=2))
    if "starts" in changed and data.draw(st.booleans()):
        changed["starts"] = data.draw(starts)
    used = {**valid, **changed}
    result = invoke(name, used)
    if result is not None:
        check(name, used, result)
    else:
        assert changed, "valid arguments were refused"


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", SIGNATURES)
@settings(fuzz, max_examples=int(ASKED or 10))
@given(data=st.data(), valid=arguments())
def test_a_layout_is_refused_or_changes_nothing(
    name: str, layout: str, data: st.DataObject, valid: dict[str, Any]
) -> None:
    held = [word for part in SIGNATURES[name] for word in part if isinstance(valid[word], np.ndarray)]
    word = data.draw(st.sampled_from(held))
    result = invoke(name, {**valid, word: LAYOUTS[layout](valid[word])})
    if result is not None:
        np.testing.assert_equal(named(result), named(invoke(name, valid)))
    else:
        assert layout in ("packed records", "unaligned", "other byte order")


#: Parameters of an estimator; any number of runs would be done, however large.
PARAMETERS = (
    "n_clusters",
    "init",
    "max_iter",
    "tol",
    "verbose",
    "random_state",
    "copy_x",
    "algorithm",
    "n_threads",
)


@fuzz
@given(data=st.data(), valid=arguments())
def test_an_estimator_is_fitted_in_one_call_or_left_as_it_was(
    data: st.DataObject, valid: dict[str, Any]
) -> None:
    drawn = st.sampled_from(["k-means++", "k-means||", "random"])
    state = {
        **{name: valid[name] for name in ("n_clusters", "max_iter", "tol", "algorithm", "n_threads")},
        "init": valid["centers"] if data.draw(st.booleans()) else data.draw(drawn),
        **{"n_init": "auto", "verbose": 0, "random_state": valid["seed"] % 2**32, "copy_x": True},
    }
    changed = data.draw(st.dictionaries(st.sampled_from(PARAMETERS), anything, max_size=2))
    read = data.draw(st.dictionaries(st.sampled_from(["X", "sample_weight"]), anything, max_size=1))
    asked, used = {**state, **changed}, {**valid, **read}
    fitted = dict(asked)
    distinct = answer(_core.plain_fit, fitted, used["X"], used["sample_weight"])
    if distinct is None:
        assert changed or read, "valid arguments were refused"
        assert list(fitted) == list(asked)
        assert all(fitted[name] is asked[name] for name in asked)
        return
    centers, labels = fitted["cluster_centers_"], fitted["labels_"]
    check("lloyd", used, (centers, labels, fitted["inertia_"]))
    assert len(centers) == fitted["n_clusters"]
    assert distinct == len(np.unique(labels))


@pytest.mark.parametrize("name", ["fit", "predict", "inertia", "kmeans_plusplus"])
@fuzz
@given(data=st.data(), valid=arguments())
def test_a_damaged_sparse_matrix_gives_a_result_or_a_plain_error(
    name: str, data: st.DataObject, valid: dict[str, Any]
) -> None:
    whole = csr_array(valid["X"])
    arrays = [whole.data, whole.indices.astype(data.draw(st.sampled_from(["i4", "i8"]))), whole.indptr]
    arrays[2] = arrays[2].astype(arrays[1].dtype)
    for _ in range(data.draw(st.integers(0, 2))):
        at = data.draw(st.integers(0, 2))
        if data.draw(st.booleans()):
            arrays[at] = data.draw(anything)
        elif isinstance(arrays[at], np.ndarray) and arrays[at].size:
            place = data.draw(st.integers(0, arrays[at].size - 1))
            arrays[at] = arrays[at].copy()
            arrays[at].flat[place] = data.draw(st.sampled_from([-1, 0, 1, 3, 2**31 - 1, -(2**31)]))
    positional, keywords = SIGNATURES[name]
    X = (*arrays, whole.shape[1])
    result = answer(
        getattr(_core, f"sparse_{name}"),
        *(X if word == "X" else valid[word] for word in positional),
        **{word: valid[word] for word in keywords if word != "algorithm"},
    )
    if name == "predict" and result is not None:
        check_labels(result, len(result), len(valid["centers"]))


@pytest.mark.parametrize("make", ["_core.Scale", "_core.Partial"])
@settings(fuzz, max_examples=int(ASKED or 300))
@given(data=st.data(), valid=arguments())
def test_a_damaged_state_is_refused_or_works(make: str, data: st.DataObject, valid: dict[str, Any]) -> None:
    scale = _core.block_scale(valid["X"], valid["sample_weight"])
    _, partial = _core.assign_block(
        valid["X"], valid["centers"], sample_weight=valid["sample_weight"], scale=scale
    )
    value = scale if make == "_core.Scale" else partial
    restore, state = value.__reduce__()
    damaged = answer(restore, *data.draw(damage(state)))
    if damaged is None:
        return
    repr(damaged)
    assert type(pickle.loads(pickle.dumps(damaged))) is type(damaged)
    for one, other in ((damaged, damaged), (damaged, value), (value, damaged)):
        answer(one.merge, other)
    if make == "_core.Scale":
        for checked in (True, False):
            result = invoke("assign_block", {**valid, "scale": damaged, "check": checked})
            if result is not None:
                check("assign_block", valid, result)
    else:
        for property_name in ("n_rows", "sums", "counts", "inertia"):
            operator.attrgetter(property_name)(damaged)
        centers = answer(damaged.centers, valid["centers"])
        if centers is not None:
            # A wrong but finite number cannot be told from a right one, so the centers may be anything.
            assert (centers.shape, centers.dtype) == (valid["centers"].shape, valid["centers"].dtype)
        answer(damaged.centers, data.draw(anything))


@st.composite
def damage(draw: st.DrawFn, state: tuple[Any, ...]) -> tuple[Any, ...]:
    """A stored state with one part replaced or a number in it changed; now and then none."""
    at = draw(st.integers(0, len(state)))
    if at == len(state):
        return state
    part = state[at]
    whole = draw(st.integers(0, 3)) == 0
    if isinstance(part, tuple) and not whole:
        part = draw(damage(part))
    elif isinstance(part, np.ndarray) and part.size and not whole:
        part = part.copy()
        part.flat[draw(st.integers(0, part.size - 1))] = float(draw(st.sampled_from(NUMBERS)))
    else:
        part = draw(anything if whole else st.sampled_from(NUMBERS))
    return (*state[:at], part, *state[at + 1 :])
