"""What `tests/wheel.py` asks of a wheel before it is installed."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from tests.wheel import check_contents

WHOLE = [
    "rust_kmeans/__init__.py",
    "rust_kmeans/_core.abi3.so",
    "rust_kmeans/_core.pyi",
    "rust_kmeans/py.typed",
    "rust_kmeans/workflow/page/explain.html",
    "rust_kmeans/workflow/page/explain.css",
    "rust_kmeans/workflow/service/page/page.html",
    "rust_kmeans/workflow/service/page/page.css",
    "rust_kmeans/workflow/service/page/page.js",
    "rust_kmeans-0.1.0.dist-info/METADATA",
    "rust_kmeans-0.1.0.dist-info/licenses/LICENSE",
]


def built(folder: Path, names: list[str], tag: str = "cp311-abi3") -> Path:
    wheel = folder / f"rust_kmeans-0.1.0-{tag}-manylinux_2_17_x86_64.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name in names:
            archive.writestr(name, "")
    return wheel


def test_a_whole_wheel_is_accepted(tmp_path: Path) -> None:
    check_contents(built(tmp_path, WHOLE))


@pytest.mark.parametrize("part", [name for name in WHOLE if "METADATA" not in name])
def test_a_wheel_that_lacks_a_part_is_refused(tmp_path: Path, part: str) -> None:
    with pytest.raises(SystemExit, match="lacks"):
        check_contents(built(tmp_path, [name for name in WHOLE if name != part]))


def test_a_wheel_that_holds_the_bench_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"holds more than rust_kmeans.*harness/bench"):
        check_contents(built(tmp_path, [*WHOLE, "harness/bench.py"]))


def test_a_wheel_for_one_python_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="stable interface"):
        check_contents(built(tmp_path, WHOLE, tag="cp311-cp311"))
