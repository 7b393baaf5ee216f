"""Markdown for a comment on a pull request: words that stay words, and tables that are not too long."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

#: GitHub takes 65,536 characters in a comment; what stands around the tables needs some.
COMMENT = 60_000


def row(cells: Iterable[str]) -> str:
    """Return a line of a table, each cell as `plain` returns it."""
    return f"| {' | '.join(map(plain, cells))} |"


def plain(text: str) -> str:
    """Return names and reasons as one line that ends no cell and makes no element of HTML."""
    return " ".join(text.replace("|", "/").replace("<", "&lt;").split())


def code(text: str) -> str:
    """Return a command as code, between more backticks than stand together in it."""
    longest = max(map(len, re.findall("`+", text)), default=0)
    fence, space = "`" * (longest + 1), " " if longest else ""
    return f"{fence}{space}{' '.join(text.split())}{space}{fence}"


def shortened(lines: Sequence[str], room: int, what: str) -> list[str]:
    """Return as many lines of a table as there is room for, and below it how many are left out.

    Parameters
    ----------
    lines : sequence of str
        Of the table; the first two are its head.
    room : int
        Characters they may take.
    what : str
        What a line is, and where the others are found: "cells stand in the page".
    """
    used = 0
    for kept, line in enumerate(lines):
        used += len(line) + 1
        if used > room and kept >= 2:
            return [*lines[:kept], "", f"{len(lines) - kept} more {what}."]
    return list(lines)
