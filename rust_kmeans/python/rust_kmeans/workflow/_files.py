"""Files that are whole or not there: written beside their place, then renamed."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def write_bytes(path: str | Path, content: bytes) -> None:
    """Write a file so that whoever looks sees the old one or the new one, never a part.

    Parameters
    ----------
    path : str or Path
        Where to; a file there is replaced.
    content : bytes
        All of it.

    Raises
    ------
    OSError
        If it cannot be written; the old file is then as it was.
    """
    with written_beside(path) as beside:
        beside.write_bytes(content)


@contextmanager
def written_beside(path: str | Path) -> Iterator[Path]:
    """Give a path beside the one wanted, to which what is written there is renamed at the end.

    Parameters
    ----------
    path : str or Path
        Where to; a file there is replaced, unless an error comes first.

    Yields
    ------
    Path
        Where to write.

    Raises
    ------
    OSError
        If it cannot be written; the old file is then as it was.
    """
    path = Path(path)
    # On the same file system, where renaming is one step. Unlike tempfile's, the file has the usual rights.
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        beside.touch(exist_ok=False)
        yield beside
        with beside.open("rb+") as file:
            os.fsync(file.fileno())
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    if os.name == "posix":
        # The name is on the disk only when the folder is.
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
