"""What the figures were measured on: machine, CPU features, library versions, commit."""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).resolve().parent.parent
LIBRARIES = (
    "numpy",
    "scipy",
    "scikit-learn",
    "rust-kmeans",
    "dask",
    "distributed",
    "dask-ml",
    "pandas",
    "pyarrow",
    "threadpoolctl",
    "faiss-cpu",
    "mlpack",
    "scikit-learn-intelex",
    "superkmeans",
    "pyspark",
)
#: Facts that a run has anew each time it is resumed.
OF_A_SESSION = ("commit", "uncommitted_changes", "load_average")
#: CPU features that decide which kernel runs.
FEATURES = (
    "sse2",
    "avx",
    "avx2",
    "fma",
    "avx512f",
    "avx512dq",
    "avx512bw",
    "avx512vl",
    "avx512_vnni",
    "asimd",
    "sve",
)


def describe() -> dict[str, Any]:
    """Return the facts a reader needs to judge or repeat a run, as JSON values."""
    commit = _git("rev-parse", "HEAD")
    return {
        "cpu": _cpu_model(),
        "cpu_features": [name for name in FEATURES if name in _cpu_flags()],
        "cores": usable_cores(),
        "memory_bytes": psutil.virtual_memory().total,
        "system": platform.platform(),
        "python": platform.python_version(),
        "libraries": _library_versions(),
        "commit": commit,
        "uncommitted_changes": bool(_git("status", "--porcelain")) if commit else None,
        "load_average": list(os.getloadavg()) if hasattr(os, "getloadavg") else None,
    }


def usable_cores() -> int:
    """Return the number of cores this process may use (its affinity where the system has one)."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def fingerprint(facts: Mapping[str, Any]) -> str:
    """Return a digest of all that may change a figure: machine, libraries, our sources and binaries.

    A run is resumed only under the same fingerprint, so that rows of two builds never mix.
    """
    digest = hashlib.sha256()
    stable = {key: facts[key] for key in ("cpu", "cores", "memory_bytes", "system", "python", "libraries")}
    digest.update(json.dumps(stable, sort_keys=True).encode())
    for path in _measured_files():
        digest.update(path.name.encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def one_line(facts: Mapping[str, Any]) -> str:
    """Return the machine in a line, for the terminal and the tables."""
    features = facts["cpu_features"]
    widest = next(
        (name for name in ("avx512_vnni", "avx512f", "avx2", "asimd") if name in features), "no SIMD known"
    )
    return (
        f"{facts['cpu']}, {facts['cores']} cores, {widest}, {facts['memory_bytes'] / 2**30:.0f} GiB, "
        f"{facts['system'].split('-')[0]}, Python {facts['python']}, "
        f"scikit-learn {facts['libraries'].get('scikit-learn', 'missing')}"
    )


def _measured_files() -> list[Path]:
    sources = sorted(ROOT.glob("harness/*.py")) + sorted(ROOT.glob("*_impl/*.py"))
    package = importlib.util.find_spec("rust_kmeans")
    built: list[Path] = []
    for folder in (package.submodule_search_locations or []) if package else []:
        built += sorted(Path(folder).glob("_core.*")) + sorted(Path(folder).glob("*.py"))
    binary = Path(os.environ.get("RUST_KMEANS_CLI") or ROOT / "target" / "release" / "kmeans")
    return sources + built + ([binary] if binary.is_file() else [])


def _library_versions() -> dict[str, str]:
    versions = {}
    for name in LIBRARIES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def _cpu_model() -> str:
    if sys.platform == "linux":
        match = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
        if match:
            return match[1].strip()
    return platform.processor() or platform.machine()


def _cpu_flags() -> set[str]:
    if sys.platform != "linux":
        return set()
    match = re.search(r"^(?:flags|Features)\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return set(match[1].split()) if match else set()


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
