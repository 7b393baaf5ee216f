"""Cached, hash-named data and stored starting centers; real files in.

A dataset is three files of the cache folder: the samples (``.npy``), the starting centers
(``.init.npy``) and a JSON sidecar, written last, which makes the other two valid. Each is written to a
temporary name, synced and renamed. Sizes and hashes are checked whenever a dataset is asked for, so that
what a killed run, a bad disk or a person left behind is made again rather than measured. Needs a POSIX
system, for its file lock.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import io
import json
import logging
import os
import platform
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from harness import generate, readers
from harness.errors import UserError
from harness.scenario import DTYPES, DatasetSpec

FloatArray = npt.NDArray[np.floating[Any]]

_log = logging.getLogger("harness")

#: Of `starting_centers`, and part of every name: raise it when a change gives other centers.
START_RULE = 2


@dataclass(frozen=True)
class Dataset:
    """Samples on disk, as handed to an implementation.

    Parameters
    ----------
    path : Path
        A C-contiguous ``.npy`` file of shape (n_samples, n_features), float32 or float64.
    n_samples, n_features : int
        Its shape.
    dtype : {"float32", "float64"}
        Its type.
    """

    path: Path
    n_samples: int
    n_features: int
    dtype: str

    def load(self) -> FloatArray:
        """Read all samples into memory: shape (n_samples, n_features), C order."""
        array: FloatArray = np.load(self.path, allow_pickle=False)
        return array

    def memmap(self) -> FloatArray:
        """Map the samples read-only, without loading them."""
        array: FloatArray = np.load(self.path, mmap_mode="r", allow_pickle=False)
        return array

    def head(self, n_rows: int, folder: Path) -> Dataset:
        """Write the first rows, all of them if there are fewer, as a dataset of their own in ``folder``."""
        rows = np.ascontiguousarray(self.memmap()[:n_rows])
        path = folder / f"{self.path.stem}.head.npy"
        np.save(path, rows, allow_pickle=False)
        return Dataset(path, len(rows), self.n_features, self.dtype)


@dataclass(frozen=True)
class CachedDataset:
    """A dataset of the cache and its starting centers.

    Parameters
    ----------
    dataset : Dataset
        The samples.
    sha256 : str
        Of the file of samples, in hexadecimal.
    name : str
        Stem of the sidecar and of the file of starting centers.
    init : ndarray of shape (n_clusters, n_features)
        Starting centers in the dataset's dtype: distinct samples drawn with ``spec.seed``.
    spec : DatasetSpec
        What was asked for.
    """

    dataset: Dataset
    sha256: str
    name: str
    init: FloatArray
    spec: DatasetSpec


@dataclass(frozen=True)
class CacheEntry:
    """One line of ``runner.py data``.

    Parameters
    ----------
    name : str
        Name of the dataset, or of the file that belongs to none.
    shape : (int, int) or None
        n_samples and n_features.
    dtype : str or None
        Type of the samples.
    bytes : int
        On disk. Samples of real data serve several numbers of clusters and count in each of their entries.
    created : str or None
        UTC, ISO 8601.
    arguments : dict
        The fields of the `DatasetSpec`.
    state : {"ok", "damaged", "partial"}
        By size and sha256; ``partial`` is being written, or was left by a killed run.
    """

    name: str
    shape: tuple[int, int] | None
    dtype: str | None
    bytes: int
    created: str | None
    arguments: dict[str, Any]
    state: Literal["ok", "damaged", "partial"]


def obtain(spec: DatasetSpec, cache: Path) -> CachedDataset:
    """Return a dataset from the cache, made first if it is absent or damaged.

    Safe to call from several processes at once: the second one waits and finds what the first one made.

    Parameters
    ----------
    spec : DatasetSpec
        What to make or to read.
    cache : Path
        Folder of the cache; created if absent.

    Returns
    -------
    CachedDataset
        Verified against the sha256 of its sidecar.

    Raises
    ------
    UserError
        If the arguments or a real file cannot be used, the samples have fewer distinct rows than clusters,
        or the disk is full or not writable. Nothing unfinished stays behind.
    """
    recipe = _recipe(spec, cache)
    with _locked(cache):
        # Nobody else writes while the lock is held: what has a temporary name is of a killed run.
        for leftover in cache.glob("*.tmp"):
            if _OURS.fullmatch(leftover.name.removesuffix(".tmp")):
                leftover.unlink()
        record = _sound_record(recipe, cache) or _make(recipe, cache)
        return CachedDataset(
            dataset=Dataset(cache / record.file, record.shape[0], record.shape[1], record.dtype),
            sha256=record.sha256,
            name=record.name,
            init=np.load(cache / record.init_file, allow_pickle=False),
            spec=spec,
        )


def entries(cache: Path) -> list[CacheEntry]:
    """List the cache, in order of names, with every file checked by size and sha256."""
    found: list[CacheEntry] = []
    claimed: set[str] = set()
    ours = _made_here(cache)
    for sidecar in ours:
        if sidecar.suffix != ".json":
            continue
        record = _read_record(sidecar)
        if record is None:
            claimed.add(sidecar.name)
            found.append(CacheEntry(sidecar.stem, None, None, sidecar.stat().st_size, None, {}, "damaged"))
            continue
        # What others derive from a dataset, such as the referee's stored answers, carries its name.
        files = {path.name for path in ours if path.name.startswith(f"{record.name}.")}
        files = {name for name in files if not name.endswith(".tmp")} | {record.file}
        claimed |= files
        found.append(
            CacheEntry(
                record.name,
                record.shape,
                record.dtype,
                sum(_size(cache / name) for name in files),
                record.created,
                record.arguments,
                "ok" if _damage(record, cache) is None else "damaged",
            )
        )
    for path in ours:
        if path.is_dir():
            size = sum(_size(p) for p in path.rglob("*") if p.is_file())
            if size:
                found.append(CacheEntry(path.name, None, None, size, None, {}, "ok"))
        elif path.name not in claimed:
            found.append(CacheEntry(path.name, None, None, _size(path), None, {}, "partial"))
    return sorted(found, key=lambda entry: entry.name)


def clear(cache: Path) -> int:
    """Delete what this module made, and what was derived from it, and nothing else.

    Returns
    -------
    int
        Bytes freed.

    Raises
    ------
    UserError
        If the folder is not writable.
    """
    freed = 0
    if not cache.is_dir():
        return freed
    # The lock's own empty file stays: deleting it would let two others hold two different locks.
    with in_use(cache, alone=True), _locked(cache):
        for path in _made_here(cache):
            if path.is_dir():
                freed += sum(_size(p) for p in path.rglob("*") if p.is_file())
                shutil.rmtree(path)
            else:
                freed += _size(path)
                path.unlink(missing_ok=True)
    return freed


@contextlib.contextmanager
def in_use(cache: Path, *, alone: bool = False) -> Iterator[None]:
    """Keep the cached data from being deleted while runs read it.

    Parameters
    ----------
    cache : Path
        The folder.
    alone : bool
        Ask that nobody else uses the data.

    Raises
    ------
    UserError
        If somebody does.
    """
    try:
        file = (cache / _IN_USE).open("a")
    except OSError as error:
        raise UserError(
            f"{cache}: the data cache cannot be written ({error.strerror}); make it writable"
        ) from error
    with file:
        try:
            fcntl.flock(file, (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"{cache}: the data is in use by another run; wait for it to end") from None
        yield


def starting_centers(samples: FloatArray, n_clusters: int, seed: int) -> FloatArray:
    """Draw distinct rows at random; where they are whole numbers, put them slightly beside.

    Whole numbers make exact ties: a sample as near to one center as to another, which libraries give to
    either. Each then takes another way, and what is compared are two ways. Centers that are moved by up to a
    quarter, each feature on its own, tie with next to nothing.

    Parameters
    ----------
    samples : ndarray of shape (n_samples, n_features)
        May be mapped from disk: few rows are read, unless most are equal.
    n_clusters : int
        How many rows.
    seed : int
        Of the draw, which is the same for ever.

    Returns
    -------
    ndarray of shape (n_clusters, n_features)
        No two rows equal, in the dtype of ``samples``: samples, or within a quarter of one in each feature.

    Raises
    ------
    UserError
        If there are fewer distinct rows than clusters.
    """
    # The draws after which chance has had its turn: what is then still missing is taken in order.
    draws = generate.random_words(
        seed, generate.START, 0, 20 * min(n_clusters, len(samples)) + 1000
    ) % np.uint64(len(samples))
    chosen: dict[bytes, FloatArray] = {}
    for row in _rows(samples, draws):
        if len(chosen) == n_clusters:
            break
        # Keyed by value: adding 0 makes 0 of -0, which are equal and differ in their bytes.
        chosen.setdefault((row + 0).tobytes(), row)
    if len(chosen) < n_clusters:
        found = "1 distinct row" if len(chosen) == 1 else f"{len(chosen)} distinct rows"
        raise UserError(
            f"{n_clusters} clusters of {found} ({len(samples)} rows of {samples.shape[1]} columns); "
            f"lower --clusters to {len(chosen)} or less, or take more columns or rows"
        )
    centers = np.array(list(chosen.values()))
    if (centers == np.rint(centers)).all():
        # Multiples of 2**-10: with whole numbers up to 2**13 a float32 holds them as they are.
        words = generate.random_words(seed, generate.OFFSETS, 0, centers.size)
        offsets = (words >> np.uint64(55)).astype(np.float64) / 2**10 - 0.25
        centers = (centers + offsets.reshape(centers.shape)).astype(samples.dtype)
    return centers


def _rows(samples: FloatArray, draws: npt.NDArray[np.uint64]) -> Iterator[FloatArray]:
    for i in draws:
        yield samples[int(i)]
    for start in range(0, len(samples), 4096):
        yield from np.asarray(samples[start : start + 4096])


# What to make


@dataclass(frozen=True)
class _Recipe:
    spec: DatasetSpec
    stem: str
    #: All that determines the samples; and the starting centers.
    samples: dict[str, Any]
    start: dict[str, Any]
    #: Whether the samples serve any number of clusters.
    shared: bool
    libraries: tuple[str, ...]
    make: Callable[[], tuple[tuple[int, int], Iterable[FloatArray]]]

    def samples_name(self, shape: tuple[int, int]) -> str:
        if not self.shared:
            return self.name(shape)
        return f"{self.stem}_n{shape[0]}_d{shape[1]}_{self.spec.dtype}_{_hash(self.samples)}"

    def name(self, shape: tuple[int, int] | tuple[str, str]) -> str:
        k = self.spec.n_clusters
        digest = _hash([self.samples, self.start, START_RULE])
        return f"{self.stem}_n{shape[0]}_d{shape[1]}_k{k}_{self.spec.dtype}_{digest}"


def _recipe(spec: DatasetSpec, cache: Path) -> _Recipe:
    if spec.dtype not in DTYPES:
        raise UserError(f"unknown dtype {spec.dtype!r}; choose from {', '.join(DTYPES)}")
    if spec.n_clusters < 1:
        raise UserError(f"{spec.n_clusters} clusters; ask for at least 1")
    start = {"n_clusters": spec.n_clusters, "seed": spec.seed, "version": generate.GENERATOR_VERSION}
    if spec.kind == "blobs":
        shape = (spec.n_samples, spec.n_features)
        arguments = {"seed": spec.seed, "spread": float(spec.spread), "imbalance": float(spec.imbalance)}
        blocks = generate.blobs(
            *shape, spec.n_clusters, seed=spec.seed, spread=spec.spread, imbalance=spec.imbalance
        )
        samples = {**start, **arguments, "kind": spec.kind, "shape": shape, "dtype": spec.dtype}
        return _Recipe(spec, "blobs", samples, start, False, (), lambda: (shape, blocks))
    if spec.kind == "two-gaussians":
        samples = {
            "kind": spec.kind,
            "seed": spec.seed,
            "dtype": spec.dtype,
            "version": generate.GENERATOR_VERSION,
        }
        return _Recipe(
            spec,
            "two-gaussians",
            samples,
            start,
            True,
            (),
            lambda: ((200, 2), [generate.two_gaussians(seed=spec.seed)]),
        )
    choice: dict[str, Any] = {"dtype": spec.dtype, "columns": spec.columns, "drop": spec.drop}
    if spec.kind == "mnist":
        samples = {"kind": "mnist", **choice, "version": readers.READER_VERSION}
        home = cache / _DOWNLOAD
        return _Recipe(
            spec,
            "mnist",
            samples,
            start,
            True,
            ("scikit-learn",),
            lambda: _whole(readers.fetch_mnist(home, **choice)),
        )
    path = spec.path
    if path is None:
        raise UserError("no file to read; give one with --data PATH")
    samples = {
        "kind": "file",
        "sha256": readers.fingerprint(path),
        **choice,
        "version": readers.READER_VERSION,
    }
    stem = re.sub(r"[^a-z0-9]+", "-", path.name.split(".")[0].lower()).strip("-") or "file"
    return _Recipe(
        spec, stem, samples, start, True, ("pyarrow",), lambda: _whole(readers.read(path, **choice))
    )


def _whole(matrix: FloatArray) -> tuple[tuple[int, int], Iterable[FloatArray]]:
    return (matrix.shape[0], matrix.shape[1]), [matrix]


def _hash(identity: object) -> str:
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:12]


# The files


@dataclass(frozen=True)
class _Record:
    """The sidecar."""

    name: str
    arguments: dict[str, Any]
    generator_version: int
    reader_version: int
    file: str
    shape: tuple[int, int]
    dtype: str
    bytes: int
    sha256: str
    init_file: str
    init_bytes: int
    init_sha256: str
    created: str
    libraries: dict[str, str]


#: The names this module gives, and those of files derived from a dataset, which begin with its name.
_OURS = re.compile(
    r"[a-z0-9-]+_n\d+_d\d+(_k\d+)?_float(32|64)_[0-9a-f]{12}(\.init)?\.(npy|json)",
)
_DERIVED = re.compile(
    r"[a-z0-9-]+_n\d+_d\d+_k\d+_float(32|64)_[0-9a-f]{12}\.reference_[0-9a-f]{12}\.(npz|\d+\.tmp)",
)
#: Locked, shared, by every run; empty, and never deleted.
_IN_USE = ".in-use"
#: Where scikit-learn keeps its download. Not "openml": that name may be a person's own folder of downloads.
_DOWNLOAD = "mnist-openml"


def _made_here(cache: Path) -> list[Path]:
    return [
        path
        for path in sorted(cache.glob("*"))
        if (path.name == _DOWNLOAD and path.is_dir() and not path.is_symlink())
        or _OURS.fullmatch(path.name.removesuffix(".tmp"))
        or _DERIVED.fullmatch(path.name)
    ]


def _sound_record(recipe: _Recipe, cache: Path) -> _Record | None:
    # The shape of real data is not known before it is read; the hash identifies it.
    for sidecar in cache.glob(recipe.name(("*", "*")) + ".json"):
        record = _read_record(sidecar)
        damage = "its sidecar is not readable" if record is None else _damage(record, cache)
        if damage is None:
            return record
        _log.warning("%s: damaged, %s; made again", sidecar.stem, damage)
    return None


def _sound_samples(recipe: _Recipe, cache: Path) -> _Record | None:
    """Return a record of the same samples with other starting centers, or with damaged ones."""
    for sidecar in cache.glob(f"{recipe.stem}_*.json"):
        record = _read_record(sidecar)
        if (
            record is not None
            and record.file == f"{recipe.samples_name(record.shape)}.npy"
            and _file_damage(cache / record.file, record.bytes, record.sha256) is None
        ):
            return record
    return None


def _make(recipe: _Recipe, cache: Path) -> _Record:
    spec = recipe.spec
    known = _sound_samples(recipe, cache)
    if known is not None:
        shape, size, digest = known.shape, known.bytes, known.sha256
        samples = cache / known.file
    else:
        shape, blocks = recipe.make()
        samples = cache / f"{recipe.samples_name(shape)}.npy"
        size, digest = _write(samples, _npy(shape, spec.dtype, blocks), _npy_bytes(shape, spec.dtype))
    name = recipe.name(shape)
    try:
        init = starting_centers(
            np.load(samples, mmap_mode="r", allow_pickle=False), spec.n_clusters, spec.seed
        )
        init_file = cache / f"{name}.init.npy"
        init_size, init_digest = _write(
            init_file, _npy(init.shape, spec.dtype, [init]), _npy_bytes(init.shape, spec.dtype)
        )
    except UserError:
        if known is None:
            samples.unlink(missing_ok=True)
        raise
    record = _Record(
        name=name,
        arguments=json.loads(json.dumps(asdict(spec), default=str)),
        generator_version=generate.GENERATOR_VERSION,
        reader_version=readers.READER_VERSION,
        file=samples.name,
        shape=shape,
        dtype=spec.dtype,
        bytes=size,
        sha256=digest,
        init_file=init_file.name,
        init_bytes=init_size,
        init_sha256=init_digest,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        libraries={"python": platform.python_version(), **_versions("numpy", *recipe.libraries)},
    )
    text = json.dumps(asdict(record), indent=2).encode() + b"\n"
    _write(cache / f"{name}.json", [text], len(text))
    return record


def _versions(*names: str) -> dict[str, str]:
    found = {}
    for name in names:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:  # an array needs no library for tables
            continue
    return found


def _read_record(sidecar: Path) -> _Record | None:
    try:
        fields = json.loads(sidecar.read_bytes())
        n_samples, n_features = fields["shape"]
        record = _Record(**{**fields, "shape": (int(n_samples), int(n_features))})
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return record if record.name == sidecar.stem else None


def _damage(record: _Record, cache: Path) -> str | None:
    return _file_damage(cache / record.file, record.bytes, record.sha256) or _file_damage(
        cache / record.init_file, record.init_bytes, record.init_sha256
    )


def _file_damage(path: Path, size: int, digest: str) -> str | None:
    try:
        with path.open("rb") as file:
            found = os.fstat(file.fileno()).st_size
            if found != size:
                return f"{path.name} has {found} bytes of {size}"
            if hashlib.file_digest(file, "sha256").hexdigest() != digest:
                return f"{path.name} has another sha256"
    except OSError as error:
        return f"{path.name} cannot be read ({error.strerror})"
    return None


def _npy(shape: tuple[int, ...], dtype: str, blocks: Iterable[FloatArray]) -> Iterator[memoryview]:
    header = io.BytesIO()
    descr = np.lib.format.dtype_to_descr(np.dtype(dtype))
    np.lib.format.write_array_header_1_0(header, {"descr": descr, "fortran_order": False, "shape": shape})
    yield header.getbuffer()
    for block in blocks:
        yield np.ascontiguousarray(block, dtype=dtype).data.cast("B")


def _npy_bytes(shape: tuple[int, ...], dtype: str) -> int:
    return shape[0] * shape[1] * np.dtype(dtype).itemsize + 128


def _write(path: Path, chunks: Iterable[bytes | memoryview], needed: int) -> tuple[int, str]:
    """Write a file under a temporary name, sync and rename it; return its size and sha256."""
    temporary = path.with_name(f"{path.name}.tmp")
    digest = hashlib.sha256()
    size = 0
    try:
        if (free := shutil.disk_usage(path.parent).free) < needed:
            raise OSError(errno.ENOSPC, f"{free} bytes are free")
        with temporary.open("wb") as file:
            for chunk in chunks:
                file.write(chunk)
                digest.update(chunk)
                size += len(chunk)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise UserError(
                f"{path}: no room for its {needed} bytes ({error.strerror}); free some, "
                "with runner.py data --clear perhaps, or lower --sizes"
            ) from error
        raise
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return size, digest.hexdigest()


@contextlib.contextmanager
def _locked(cache: Path) -> Iterator[None]:
    """Hold the folder's lock, which the system lets go of when its process ends, however it ends."""
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with (cache / ".lock").open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                _log.info("%s: another run is preparing data; waiting for it", cache)
                fcntl.flock(file, fcntl.LOCK_EX)
            yield
    except OSError as error:
        raise UserError(
            f"{cache}: the data cache cannot be written ({error.strerror or error}); make it writable"
        ) from error


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
