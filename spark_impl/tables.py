"""Tables in and out of Spark: CSV and Parquet become a column of vectors, a dataset becomes Parquet."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from harness.datasets import Dataset

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

#: Name of the column of vectors, MLlib's own default.
FEATURES = "features"
#: Name of the column that numbers the samples: Spark promises no order of rows.
ROW = "row"
#: Rows of a row group, at most: the smallest part of a Parquet file that a task can read.
MAX_GROUP_ROWS = 1 << 16


def read(spark: SparkSession, path: Path, columns: Sequence[str] = (), keep: Sequence[str] = ()) -> DataFrame:
    """Return a file of numbers as a Spark data frame with a column of vectors.

    Parameters
    ----------
    spark : pyspark.sql.SparkSession
        The session.
    path : Path
        ``.parquet``, or ``.csv`` and ``.csv.gz`` with a line of names; read by Spark itself.
    columns : sequence of str
        Columns that make a vector, in this order; all numeric ones but ``keep`` when empty.
    keep : sequence of str
        Columns that stand beside the vectors in the result.

    Returns
    -------
    pyspark.sql.DataFrame
        The column `FEATURES`, float64 whatever the file holds, and ``keep``. Lazy: a missing value is an
        error of Spark's when the rows are read.

    Raises
    ------
    ValueError
        If the file has another format, or no such numeric columns.
    """
    from pyspark.ml.feature import VectorAssembler
    from pyspark.sql.types import NumericType

    name = path.name.lower()
    if name.endswith(".parquet"):
        table = spark.read.parquet(str(path))
    elif name.endswith((".csv", ".csv.gz")):
        table = spark.read.csv(str(path), header=True, inferSchema=True)
    else:
        raise ValueError(f"{path}: unknown format; give .csv, .csv.gz or .parquet")
    numeric = [field.name for field in table.schema if isinstance(field.dataType, NumericType)]
    chosen = list(columns) or [column for column in numeric if column not in keep]
    unfit = [column for column in chosen if column not in numeric]
    if unfit or not chosen:
        what = f"no numeric column {unfit[0]!r}" if unfit else "no numeric column"
        raise ValueError(f"{path}: {what}; it has {', '.join(numeric) or 'none'}")
    assembler = VectorAssembler(inputCols=chosen, outputCol=FEATURES, handleInvalid="error")
    return assembler.transform(table).select(FEATURES, *keep)


def write(dataset: Dataset, path: Path, n_parts: int) -> None:
    """Write a dataset as Parquet, a column a feature and the column `ROW`.

    Parameters
    ----------
    dataset : Dataset
        The samples; they are mapped, and a row group of them is in memory at a time.
    path : Path
        The file.
    n_parts : int
        Tasks that shall have something to read.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    samples = dataset.memmap()
    step = max(1, min(MAX_GROUP_ROWS, -(-dataset.n_samples // n_parts)))
    kind = pa.from_numpy_dtype(samples.dtype)
    schema = pa.schema([(f"x{j}", kind) for j in range(dataset.n_features)] + [(ROW, pa.int64())])
    with pq.ParquetWriter(path, schema, compression="none", use_dictionary=False) as file:
        for first in range(0, dataset.n_samples, step):
            block = np.asarray(samples[first : first + step])
            arrays = [pa.array(np.ascontiguousarray(column)) for column in block.T]
            rows = pa.array(np.arange(first, first + len(block)))
            file.write_table(pa.table([*arrays, rows], schema=schema), row_group_size=step)
