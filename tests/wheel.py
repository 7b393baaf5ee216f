"""Tests a built wheel: ``python -m tests.wheel dist``, where ``dist`` holds one wheel.

The wheel is looked through and installed into an empty environment, and the tests of the library run against
it from a folder where the sources are not.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
#: What the tests of the library import besides the wheel and what it depends on.
TOOLS = ("hypothesis", "pandas", "polars", "pyarrow", "pytest", "rich", "skops")


def check_contents(wheel: Path) -> None:
    """Refuse a wheel that holds anything but the package, or lacks a part of it."""
    if "-cp311-abi3-" not in wheel.name:
        _fail(f"{wheel.name} is no wheel of the stable interface from Python 3.11 on (cp311-abi3)")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    ours = re.compile(r"rust_kmeans/|rust_kmeans-[^/]+\.dist-info/|rust_kmeans\.libs/")
    if strays := [name for name in names if not ours.match(name)]:
        _fail(f"{wheel.name} holds more than rust_kmeans: {strays}")
    for part in (
        r"rust_kmeans/__init__\.py",
        r"rust_kmeans/_core\.(abi3\.so|pyd)",
        r"rust_kmeans/_core\.pyi",
        r"rust_kmeans/py\.typed",
        r"rust_kmeans/workflow/page/explain\.html",
        r"rust_kmeans/workflow/page/explain\.css",
        r"rust_kmeans/workflow/service/page/page\.html",
        r"rust_kmeans/workflow/service/page/page\.css",
        r"rust_kmeans/workflow/service/page/page\.js",
        r"rust_kmeans-[^/]+\.dist-info/licenses/LICENSE",
    ):
        if not any(re.fullmatch(part, name) for name in names):
            _fail(f"{wheel.name} lacks {part}")


def run_tests(wheel: Path) -> int:
    """Run the tests of the library against the wheel; return pytest's exit status."""
    environment = os.environ | {"PIP_CONSTRAINT": str(ROOT / "constraints.txt")}
    for name in ("PYTHONPATH", "VIRTUAL_ENV"):
        environment.pop(name, None)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        venv.create(home / "venv", with_pip=True)
        python = home / "venv" / ("Scripts" if os.name == "nt" else "bin") / "python"
        subprocess.run(
            [python, "-m", "pip", "install", "--quiet", f"{wheel}[dask]", *TOOLS], env=environment, check=True
        )
        shutil.copy(ROOT / "pyproject.toml", home)
        shutil.copytree(
            ROOT / "tests" / "library",
            home / "tests" / "library",
            ignore=shutil.ignore_patterns("__pycache__"),
        )
        # Without it the tests would be a package of another name, which Dask's workers do not find.
        shutil.copy(ROOT / "tests" / "__init__.py", home / "tests")
        where = "import pathlib, rust_kmeans; print(pathlib.Path(rust_kmeans.__file__).resolve())"
        found = subprocess.run(
            [python, "-c", where], cwd=home, env=environment, check=True, capture_output=True, text=True
        ).stdout
        if not found.startswith(str((home / "venv").resolve())):
            _fail(f"rust_kmeans is imported from {found.strip()}, not from the wheel")
        return subprocess.run(
            [python, "-m", "pytest", "tests"], cwd=home, env=environment, check=False
        ).returncode


def _fail(message: str) -> None:
    raise SystemExit(f"error: {message}")


def main() -> int:
    """Check the one wheel of a folder and run the tests."""
    folder = Path(sys.argv[1])
    wheels = sorted(folder.resolve().glob("*.whl"))
    if len(wheels) != 1:
        _fail(f"{folder} holds {len(wheels)} wheels: one is needed, `make wheel` builds it")
    check_contents(wheels[0])
    return run_tests(wheels[0])


if __name__ == "__main__":
    sys.exit(main())
