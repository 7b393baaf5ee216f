"""The workflows: few rights, pinned actions, every system and Python, nothing that does not run here too."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / ".github" / "workflows"
FILES = sorted(FOLDER.glob("*.yml"))
#: Jobs that call no target of the Makefile, and why.
WITHOUT_TARGET = {
    ("bench", "comment"): "may write, hence runs nothing of the checkout",
    ("bench", "issue"): "may write, hence runs nothing of the checkout",
}


def workflow(path: Path) -> dict[str, Any]:
    """Return a workflow; YAML reads its key `on` as a truth value."""
    content: dict[Any, Any] = yaml.safe_load(path.read_text())
    return {("on" if key is True else key): value for key, value in content.items()}


def jobs() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path in FILES:
        for name, job in workflow(path)["jobs"].items():
            yield path.stem, name, job


JOBS = [pytest.param(file, name, job, id=f"{file}-{name}") for file, name, job in jobs()]


def targets() -> set[str]:
    """Return the targets that the Makefile declares."""
    text = (ROOT / "Makefile").read_text().replace("\\\n", " ")
    (names,) = re.findall(r"^\.PHONY: (.*)$", text, re.MULTILINE)
    return set(names.split())


def called(job: dict[str, Any]) -> set[str]:
    """Return the targets of the Makefile that a job calls."""
    commands = " ".join(step.get("run", "") for step in job["steps"])
    return {word for words in re.findall(r"\bmake((?: [a-z-]+)+)", commands) for word in words.split()}


def test_there_are_workflows_for_the_tests_the_bench_and_the_wheels() -> None:
    assert [path.stem for path in FILES] == ["bench", "ci", "nightly", "wheels"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_action_is_pinned_by_its_hash_with_the_version_beside(path: Path) -> None:
    used = re.findall(r"uses: *(.*)", path.read_text())
    assert used
    for one in used:
        assert re.fullmatch(r"[\w.-]+/[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", one), one


def test_an_action_has_one_version_in_all_workflows() -> None:
    used = {one for path in FILES for one in re.findall(r"uses: *(.*)", path.read_text())}
    assert len(used) == len({one.split("@")[0] for one in used})


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_workflow_as_a_whole_may_read_at_most(path: Path) -> None:
    assert workflow(path)["permissions"] in ({}, {"contents": "read"})


@pytest.mark.parametrize(("file", "name", "job"), JOBS)
def test_a_job_that_may_write_runs_nothing_of_the_checkout(file: str, name: str, job: dict[str, Any]) -> None:
    if "write" in job.get("permissions", {}).values():
        assert not any("checkout" in step.get("uses", "") for step in job["steps"])
        assert not any("make" in step.get("run", "") for step in job["steps"])


@pytest.mark.parametrize(("file", "name", "job"), JOBS)
def test_a_job_has_a_time_limit_and_leaves_no_credentials_behind(
    file: str, name: str, job: dict[str, Any]
) -> None:
    assert job["timeout-minutes"] <= 90
    for step in job["steps"]:
        if "checkout" in step.get("uses", ""):
            assert step["with"]["persist-credentials"] is False


@pytest.mark.parametrize(("file", "name", "job"), JOBS)
def test_a_job_calls_a_target_of_the_makefile(file: str, name: str, job: dict[str, Any]) -> None:
    assert called(job) <= targets()
    assert bool(called(job)) != ((file, name) in WITHOUT_TARGET)


def test_some_job_calls_every_target_that_tests() -> None:
    tests = {name for name in targets() if name.startswith("test-")} | {"lint", "docs", "memcheck"}
    assert tests <= {name for _, _, job in jobs() for name in called(job)}


def test_every_python_that_the_package_allows_is_tested_on_every_system() -> None:
    tests = workflow(FOLDER / "ci.yml")["jobs"]
    for name in ("linux", "elsewhere"):
        assert tests[name]["strategy"]["matrix"]["python"] == ["3.11", "3.12", "3.13", "3.14"]
    runners = tests["linux"]["strategy"]["matrix"]
    assert {*runners["runner"], *(more["runner"] for more in runners["include"])} == {
        "ubuntu-24.04",
        "ubuntu-24.04-arm",
    }
    assert {system.split("-")[0] for system in tests["elsewhere"]["strategy"]["matrix"]["system"]} == {
        "macos",
        "windows",
    }


def test_the_oldest_rust_tested_is_the_one_that_is_promised() -> None:
    promised = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]["rust-version"]
    assert workflow(FOLDER / "ci.yml")["jobs"]["oldest-rust"]["env"]["RUSTUP_TOOLCHAIN"] == promised


def test_the_kernel_is_tested_without_vector_instructions() -> None:
    assert workflow(FOLDER / "ci.yml")["jobs"]["scalar"]["env"] == {"RUST_KMEANS_ISA": "scalar"}


def test_what_takes_long_is_tested_at_night_and_for_no_pull_request() -> None:
    assert set(workflow(FOLDER / "nightly.yml")["on"]) == {"schedule", "workflow_dispatch"}


def test_the_nightly_measurement_is_part_of_no_pull_request() -> None:
    bench = workflow(FOLDER / "bench.yml")
    assert "schedule" in bench["on"]
    assert bench["jobs"]["nightly"]["if"] == "github.event_name != 'pull_request'"
    assert bench["jobs"]["issue"]["needs"] == "nightly"
