"""Dask: our driver over block kernels, and dask-ml."""
