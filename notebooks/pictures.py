"""What the notebooks of pictures show: clusters of handwritten digits, and a photograph in few colours."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sklearn.datasets import fetch_openml, load_sample_image

from harness.figures import STYLE
from harness.readers import read
from rust_kmeans import KMeans, MiniBatchKMeans
from rust_kmeans.workflow import Quality, majority_labels, quality

ROOT = Path(__file__).resolve().parent.parent
#: Names a folder that holds MNIST as four IDX files; without it MNIST is fetched once from OpenML.
MNIST_VARIABLE = "KMEANS_MNIST"
#: Most training images to take, and most of the test; without it all 60,000 and 10,000.
SAMPLES_VARIABLE = "KMEANS_MNIST_SAMPLES"
#: Pixels of a side.
SIDE = 28
_TRAINING_IMAGES = 60_000


class Digits(NamedTuple):
    """MNIST: images as rows of 784 pixels from 0 to 255, float32, and the digits they show."""

    X_train: NDArray[np.float32]
    y_train: NDArray[np.int64]
    X_test: NDArray[np.float32]
    y_test: NDArray[np.int64]


def digits() -> Digits:
    """Return MNIST from the folder named by ``KMEANS_MNIST``, else from OpenML.

    Notes
    -----
    Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, Gradient-based learning applied to document recognition,
    Proceedings of the IEEE 86 (1998). OpenML lists the 60,000 training images before the 10,000 of the test.
    """
    folder = os.environ.get(MNIST_VARIABLE)
    if folder:
        images = [_idx(folder, f"{part}-images-idx3-ubyte.gz") for part in ("train", "t10k")]
        shown = [_idx(folder, f"{part}-labels-idx1-ubyte.gz", "0").ravel() for part in ("train", "t10k")]
    else:
        bunch = fetch_openml("mnist_784", version=1, as_frame=False, data_home=str(ROOT / "data" / "openml"))
        images = np.split(bunch.data.astype(np.float32), [_TRAINING_IMAGES])
        shown = np.split(bunch.target, [_TRAINING_IMAGES])
    most = int(os.environ.get(SAMPLES_VARIABLE, _TRAINING_IMAGES))
    (X_train, X_test), (y_train, y_test) = images, shown
    return Digits(X_train[:most], y_train[:most].astype(int), X_test[:most], y_test[:most].astype(int))


def timed(model: KMeans | MiniBatchKMeans, X: NDArray[Any]) -> float:
    """Fit a model and return how long it took, in seconds."""
    start = time.perf_counter()
    model.fit(X)
    return time.perf_counter() - start


def by_clusters(data: Digits, n_clusters: Iterable[int] = (10, 16, 64, 256)) -> pd.DataFrame:
    """Fit the training images in mini-batches into different numbers of clusters.

    Returns
    -------
    DataFrame
        A line for each number: the fitted ``model``, ``seconds`` of the fit, and ``inertia``.
    """
    models = [MiniBatchKMeans(k, batch_size=4_096, random_state=0) for k in n_clusters]
    seconds = [timed(model, data.X_train) for model in models]
    return pd.DataFrame(
        {"model": models, "seconds": seconds, "inertia": [model.inertia_ for model in models]},
        index=pd.Index([model.n_clusters for model in models], name="clusters"),
    )


def tested(model: KMeans | MiniBatchKMeans, data: Digits) -> Quality:
    """Return the quality on the test images; a cluster is read as what most of its training images show."""
    majority = majority_labels(model.labels_, data.y_train, model.n_clusters)
    centers = model.cluster_centers_
    return quality(data.X_test, model.predict(data.X_test), centers, data.y_test, majority=majority)


def draw_digits(centers: NDArray[Any], titles: Sequence[object], *, columns: int = 16) -> Figure:
    """Draw centers as images with a word above each."""
    lines = -(-len(centers) // columns)
    columns = min(columns, len(centers))
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(0.6 * columns, 0.75 * lines), layout="constrained")
        panels = figure.subplots(lines, columns, squeeze=False).ravel()
        for panel in panels:
            panel.set_axis_off()
        for panel, center, title in zip(panels, centers, titles, strict=False):
            panel.imshow(center.reshape(SIDE, SIDE), cmap="gray_r")
            panel.set_title(str(title))
    return figure


class Quantised(NamedTuple):
    """A picture in few colours: pixels from 0 to 255, how many colours, and seconds to find them."""

    pixels: NDArray[np.uint8]
    n_colors: int
    seconds: float


def photograph(name: str = "china.jpg") -> NDArray[np.uint8]:
    """Return a photograph that comes with scikit-learn, shape (height, width, 3), from 0 to 255."""
    pixels: NDArray[np.uint8] = load_sample_image(name)
    return pixels


def quantised(image: NDArray[np.uint8], n_colors: int) -> Quantised:
    """Return an image in the `n_colors` colours that are nearest to its own in the mean square.

    Every pixel counts, and the time is that of the fit, which gives each pixel its colour as well.
    """
    pixels = image.reshape(-1, 3).astype(np.float32)
    model = KMeans(n_colors, random_state=0)
    seconds = timed(model, pixels)
    colors = np.rint(model.cluster_centers_).astype(np.uint8)
    return Quantised(colors[model.labels_].reshape(image.shape), n_colors, seconds)


def draw_colors(image: NDArray[np.uint8], n_colors: Iterable[int] = (64, 16, 4)) -> Figure:
    """Draw an image as it is and in few colours."""
    few = [quantised(image, count) for count in n_colors]
    distinct = len(np.unique(image.reshape(-1, 3), axis=0))
    titles = [f"original: {distinct:,} colours"]
    titles += [f"{one.n_colors} colours, {one.seconds:.2f} s" for one in few]
    lines = -(-len(titles) // 2)
    with mpl.rc_context({**STYLE, "axes.grid": False}):
        figure = Figure(figsize=(8.4, 3.0 * lines), layout="constrained")
        panels = figure.subplots(lines, 2, squeeze=False).ravel()
        for panel in panels:
            panel.set_axis_off()
        for panel, pixels, title in zip(panels, [image, *(one.pixels for one in few)], titles, strict=False):
            panel.imshow(pixels)
            panel.set_title(title)
    return figure


def _idx(folder: str, name: str, *columns: str) -> NDArray[Any]:
    return read(Path(folder) / name, dtype="float32", columns=columns)
