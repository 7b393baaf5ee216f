"""Revisions of this repository side by side: each checked out and built in a folder of its own, then removed.

What is measured of a revision are its kernel and its adapters; the harness that measures is that of this
checkout for all of them, so that a change of the harness cannot pass for one of the kernel.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.environment import ROOT
from harness.errors import UserError
from harness.isolate import PACKAGES

#: Compiled dependencies, shared by all revisions and kept for the next time.
TARGET = ROOT / "target" / "revisions"


@dataclass(frozen=True)
class Checkout:
    """One revision, built.

    Parameters
    ----------
    name : str
        What the user called it.
    commit : str
        Its hash.
    folder : Path
        Its files; ``.packages`` inside holds the package built from them.
    """

    name: str
    commit: str
    folder: Path


def resolve(revision: str, root: Path = ROOT) -> str:
    """Return the hash of the commit that a revision names.

    Raises
    ------
    UserError
        If there is none.
    """
    try:
        return _run(["git", "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}"], root).strip()
    except subprocess.CalledProcessError:
        raise UserError(
            f"{revision!r} is neither a run of results nor a git revision; name two of one kind, "
            "as results/RUN1 results/RUN2 or main HEAD"
        ) from None


def build(folder: Path) -> None:
    """Build the extension and the binary of a checkout, in release mode, from the same locked dependencies.

    Raises
    ------
    subprocess.CalledProcessError
        If a step fails.
    """
    variables = {"CARGO_TARGET_DIR": str(TARGET)}
    release = ("--release", "--locked", "--quiet")
    wheels = folder / "dist"
    _run([sys.executable, "-m", "maturin", "build", *release, "--out", str(wheels)], folder, variables)
    (wheel,) = wheels.glob("*.whl")
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    _run([*install, "--target", str(folder / PACKAGES), str(wheel)], folder)
    _run(["cargo", "build", *release, "--package", "rust_kmeans_cli"], folder, variables)
    built = folder / "target" / "release"
    built.mkdir(parents=True)
    # The next revision is built over it.
    shutil.copy2(TARGET / "release" / "kmeans", built)


@contextlib.contextmanager
def checkouts(
    revisions: Sequence[str], make: Callable[[Path], None] = build, root: Path = ROOT
) -> Iterator[list[Checkout]]:
    """Check out and build revisions, each in a worktree; all are removed at the end, however it comes.

    Parameters
    ----------
    revisions : sequence of str
        As git takes them.
    make : callable
        Builds what was checked out.
    root : Path
        The repository.

    Raises
    ------
    UserError
        If a revision does not exist or cannot be built.
    """
    commits = [resolve(revision, root) for revision in revisions]
    home = Path(tempfile.mkdtemp(prefix="kmeans-revisions-"))
    try:
        found = []
        for number, (revision, commit) in enumerate(zip(revisions, commits, strict=True)):
            folder = home / str(number)
            try:
                _run(["git", "worktree", "add", "--quiet", "--detach", str(folder), commit], root)
                make(folder)
            except subprocess.CalledProcessError as error:
                raise UserError(f"revision {revision} cannot be built: {_reason(error)}") from None
            _take_harness(folder)
            found.append(Checkout(revision, commit, folder))
        yield found
    finally:
        shutil.rmtree(home, ignore_errors=True)
        # Forgets the worktrees whose folders are gone.
        subprocess.run(["git", "worktree", "prune"], cwd=root, check=False)


def _take_harness(folder: Path) -> None:
    """Put the harness of this checkout in the place of the revision's own."""
    shutil.rmtree(folder / "harness", ignore_errors=True)
    shutil.copytree(ROOT / "harness", folder / "harness", ignore=shutil.ignore_patterns("__pycache__"))


def _run(command: Sequence[str], folder: Path, variables: Mapping[str, str] | None = None) -> str:
    """Run a tool and return what it says; an interrupt ends it with all it has started."""
    process = subprocess.Popen(
        command,
        cwd=folder,
        env={**os.environ, **(variables or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        said, complaint = process.communicate()
    except BaseException:
        # Ctrl-C above all: what was started may have ended by itself.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        raise
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command, said, complaint)
    return said


def _reason(error: subprocess.CalledProcessError) -> str:
    """Return the first line in which a tool says what is wrong, or its last."""
    lines = [line.strip() for line in str(error.stderr).splitlines() if line.strip()]
    named = [line for line in lines if "error" in line.lower() or line.startswith("fatal")]
    return (named or lines[-1:] or [f"exit code {error.returncode}"])[0]
