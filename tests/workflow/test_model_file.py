"""The model file: the same bits come back, and whatever is no whole file of ours is refused by name."""

from __future__ import annotations

import errno
import io
import json
import os
import pickle
import re
import stat
import sys
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save

from rust_kmeans import KMeans
from rust_kmeans.workflow import (
    ClusterModel,
    ModelFileError,
    Preparation,
    TrainingStatistics,
    WorkflowError,
    _model_file,
    load_model,
    save_model,
)
from tests.workflow.models import blobs, fitted, prepared

#: A file of version 1 of the format, which has to be read for ever.
VERSION_1 = Path(__file__).parent / "model_version_1.safetensors"


def small(dtype: Literal["float32", "float64"] = "float32") -> ClusterModel:
    """Return a model whose file is short: three quantiles, one column."""
    values = blobs(30, 1)
    model = fitted(values, 2, prepared(values, dtype, names=("länge \ud800",)), note="a", seed=None)
    statistics = model.statistics
    few = {
        name: getattr(statistics, name)[..., [0, 250, 500]]
        for name in ("probabilities", "quantiles", "distances", "margins")
    }
    return replace(model, statistics=replace(statistics, **few))


def assert_same(one: ClusterModel, other: ClusterModel) -> None:
    assert one.model_id == other.model_id
    assert one.centers.dtype == other.centers.dtype
    assert one.centers.tobytes() == other.centers.tobytes()
    assert dict(one.parameters) == dict(other.parameters)
    for kind, ours, theirs in (
        (Preparation, one.preparation, other.preparation),
        (TrainingStatistics, one.statistics, other.statistics),
    ):
        for field in fields(kind):
            a, b = getattr(ours, field.name), getattr(theirs, field.name)
            if isinstance(a, np.ndarray):
                assert a.dtype == b.dtype, field.name
                assert a.tobytes() == b.tobytes(), field.name
            else:
                assert a == b, field.name
                assert type(a) is type(b), field.name


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n_clusters", [1, 4])
def test_a_model_comes_back_with_the_same_bits(
    tmp_path: Path, dtype: Literal["float32", "float64"], n_clusters: int
) -> None:
    values = blobs(500)
    values[::7, 1] = np.nan
    preparation = replace(
        prepared(values, dtype, names=("a", "b: ü", "c\n")),
        lower=np.array([-np.inf, -1e9, 0.1]),
        outliers="iqr",
    )
    model = fitted(values, n_clusters, preparation, init="k-means++", seed=None, is_final=True)
    save_model(model, tmp_path / "a.model")
    back = load_model(str(tmp_path / "a.model"))
    assert_same(model, back)
    rows = blobs(100, seed=1)
    assert model.predict(rows).labels.tolist() == back.predict(rows).labels.tolist()
    # The same model gives the same file.
    save_model(back, tmp_path / "b.model")
    assert (tmp_path / "a.model").read_bytes() == (tmp_path / "b.model").read_bytes()


def test_a_model_without_statistics_comes_back_too(tmp_path: Path) -> None:
    model = small()
    unknown: dict[str, Any] = {
        field.name: np.full_like(value, np.nan)
        for field in fields(TrainingStatistics)
        if isinstance(value := getattr(model.statistics, field.name), np.ndarray)
        and field.name not in ("counts", "probabilities", "missing")
    }
    model = replace(model, statistics=replace(model.statistics, n_sampled=0, **unknown))
    save_model(model, tmp_path / "model")
    assert_same(model, load_model(tmp_path / "model"))


def test_a_file_of_version_1_is_read_by_every_later_version() -> None:
    model = load_model(VERSION_1)
    assert model.model_id == "ab3a7c9e42e57f77"
    assert model.names == ("länge \ud800",)
    assert model.statistics.counts.tolist() == [22, 8]
    assert model.predict(np.array([[-10.0], [10.0]])).labels.tolist() == [0, 1]


def test_a_flipped_byte_is_refused_or_changes_nothing(tmp_path: Path) -> None:
    model, path = small(), tmp_path / "model"
    save_model(model, path)
    content = path.read_bytes()
    assert len(content) < 4000
    said: list[str] = []
    for at in range(len(content)):
        for mask in (0x01, 0xFF):
            path.write_bytes(content[:at] + bytes([content[at] ^ mask]) + content[at + 1 :])
            try:
                back = load_model(path)
            except ModelFileError as error:
                said.append(str(error))
            else:
                assert_same(model, back)
    assert all(line.startswith(str(path)) and "\n" not in line for line in said)
    assert len(said) > 0.98 * 2 * len(content)


def test_every_truncation_and_every_addition_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model"
    save_model(small(), path)
    content = path.read_bytes()
    for length in range(len(content)):
        path.write_bytes(content[:length])
        with pytest.raises(ModelFileError, match=re.escape(str(path))):
            load_model(path)
    path.write_bytes(content + b"\0")
    with pytest.raises(ModelFileError, match="damaged"):
        load_model(path)


@settings(max_examples=200, deadline=None)
@given(content=st.binary(max_size=64), length=st.integers(0, 2**64 - 1) | st.none())
def test_any_bytes_are_refused(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, length: int | None
) -> None:
    path = tmp_path_factory.getbasetemp() / "noise"
    path.write_bytes(content if length is None else length.to_bytes(8, "little") + content)
    with pytest.raises(ModelFileError):
        load_model(path)


class Exploit:
    """Its pickle leaves a trace when it is opened."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, ("opened",))


def _npz() -> bytes:
    file = io.BytesIO()
    np.savez(file, centers=np.zeros((2, 2)))
    return file.getvalue()


def _npy() -> bytes:
    file = io.BytesIO()
    np.save(file, np.zeros((2, 2)))
    return file.getvalue()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (pickle.dumps(Exploit()), "is a pickle, which could run any code"),
        (pickle.dumps(KMeans(2).fit(np.eye(3)), protocol=2), "is a pickle"),
        (_npz(), "is a zip archive"),
        (_npy(), "is a NumPy array"),
        (b"PAR1" + bytes(100), "is a Parquet table"),
        (b"a,b\n1,2\n" * 100, "is no model file"),
        (b'{"centers": [[1, 2]]}', "is no model file"),
        (save({"centers": np.zeros((2, 2))}), "without a model of rust_kmeans"),
        (save({"centers": np.zeros((2, 2))}, {"format": "pt"}), "without a model of rust_kmeans"),
        (save({"a": np.zeros(1)}, {_model_file.KEY: "{"}), "its manifest is no JSON;"),
        (save({"a": np.zeros(1)}, {_model_file.KEY: "[" * 100_000}), "its manifest is no JSON;"),
        (save({"a": np.zeros(1)}, {_model_file.KEY: "[1]"}), "its manifest is no JSON object;"),
        (save({"a": np.zeros(1)}, {_model_file.KEY: "{}"}), "it has no version;"),
        (save({"a": np.zeros(1)}, {_model_file.KEY: '{"format_version": true}'}), "it has no version;"),
        (save({"a": np.zeros(1)}, {_model_file.KEY: '{"format_version": 1}'}), "its checksum is another;"),
        (
            save({"a": np.zeros(1, dtype=np.int8)}, {_model_file.KEY: '{"format_version": 1}'}),
            "its array 'a' has dtype I8;",
        ),
        (
            save({"a": np.zeros(1)}, {_model_file.KEY: '{"format_version": 2}'}),
            "version 2 of the model format is newer than 1, .* install a newer rust-kmeans",
        ),
    ],
)
def test_files_of_others_and_newer_ones_are_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "model"
    path.write_bytes(content)
    with pytest.raises(ModelFileError, match=f"^{re.escape(str(path))}.* {said}") as caught:
        load_model(path)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "opened").exists()


def test_what_is_no_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="is a directory"):
        load_model(tmp_path)
    with pytest.raises(ModelFileError, match="is not there"):
        load_model(tmp_path / "none")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no named pipes in folders")
def test_a_pipe_is_refused_without_waiting_for_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ModelFileError, match="is no regular file"):
        load_model(tmp_path / "pipe")


def _changed(model: ClusterModel, part: str, **changes: Any) -> ClusterModel:
    if part == "model":
        return replace(model, **changes)
    return replace(model, **{part: replace(getattr(model, part), **changes)})


@pytest.mark.parametrize(
    ("part", "changes", "said"),
    [
        ("model", {"centers": np.full((2, 1), np.nan, dtype=np.float32)}, "centers are not all finite"),
        ("model", {"centers": np.zeros((0, 1), dtype=np.float32)}, "centers are no matrix"),
        ("model", {"centers": np.zeros((2, 2), dtype=np.float32)}, "centers has dtype"),
        ("model", {"centers": np.zeros((3, 1), dtype=np.float32)}, "statistics.counts has dtype"),
        ("model", {"centers": np.zeros((2, 1))}, "centers have another dtype"),
        ("model", {"parameters": {"a": [1]}}, r"parameter 'a' is \[1\]"),
        ("model", {"parameters": {"a": np.inf}}, "parameter 'a' is inf"),
        ("model", {"parameters": {1: 1}}, "a parameter's name is no text"),
        ("preparation", {"names": ("a", "b")}, "has dtype"),
        ("preparation", {"names": (1,)}, "a name is no text"),
        ("preparation", {"names": ()}, "names are none"),
        ("preparation", {"dtype": "float16"}, "dtype is neither"),
        ("preparation", {"scale": "log"}, "scale is unknown"),
        ("preparation", {"missing": "zero"}, "missing is unknown"),
        ("preparation", {"outliers": None}, "outliers is no text"),
        ("preparation", {"fill": np.array([np.inf])}, "fill has an infinite value"),
        ("preparation", {"fill": np.array([0])}, "fill has dtype int64"),
        ("preparation", {"lower": np.array([np.nan])}, "lower or upper has a NaN"),
        ("preparation", {"lower": np.array([2.0]), "upper": np.array([1.0])}, "lower is above upper"),
        ("preparation", {"offset": np.array([np.nan])}, "offset is not all finite"),
        ("preparation", {"divisor": np.array([0.0])}, "divisor is not all finite and positive"),
        ("preparation", {"divisor": np.array([-1.0])}, "divisor is not all finite and positive"),
        ("preparation", {"divisor": np.array([np.inf])}, "divisor is not all finite and positive"),
        ("statistics", {"n_samples": -1}, "a number of rows"),
        ("statistics", {"n_samples": 30.0}, "a number of rows"),
        ("statistics", {"n_sampled": 31}, "n_sampled is above n_samples"),
        ("statistics", {"n_samples": 31}, "counts do not sum to n_samples"),
        ("statistics", {"counts": np.array([-1, 31])}, "counts are negative"),
        ("statistics", {"probabilities": np.array([0.0, 0.5, 0.9])}, "probabilities do not ascend"),
        ("statistics", {"probabilities": np.array([0.0, 0.0, 1.0])}, "probabilities do not ascend"),
        ("statistics", {"probabilities": np.zeros((1, 3))}, "probabilities are no vector"),
        ("statistics", {"missing": np.array([1.5])}, "missing is not within 0..1"),
        ("statistics", {"missing": np.array([np.nan])}, "missing is not within 0..1"),
        ("statistics", {"quantiles": np.array([[0.0, 2.0, 1.0]])}, "quantiles do not ascend"),
        ("statistics", {"quantiles": np.array([[0.0, np.nan, 1.0]])}, "quantiles do not ascend"),
        ("statistics", {"distances": np.array([0.0, 2.0, np.inf])}, "distances do not ascend"),
        ("statistics", {"margins": np.array([0.0, np.inf, np.inf])}, "margins do not ascend"),
        ("statistics", {"means": np.array([[0.0], [np.inf]])}, "means are not all finite"),
        ("statistics", {"deviations": np.array([[0.0], [-1.0]])}, "deviations are not all finite"),
    ],
)
def test_parts_that_do_not_agree_are_refused_on_both_ways(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str, changes: dict[str, Any], said: str
) -> None:
    model = _changed(small(), part, **changes)
    path = tmp_path / "model"
    with pytest.raises(WorkflowError, match=said):
        save_model(model, path)
    assert not path.exists()
    if part == "model" and "parameters" in changes:
        return
    # A file with a checksum that fits, as somebody could make by hand.
    with monkeypatch.context() as patch:
        patch.setattr(_model_file, "_check", lambda model: None)
        save_model(model, path)
    with pytest.raises(ModelFileError, match=said):
        load_model(path)


def test_parts_that_are_missing_or_unknown_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, model = tmp_path / "model", small()
    arrays, manifest = _model_file._arrays_of(model), _model_file._manifest_of(model)

    def write(arrays: dict[str, Any], manifest: dict[str, Any]) -> None:
        envelope = {
            "format_version": 1,
            "sha256": _model_file._digest(manifest, arrays),
            "manifest": manifest,
        }
        path.write_bytes(save(arrays, {_model_file.KEY: json.dumps(envelope)}))

    write(arrays, manifest)
    assert_same(model, load_model(path))
    for name in arrays:
        write({key: array for key, array in arrays.items() if key != name}, manifest)
        with pytest.raises(ModelFileError, match=f"a part is missing: '{name}'"):
            load_model(path)
    for name in set(manifest) - {"library"}:
        write(arrays, {key: value for key, value in manifest.items() if key != name})
        with pytest.raises(ModelFileError, match=f"a part is missing: '{name}'"):
            load_model(path)
        several: list[Any] = [None, 1.5, [[]], {}, "x" * 10, "x"]
        for wrong in several:
            if (name, wrong) not in [("parameters", {}), ("outliers", "x" * 10), ("outliers", "x")]:
                write(arrays, {**manifest, name: wrong})
                with pytest.raises(ModelFileError, match=re.escape(str(path))):
                    load_model(path)
    write({**arrays, "more": np.zeros(1)}, manifest)
    with pytest.raises(ModelFileError, match="there is an unknown array 'more'"):
        load_model(path)


@pytest.mark.parametrize(
    "shape",
    [[0, 1 << 62], [0, 1 << 63], [0, (1 << 64) - 1], [1] * 70 + [0]],
    ids=["big", "2^63", "2^64", "70"],
)
def test_an_array_without_values_of_an_impossible_shape_is_refused(tmp_path: Path, shape: list[int]) -> None:
    save_model(small(), tmp_path / "model")
    content = (tmp_path / "model").read_bytes()
    end = 8 + int.from_bytes(content[:8], "little")
    header, data = json.loads(content[8:end]), content[end:]
    header["more"] = {"dtype": "F64", "shape": shape, "data_offsets": [len(data), len(data)]}
    text = json.dumps(header).encode()
    (tmp_path / "model").write_bytes(len(text).to_bytes(8, "little") + text + data)
    with pytest.raises(ModelFileError, match="is damaged"):
        load_model(tmp_path / "model")


def test_no_depth_of_a_manifest_is_more_than_a_damaged_file(tmp_path: Path) -> None:
    save_model(small(), tmp_path / "model")
    content = (tmp_path / "model").read_bytes()
    end = 8 + int.from_bytes(content[:8], "little")
    header, data = json.loads(content[8:end]), content[end:]
    envelope = json.loads(header["__metadata__"][_model_file.KEY])
    # Around the limit of recursion reading and writing stop at different depths.
    for depth in (*range(850, 1000, 3), 2_000, 100_000):
        deep = json.dumps({**envelope, "manifest": {"names": "HERE"}})
        header["__metadata__"][_model_file.KEY] = deep.replace('"HERE"', "[" * depth + "]" * depth)
        text = json.dumps(header).encode()
        (tmp_path / "model").write_bytes(len(text).to_bytes(8, "little") + text + data)
        with pytest.raises(ModelFileError, match="is damaged"):
            load_model(tmp_path / "model")


@pytest.mark.parametrize("n_more", range(0, 1000, 8))
def test_no_length_of_a_header_makes_a_model_look_like_a_file_of_others(tmp_path: Path, n_more: int) -> None:
    # The file begins with that length, and a pickle with two bytes that may be one.
    model = replace(small(), parameters={"note": "x" * n_more})
    save_model(model, tmp_path / "model")
    assert_same(model, load_model(tmp_path / "model"))


def test_numbers_of_numpy_are_kept_as_numbers(tmp_path: Path) -> None:
    model = replace(small(), parameters={"a": np.int64(3), "b": np.float32(0.5), "c": np.bool_(True)})
    save_model(model, tmp_path / "model")
    assert dict(load_model(tmp_path / "model").parameters) == {"a": 3, "b": 0.5, "c": True}


def test_saving_that_fails_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "model"
    save_model(small(), path)
    before = path.read_bytes()

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        save_model(small("float64"), path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["model"]


@pytest.mark.skipif(sys.platform == "win32", reason="rights of files are another matter on Windows")
def test_a_model_file_has_the_rights_of_any_new_file(tmp_path: Path) -> None:
    save_model(small(), tmp_path / "model")
    (tmp_path / "other").write_bytes(b"")
    rights = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("model", "other")]
    assert rights[0] == rights[1]
