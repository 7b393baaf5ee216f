"""Data flows one way: no step of the bench imports a later one, and no implementation imports the bench."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
STEPS = (
    "errors",
    "scenario",
    "generate",
    "readers",
    "datasets",
    "contract",
    "registry",
    "environment",
    "memory",
    "worker",
    "isolate",
    "referee",
    "record",
    "bench",
    "terminal",
    "headline",
    "scaling",
    "stats",
    "analysis",
    "markdown",
    "report",
    "figures",
    "explore",
    "revisions",
    "compare",
    "versions",
    "history",
)
#: What an implementation may know of the bench.
CONTRACT = {"harness.contract", "harness.datasets"}
#: Beside the implementations and no part of them: programs that write rows of the bench, as its runner does.
PROGRAMS = {"dask_impl/comparison.py", "dask_impl/run_local.py", "dask_impl/run_cluster.py"}
FILES = {path.relative_to(ROOT).as_posix(): path for path in ROOT.glob("*_impl/*.py")}
IMPLEMENTATIONS = [path for name, path in sorted(FILES.items()) if name not in PROGRAMS]


def imports(path: Path) -> set[str]:
    """Return every module a file imports, ``from package import module`` spelled out."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def test_every_file_of_the_harness_has_its_place_in_the_order() -> None:
    files = {path.stem for path in (ROOT / "harness").glob("*.py")} - {"__init__"}
    assert files == set(STEPS)


@pytest.mark.parametrize("step", STEPS)
def test_a_step_imports_only_earlier_ones(step: str) -> None:
    later = {f"harness.{name}" for name in STEPS[STEPS.index(step) :]}
    assert not imports(ROOT / "harness" / f"{step}.py") & later


@pytest.mark.parametrize("step", STEPS)
def test_the_harness_names_no_implementation(step: str) -> None:
    packages = {module.split(".")[0] for module in imports(ROOT / "harness" / f"{step}.py")}
    assert not {name for name in packages if name.endswith("_impl") or name == "rust_kmeans"}


@pytest.mark.parametrize("path", IMPLEMENTATIONS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_an_implementation_knows_the_contract_alone(path: Path) -> None:
    of_harness = {module for module in imports(path) if module.startswith("harness.")}
    modules = {".".join(module.split(".")[:2]) for module in of_harness}
    assert modules <= CONTRACT


@pytest.mark.parametrize("path", IMPLEMENTATIONS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_no_implementation_knows_the_programs(path: Path) -> None:
    assert not imports(path) & {name.removesuffix(".py").replace("/", ".") for name in PROGRAMS}


def test_the_installed_package_does_not_know_the_checkout() -> None:
    for path in (ROOT / "rust_kmeans" / "python").rglob("*.py"):
        packages = {module.split(".")[0] for module in imports(path)}
        assert not {name for name in packages if name == "harness" or name.endswith("_impl")}
