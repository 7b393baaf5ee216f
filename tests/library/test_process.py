"""What only a process of its own shows: Ctrl-C, memory that runs out, memory that is needed."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

INTERRUPTED = """
    import os, signal, sys, threading, time
    import numpy as np
    from rust_kmeans import KMeans, kmeans_sweep

    X = np.random.default_rng(0).random((200_000, 32), dtype=np.float32)
    started = threading.Event()
    calls = 0

    def rows(X, n_clusters, random_state):
        global calls
        calls += 1
        if calls == 10:
            started.set()
        return X[random_state.choice(len(X), n_clusters, replace=False)]

    def interrupt():
        started.wait()
        # By now all runs have their starting centers: whatever computes after this is the kernel.
        begun = time.process_time()
        while time.process_time() < begun + 0.5:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    settings = {"init": rows, "max_iter": 10**9, "tol": 0, "random_state": 0}
    try:
        {fit}
    except KeyboardInterrupt:
        # Who goes on can fit again.
        again = KMeans(2, init=X[:2], max_iter=1).fit(X)
        assert again.n_iter_ == 1
        print("interrupted")
"""


def run(script: str, *, timeout: float = 100) -> subprocess.CompletedProcess[str]:
    """Run a script in a fresh process."""
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


# Without an answer to the signal these fits go on for many minutes.
@pytest.mark.skipif(sys.platform == "win32", reason="sends a signal")
@pytest.mark.parametrize(
    "fit",
    [
        "KMeans(400, n_init=10, **settings).fit(X)",
        "kmeans_sweep(X, range(395, 405), n_init=1, **settings)",
    ],
)
def test_ctrl_c_ends_runs_that_share_their_passes(fit: str) -> None:
    done = run(INTERRUPTED.replace("{fit}", fit))
    assert (done.returncode, done.stdout, done.stderr) == (0, "interrupted\n", "")


STARVED = """
    import resource
    import numpy as np
    from rust_kmeans import KMeans, kmeans_sweep

    X = np.random.default_rng(0).random((400_000, 4), dtype=np.float32)

    def fit():
        {fit}
        return [model.cluster_centers_.tobytes() for model in models]

    # The threads and what is imported late come before there is little memory.
    expected = fit()
    outcomes = []
    for room in (0, 1, 2, 4, 8, 16, 32, 64, 512):
        with open("/proc/self/statm") as statm:
            in_use = int(statm.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (in_use + (room << 20), resource.RLIM_INFINITY))
        try:
            outcomes.append(fit() == expected)
        except MemoryError:
            outcomes.append("MemoryError")
        finally:
            resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY,) * 2)
    print(outcomes)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits the address space")
@pytest.mark.parametrize(
    "fit",
    [
        "models = [KMeans(6, n_init=10, max_iter=3, random_state=0, n_threads=2).fit(X)]",
        "models = kmeans_sweep(X, range(2, 8), max_iter=3, random_state=0, n_threads=2)",
    ],
)
def test_memory_that_runs_out_anywhere_in_shared_passes_is_a_memory_error(fit: str) -> None:
    done = run(STARVED.replace("{fit}", fit))
    assert (done.returncode, done.stderr) == (0, "")
    outcomes = done.stdout.strip().strip("[]").split(", ")
    assert set(outcomes) == {"'MemoryError'", "True"}
    # Little is too little, much is enough, and nothing that failed in between has left anything behind.
    assert outcomes[0] == "'MemoryError'"
    assert outcomes[-1] == "True"


@pytest.mark.skipif(sys.platform != "linux", reason="reads VmHWM")
def test_seeding_takes_a_few_bytes_a_sample_and_copies_nothing() -> None:
    done = run("""
        import numpy as np
        from rust_kmeans import kmeans_plusplus

        def peak():
            with open("/proc/self/status") as status:
                return next(int(line.split()[1]) << 10 for line in status if line.startswith("VmHWM"))

        X = np.random.default_rng(0).standard_normal((1_000_000, 10), dtype=np.float32)
        # What is imported late and the threads.
        kmeans_plusplus(X[:10_000], 10, random_state=0, n_threads=2)
        before = peak()
        kmeans_plusplus(X, 10, random_state=0, n_threads=2)
        print(peak() - before)
    """)
    assert (done.returncode, done.stderr) == (0, "")
    # 22 by design (docs/kernel.md); a copy of X would be 40.
    assert 12 * 1_000_000 <= int(done.stdout) <= 32 * 1_000_000
