"""What goes wrong with a cluster, as one error: what, where, and what to do."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import distributed
from distributed.comm import CommClosedError
from distributed.scheduler import NoValidWorkerError

if TYPE_CHECKING:
    from distributed import Client


@contextmanager
def explained(client: Client | None) -> Iterator[None]:
    """Say what the errors of a cluster mean; let all others pass.

    Raises
    ------
    RuntimeError
        If a task ended its worker again and again, or scheduler or workers are gone.
    """
    try:
        yield
    except distributed.KilledWorker as error:
        msg = (
            f"A task of the fit ended its worker {error.allowed_failures + 1} time(s), at last "
            f"{error.last_worker.address}: most often it needs more memory than a worker has. Give workers "
            "more memory, make the chunks of X smaller, or read the worker's log for another reason."
        )
        raise RuntimeError(msg) from error
    except NoValidWorkerError as error:
        msg = f"No worker can run the fit: {error}. Start workers, then call fit again."
        raise RuntimeError(msg) from error
    except (CancelledError, CommClosedError, KeyError) as error:
        if isinstance(error, KeyError) and (client is None or client.status == "running"):
            raise
        # A client whose cluster was closed misses keys.
        reason = str(error).partition("\n")[0].rstrip(".")
        msg = (
            f"The fit lost what it had on the cluster at {_address(client)}: the scheduler is gone or was "
            f"restarted, or somebody cancelled its tasks ({reason}). Connect a new distributed.Client and "
            "call fit again."
        )
        raise RuntimeError(msg) from error


def _address(client: Any) -> str:  # noqa: ANN401  # Dask's types are not known to type checkers
    return "?" if client is None or client.scheduler is None else str(client.scheduler.addr)
