"""The kernel's threads outlive a fit, but no process."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

PARENT = """
    import os, sys, threading, time
    import numpy as np
    from rust_kmeans import KMeans

    X = np.random.default_rng(0).normal(size=(20_000, 20)).astype("f4")

    def fit():
        return KMeans(30, init=X[:30], n_init=1, max_iter=5, n_threads=2).fit(X).cluster_centers_.tobytes()

    def tasks():
        return set(os.listdir("/proc/self/task"))

    def workers():
        return sum(
            open(f"/proc/self/task/{task}/comm").read().startswith("rust_kmeans") for task in tasks()
        )

    expected = fit()
"""


def run(body: str) -> subprocess.CompletedProcess[str]:
    """Run the body after a fit in a fresh process."""
    script = textwrap.dedent(PARENT) + textwrap.dedent(body)
    return subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_fits_one_after_the_other_share_their_threads_and_at_once_they_do_not_wait() -> None:
    done = run(
        """
        while not workers():
            # A thread has its name once it runs, which no fit waits for.
            time.sleep(0.01)
        assert workers() == 1
        before = tasks()
        assert fit() == expected and tasks() == before
        found = []
        fits = [threading.Thread(target=lambda: found.append(fit())) for _ in range(4)]
        [thread.start() for thread in fits]
        [thread.join() for thread in fits]
        assert found == [expected] * 4
        assert workers() <= 4
        """
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(sys.platform == "win32", reason="no fork")
def test_a_fit_after_a_fork_starts_threads_of_its_own() -> None:
    done = run(
        """
        child = os.fork()
        if child == 0:
            os._exit(0 if fit() == expected else 1)
        assert os.waitpid(child, 0)[1] == 0
        assert fit() == expected
        """
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.fixture
def one_cpu() -> Iterator[Path]:
    """Make a control group with the time of one processor; return the file that a process joins it by."""
    second = Path("/sys/fs/cgroup")
    is_second = (second / "cgroup.controllers").exists()
    group = (second if is_second else second / "cpu") / f"rust-kmeans-{uuid.uuid4().hex}"
    try:
        group.mkdir()
    except OSError as error:
        pytest.skip(f"no control group can be made here: {error.strerror}")
    try:
        if is_second:
            if not (group / "cpu.max").exists():
                pytest.skip("control groups here have no limits of processor time")
            (group / "cpu.max").write_text("100000 100000")
        else:
            (group / "cpu.cfs_period_us").write_text("100000")
            (group / "cpu.cfs_quota_us").write_text("100000")
        yield group / "cgroup.procs"
    finally:
        group.rmdir()


@pytest.mark.skipif(sys.platform != "linux", reason="control groups are Linux's")
@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="one processor is all there is")
def test_a_limit_of_processor_time_limits_the_threads(one_cpu: Path) -> None:
    script = f"""
        import os, pathlib
        pathlib.Path({str(one_cpu)!r}).write_text(str(os.getpid()))
        import rust_kmeans
        print(rust_kmeans.kernel_info()["n_threads"])
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "1", "")
