"""The state of the extension module ``rust_kmeans``: whether it is there, and a build worth measuring."""

from __future__ import annotations

import importlib
from typing import Any

BUILD_COMMAND = "make kernel"


def refusal() -> str | None:
    """Return None, or why the extension must not be measured and the command that helps."""
    try:
        profile = _info()["profile"]
    except (ImportError, AttributeError) as error:
        # Without a build, the source folder of the same name is found instead, as an empty namespace package.
        return f"the extension is not built ({error}); run: {BUILD_COMMAND}"
    if profile != "release":
        return f"the extension is a {profile} build, which is many times slower; run: {BUILD_COMMAND}"
    return None


def isa() -> str | None:
    """Return the instruction set the kernel chose on this machine."""
    chosen = _info().get("isa")
    return None if chosen is None else str(chosen)


def _info() -> dict[str, Any]:
    info: dict[str, Any] = importlib.import_module("rust_kmeans").kernel_info()
    return info
