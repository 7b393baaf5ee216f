"""What one service takes on at most."""

from __future__ import annotations

from dataclasses import dataclass, fields

from rust_kmeans.workflow._errors import WorkflowError


@dataclass(frozen=True)
class Limits:
    """Bounds that keep a service up, whatever it is sent.

    Parameters
    ----------
    max_body : int, default=16 MiB
        Bytes of a request's body.
    max_rows : int, default=1,000,000
        Rows of a request.
    timeout : float, default=10
        Seconds a request may take: its head and its body to arrive, its answer to be found and to be read.
    max_concurrency : int, default=64
        Requests answered at a time; more are turned away and told when to come again.
    max_connections : int, default=512
        Open connections; more are closed at once.

    Raises
    ------
    WorkflowError
        For a limit that is not positive.
    """

    max_body: int = 16 << 20
    max_rows: int = 1_000_000
    timeout: float = 10.0
    max_concurrency: int = 64
    max_connections: int = 512

    def __post_init__(self) -> None:
        for limit in fields(self):
            value = getattr(self, limit.name)
            # Not a number is not positive either.
            if not value > 0:
                msg = f"{limit.name} is {value}: it must be positive."
                raise WorkflowError(msg)
