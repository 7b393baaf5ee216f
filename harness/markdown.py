"""Markdown for a comment on a pull request: cells that stay cells, and tables that are not too long."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

#: GitHub takes 65,536 characters in a comment; what stands around the tables needs some.
COMMENT = 60_000


def row(cells: Iterable[str]) -> str:
    """Return a line of a table; no word in it ends a cell or makes an element of HTML."""
    return f"| {' | '.join(' '.join(_plain(cell).split()) for cell in cells)} |"


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


def _plain(cell: str) -> str:
    return cell.replace("|", "/").replace("<", "&lt;")
