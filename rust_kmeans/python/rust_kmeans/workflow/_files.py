"""Files that are whole or not there: written beside their place, then renamed."""

from __future__ import annotations

import os
import secrets
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
    path = Path(path)
    # On the same file system, where renaming is one step. Unlike tempfile's, the file has the usual rights.
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with beside.open("xb") as file:
            file.write(content)
            file.flush()
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
