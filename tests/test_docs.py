"""The documentation says what is there, and its examples run."""

from __future__ import annotations

import doctest
import inspect
import re
from collections.abc import Callable
from operator import attrgetter
from pathlib import Path
from types import FunctionType, MethodDescriptorType
from typing import Any

import pytest
from numpydoc.validate import validate

import rust_kmeans
import rust_kmeans.dask
import rust_kmeans.workflow.service

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
#: What has a place on the API page, by its name within the package. Whoever writes a kernel for blocks reads
#: the protocols in their module.
LISTED = [
    *rust_kmeans.__all__,
    "dask.KMeans",
    *(f"workflow.{name}" for name in rust_kmeans.workflow.__all__),
    *(f"workflow.service.{name}" for name in rust_kmeans.workflow.service.__all__),
]
EXPORTS = [name for name in LISTED if not name.startswith("_")]

#: Checks of numpydoc left out, and why.
LEFT_OUT = {
    "GL01": "the summary begins on the line of the quotes",
    "GL02": "Rust's docstrings end with their last line, without one of its own for the quotes",
    "PR04": "parameters described together, 'As for `KMeans`', have their types there",
    "SA01": "See Also: the API is one page",
    "ES01": "an extended summary where there is more to say only",
    "EX01": "examples of classes and functions, not of each method",
}


def documented(name: str) -> Any:
    """Return what a name within the package stands for."""
    return attrgetter(name)(rust_kmeans)


def members(name: str, kind: Callable[[object], bool]) -> list[str]:
    """Return the public names of a kind that a class has from here, not from scikit-learn or Python."""
    owner = documented(name)
    if not isinstance(owner, type):
        return []
    ours = [vars(each) for each in owner.__mro__ if each.__module__.startswith("rust_kmeans")]
    return sorted({key for names in ours for key, value in names.items() if key[0] != "_" and kind(value)})


def is_method(value: object) -> bool:
    # In Python and in Rust; scikit-learn's set_fit_request and the like are neither.
    return isinstance(value, FunctionType | MethodDescriptorType)


METHODS = [f"{name}.{method}" for name in EXPORTS for method in members(name, is_method)]


def examples_of(page: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def check_examples(text: str, name: str, names: dict[str, Any]) -> None:
    """Run the examples of a text, which see and leave names."""
    told: list[str] = []
    test = doctest.DocTestParser().get_doctest(text, names, name, None, 0)
    # What one example sets the next one sees.
    test.globs = names
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS, verbose=False)
    assert runner.run(test, out=told.append, clear_globs=False).failed == 0, "".join(told)


def test_the_api_page_lists_all_that_is_exported() -> None:
    page = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\.\. (?:auto|py:)\w+:: rust_kmeans\.([\w.]+)$", page, re.MULTILINE)
    assert sorted(listed) == sorted(LISTED)


def test_the_api_page_lists_all_methods() -> None:
    page = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    classes = re.findall(r"^\.\. autoclass:: rust_kmeans\.([\w.]+)\n +:members: (.*)$", page, re.MULTILINE)
    listed = [f"{name}.{method}" for name, methods in classes for method in methods.split(", ")]
    assert sorted(listed) == sorted(METHODS)


@pytest.mark.parametrize("name", [*EXPORTS, *METHODS])
def test_docstrings_are_numpydoc_s(name: str) -> None:
    found = validate(f"rust_kmeans.{name}")["errors"]
    assert [(code, text) for code, text in found if code not in LEFT_OUT] == []


@pytest.mark.parametrize("name", [name for name in EXPORTS if isinstance(documented(name), type)])
def test_docstrings_name_each_attribute(name: str) -> None:
    owner = documented(name)
    # Those of a named tuple are its parameters.
    text = inspect.getdoc(owner) or ""
    for attribute in members(name, inspect.isdatadescriptor):
        assert re.search(rf"^{attribute} : ", text, re.MULTILINE), attribute


@pytest.mark.parametrize("name", [*EXPORTS, *METHODS])
def test_examples_of_docstrings_run(name: str) -> None:
    check_examples(inspect.getdoc(documented(name)) or "", name, {})


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_examples_of_pages_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Examples may write files.
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for example in examples_of(page):
        if ">>>" in example:
            check_examples(example, page.name, names)
        else:
            exec(compile(example, page.name, "exec"), names)
