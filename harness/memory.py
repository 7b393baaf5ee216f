"""Peak memory of one process or of a process tree, in bytes of resident set.

Two methods, both recorded. Polling (psutil) sees a whole tree but misses what lives shorter than its
interval. The kernel's high-water mark of a single process (``VmHWM`` on Linux) misses nothing; it is reset
right before the fit where ``/proc/self/clear_refs`` may be written. ``ru_maxrss`` is not used: it can carry
the peak of the process that started the child.
"""

from __future__ import annotations

import os
from pathlib import Path

import psutil

#: How often the parent looks at the tree, in seconds.
POLL_SECONDS = 0.02
#: Whether the kernel names a process's children. Where it does not, psutil reads the whole process table, and
#: what is measured loses a millisecond of a core at every look.
LISTS_CHILDREN = Path(f"/proc/self/task/{os.getpid()}/children").exists()
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def tree_rss_bytes(pid: int) -> int:
    """Return the summed resident set of a process and all its descendants.

    Pages shared between processes count once for each, so a tree's figure is an upper bound.
    Processes that end while they are looked at count as nothing.
    """
    if LISTS_CHILDREN:
        return _proc_tree_rss_bytes(pid)
    try:
        root = psutil.Process(pid)
        members = [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0
    total = 0
    for member in members:
        try:
            total += member.memory_info().rss
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return total


def _proc_tree_rss_bytes(pid: int) -> int:
    process = Path(f"/proc/{pid}")
    try:
        total = int((process / "statm").read_text().split()[1]) * PAGE_BYTES
        children = [child for task in (process / "task").iterdir() for child in _children(task)]
    except OSError:
        return 0
    return total + sum(_proc_tree_rss_bytes(child) for child in children)


def _children(task: Path) -> list[int]:
    try:
        return [int(child) for child in (task / "children").read_text().split()]
    except OSError:
        return []


def reset_high_water_mark() -> bool:
    """Set this process's ``VmHWM`` to its present resident set; False where the system does not allow it."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def high_water_mark_bytes() -> int | None:
    """Return this process's peak resident set since start or reset, or None where there is no ``VmHWM``."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return None
    for line in status.splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return None
