"""What to measure: the grid syntax, frozen scenarios and presets."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Literal

from harness.errors import UserError

Kind = Literal["blobs", "two-gaussians", "mnist", "file"]
#: What a source is that is no file.
SOURCES: dict[str, Kind] = {"blobs": "blobs", "two-gaussians": "two-gaussians", "mnist": "mnist"}
Track = Literal["matched", "default"]
Summary = Literal["tables", "headline", "scaling"]
TRACKS: tuple[Track, ...] = ("matched", "default")
DTYPES = ("float32", "float64")

#: More rows than any machine this is run on could hold; a larger value is a slip of the pen.
MAX_VALUE = 10**12
#: With --quick no generated dataset is larger: proof that everything runs, not a measurement.
QUICK_SIZE = 10_000
#: Limits of generated data beyond which a block of samples or the centers alone fill gigabytes.
MAX_FEATURES = 10**6
MAX_CENTER_ELEMENTS = 10**8
#: More values in one range than anyone would wait for.
MAX_COUNT = 1_000


@dataclass(frozen=True)
class DatasetSpec:
    """Everything that determines the bytes of a dataset.

    Parameters
    ----------
    kind : {"blobs", "two-gaussians", "mnist", "file"}
        The generator or the source.
    n_samples, n_features : int
        Shape of a generated dataset; 0 for real data, whose shape the file decides.
    n_clusters : int
        Number of blobs of a generated dataset, and number of stored starting centers.
    dtype : {"float32", "float64"}
        Type the samples are stored in.
    seed : int
        Seed of the generator and of the draw of starting centers.
    spread : float
        Standard deviation of a blob; the centers lie in a cube of side 20.
    imbalance : float
        Ratio of the largest blob's expected share to the smallest's, at least 1.
    path : Path, optional
        The file of ``kind="file"``.
    columns, drop : tuple of str
        Columns of a table to keep (all numeric ones when empty) and to leave out.
    """

    kind: Kind
    n_samples: int
    n_features: int
    n_clusters: int
    dtype: str = "float32"
    seed: int = 0
    spread: float = 2.0
    imbalance: float = 1.0
    path: Path | None = None
    columns: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()


@dataclass(frozen=True)
class Scenario:
    """One cell of the grid: a dataset and a number of clusters; one CSV file of the results."""

    name: str
    dataset: DatasetSpec

    @property
    def n_clusters(self) -> int:
        """Number of clusters every implementation is asked for."""
        return self.dataset.n_clusters


@dataclass(frozen=True)
class Grid:
    """The values of each axis; the scenarios are their product.

    ``sizes`` and ``dims`` are read for generated data only: a real file has its own shape.
    """

    sizes: tuple[int, ...] = (1_000, 10_000, 100_000, 1_000_000)
    dims: tuple[int, ...] = (10,)
    clusters: tuple[int, ...] = (10,)
    dtypes: tuple[str, ...] = ("float32",)
    seed: int = 0
    spread: float = 2.0
    imbalance: float = 1.0
    source: str = "blobs"
    columns: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()

    def scenarios(self) -> list[Scenario]:
        """Return every cell, smallest first.

        Raises
        ------
        UserError
            If a cell asks for more clusters than samples.
        """
        if self.source == "blobs":
            cells: Iterable[tuple[int, int, int]] = product(self.sizes, self.dims, self.clusters)
        elif self.source == "two-gaussians":
            cells = ((200, 2, k) for k in self.clusters)
        else:
            cells = ((0, 0, k) for k in self.clusters)
        scenarios = []
        for (n, d, k), dtype in product(cells, self.dtypes):
            if n and k > n:
                raise UserError(
                    f"impossible grid: {k} clusters of {n} samples; lower --clusters or raise --sizes"
                )
            if d > MAX_FEATURES or k * d > MAX_CENTER_ELEMENTS:
                raise UserError(f"impossible grid: {k} centers of {d} features; lower --dims or --clusters")
            scenarios.append(self._scenario(n, d, k, dtype))
        return scenarios

    def quick(self) -> Grid:
        """Return the grid without what takes long: no size above `QUICK_SIZE`, or the smallest alone."""
        small = tuple(size for size in self.sizes if size <= QUICK_SIZE)
        return replace(self, sizes=small or self.sizes[:1])

    def narrowed(self, sizes: Sequence[int], dims: Sequence[int], clusters: Sequence[int]) -> Grid | None:
        """Return the part of the grid that has the given values, or None if nothing is left.

        An empty axis asks for nothing. Real data has its own shape, hence none of the sizes and dims.
        """
        if self.source != "blobs" and (sizes or dims):
            return None
        kept = replace(
            self,
            sizes=_common(self.sizes, sizes),
            dims=_common(self.dims, dims),
            clusters=_common(self.clusters, clusters),
        )
        return kept if kept.sizes and kept.dims and kept.clusters else None

    def _scenario(self, n: int, d: int, k: int, dtype: str) -> Scenario:
        generated = self.source in ("blobs", "two-gaussians")
        kind = SOURCES.get(self.source, "file")
        spec = DatasetSpec(
            kind=kind,
            n_samples=n,
            n_features=d,
            n_clusters=k,
            dtype=dtype,
            seed=self.seed,
            spread=self.spread,
            imbalance=self.imbalance,
            path=Path(self.source) if kind == "file" else None,
            columns=self.columns,
            drop=self.drop,
        )
        stem = _slug(Path(self.source).name.split(".")[0]) if kind == "file" else kind
        shape = f"-n{n}-d{d}" if generated else ""
        return Scenario(f"{stem}{shape}-k{k}-{dtype}", spec)


@dataclass(frozen=True)
class Preset:
    """A choice made beforehand; options of the command line narrow it.

    Parameters
    ----------
    grids : tuple of Grid
        What is measured, one after the other.
    quick : tuple of Grid
        What of it ``--quick`` measures.
    tracks : tuple of {"matched", "default"}
        On which tracks.
    implementations : str or None
        Comma-separated names; None for the default ones.
    summary : {"tables", "headline", "scaling"}
        What the run ends with: a table a scenario, or one of the summaries. For that of scaling all is
        measured once for each number of threads of `doublings`.
    """

    grids: tuple[Grid, ...]
    quick: tuple[Grid, ...]
    tracks: tuple[Track, ...] = ("matched",)
    implementations: str | None = None
    summary: Summary = "tables"


#: The seed matrix of the project: n 1e3..1e6, 2 to 100 features, 2 to 30 clusters.
SEED_GRID = Grid(dims=(2, 10, 100), clusters=(2, 10, 30))
#: Files of real data a preset knows by name; of these only MNIST can be fetched.
REAL_FILES = {"mnist": "train-images-idx3-ubyte.gz", "covertype": "covertype_286k.npz"}
#: Ours beside every peer, on every kind of data: what the claims of this project are read from.
HEADLINE = Preset(
    grids=(
        replace(SEED_GRID, dtypes=DTYPES),
        Grid(source="mnist", clusters=(10, 64, 256), dtypes=DTYPES),
        Grid(source="covertype", clusters=(10, 30, 100), dtypes=DTYPES),
        Grid(sizes=(100_000,), dims=(384,), clusters=(1_000,), dtypes=DTYPES),
    ),
    quick=(Grid(sizes=(10_000,)),),
    tracks=TRACKS,
    implementations="rust,sklearn-lloyd,sklearn-elkan,faiss,faiss-default,sklearnex,superkmeans,"
    "superkmeans-default,mlpack-elkan,mlpack-hamerly,mlpack-dualtree",
    summary="headline",
)
#: From one machine to many: everything that runs on Dask beside Spark and the local kernel.
SCALING = Preset(
    grids=(Grid(sizes=(100_000, 1_000_000, 10_000_000), clusters=(10, 30)),),
    quick=(Grid(sizes=(1_000, 10_000)),),
    implementations="rust,dask-rust,dask-numpy,dask-ml,spark",
    summary="scaling",
)
PRESETS = {
    "seed": Preset((SEED_GRID,), (SEED_GRID.quick(),)),
    "headline": HEADLINE,
    "scaling": SCALING,
}


def doublings(most: int) -> tuple[int, ...]:
    """Return 1, 2, 4, ... up to ``most``, which is always the last."""
    counts = [1]
    while counts[-1] * 2 < most:
        counts.append(counts[-1] * 2)
    return tuple(counts) if most == 1 else (*counts, most)


def locate_real(grids: Sequence[Grid], folder: Path | None) -> tuple[tuple[Grid, ...], tuple[str, ...]]:
    """Put files in the place of the names of `REAL_FILES`.

    Parameters
    ----------
    grids : sequence of Grid
        Of a preset.
    folder : Path or None
        Searched for the files, subfolders included.

    Returns
    -------
    grids : tuple of Grid
        Those that can be measured. MNIST is fetched where there is no folder.
    missing : tuple of str
        Names of the data that is left out.

    Raises
    ------
    UserError
        If there is no such folder.
    """
    if folder is not None and not folder.is_dir():
        raise UserError(
            f"--real: no folder {str(folder)!r}; name the one that holds {' or '.join(REAL_FILES.values())}"
        )
    located: list[Grid] = []
    missing: list[str] = []
    for grid in grids:
        name = REAL_FILES.get(grid.source)
        found = min(folder.rglob(name), default=None) if folder is not None and name is not None else None
        if found is not None:
            located.append(replace(grid, source=str(found.resolve())))
        elif name is None or (grid.source == "mnist" and folder is None):
            located.append(grid)
        else:
            missing.append(name)
    return tuple(located), tuple(missing)


def parse_axis(text: str, option: str) -> tuple[int, ...]:
    """Read one axis of the grid.

    Parameters
    ----------
    text : str
        ``1e3,5e3`` (a list), ``1e3..1e6`` (decades) or ``1e3..1e6:7`` (that many values, log-spaced,
        rounded to whole numbers). The forms may be mixed, separated by commas.
    option : str
        Name of the option, for the error.

    Returns
    -------
    tuple of int
        Ascending, without duplicates.

    Raises
    ------
    UserError
        If the text is none of the three forms.
    """
    values: set[int] = set()
    for part in text.split(","):
        low_text, dots, rest = part.partition("..")
        if not dots:
            values.add(_whole(part, option))
            continue
        high_text, colon, count = rest.partition(":")
        low, high = _whole(low_text, option), _whole(high_text, option)
        if low >= high:
            raise UserError(f"{option}: the range {part.strip()!r} is empty; write the smaller value first")
        values.update(_log_spaced(low, high, count, option) if colon else _decades(low, high, option))
    return tuple(sorted(values))


def parse_names(text: str, option: str, known: Sequence[str]) -> tuple[str, ...]:
    """Read a comma-separated list of known words, in the order given.

    Raises
    ------
    UserError
        If a word is not known; the nearest known one is proposed.
    """
    names = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    if not names:
        raise UserError(f"{option}: nothing given; choose from {', '.join(known)}")
    for name in names:
        if name not in known:
            raise UserError(
                f"{option}: unknown {name!r}{_nearest(name, known)}; choose from {', '.join(known)}"
            )
    return names


def _common(own: Sequence[int], asked: Sequence[int]) -> tuple[int, ...]:
    return tuple(value for value in own if not asked or value in asked)


def _whole(text: str, option: str) -> int:
    value = float(text) if re.fullmatch(r"\s*\d+(\.\d+)?([eE]\d+)?\s*", text, re.ASCII) else math.nan
    if not (1 <= value <= MAX_VALUE and value == int(value)):
        raise UserError(
            f"{option}: {text.strip()!r} is not a whole number from 1 to 1e12; "
            "write 1e3,5e3 (a list), 1e3..1e6 (decades) or 1e3..1e6:7 (log-spaced)"
        )
    return int(value)


def _decades(low: int, high: int, option: str) -> list[int]:
    values = [low]
    while values[-1] * 10 <= high:
        values.append(values[-1] * 10)
    if values[-1] != high:
        raise UserError(
            f"{option}: {high} is not a whole number of decades above {low}; "
            f"write {low}..{high}:{len(values) + 1} for log-spaced values"
        )
    return values


def _log_spaced(low: int, high: int, count_text: str, option: str) -> list[int]:
    count = _whole(count_text, option)
    if not 2 <= count <= MAX_COUNT:
        raise UserError(f"{option}: {count} values in a range; ask for 2 to {MAX_COUNT}")
    step = (math.log(high) - math.log(low)) / (count - 1)
    return [low, *(round(low * math.exp(step * i)) for i in range(1, count - 1)), high]


def _nearest(name: str, known: Sequence[str]) -> str:
    import difflib

    close = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower())[:60].strip("-") or "file"
