"""`rust-kmeans serve`: a model behind HTTP."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from rust_kmeans.workflow._errors import WorkflowError

#: The variable of the environment that may hold the token.
TOKEN = "RUST_KMEANS_TOKEN"  # noqa: S105  # the name of it


def serve(
    model: Annotated[Path, typer.Argument(help="A model file, as `rust-kmeans fit` writes it.")],
    host: Annotated[
        str, typer.Option(help="Address to listen on; others than this machine's own need a token.")
    ] = ("127.0.0.1"),
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port to listen on; 0 for any that is free.")
    ] = 8000,
    name: Annotated[
        str | None, typer.Option(help="The model's name in addresses; else that of the file.")
    ] = None,
    token_file: Annotated[
        Path | None, typer.Option(help=f"File with the token requests must carry; else ${TOKEN}, if set.")
    ] = None,
    allow_anonymous: Annotated[
        bool, typer.Option("--allow-anonymous", help="Serve other machines without a token.")
    ] = False,
    allowed_host: Annotated[
        list[str] | None,
        typer.Option(
            help="A name the service may be addressed by, behind a proxy for example; may be repeated."
        ),
    ] = None,
    max_body: Annotated[str, typer.Option(help="Largest body, in bytes or as 64KiB, 16MiB, 1GiB.")] = "16MiB",
    max_rows: Annotated[str, typer.Option(help="Most rows of a request.")] = "1e6",
    timeout: Annotated[float, typer.Option(help="Seconds a request may take.")] = 10.0,
    max_concurrency: Annotated[int, typer.Option(help="Requests answered at a time.")] = 64,
    max_connections: Annotated[int, typer.Option(help="Open connections.")] = 512,
) -> None:
    """Serve a model: POST /predict_cluster, the Open Inference Protocol, /metrics, and a page at /.

    SIGHUP loads the file anew; SIGTERM and Ctrl-C answer what is asked and end.
    """
    from rust_kmeans.workflow.service import Limits, create_app
    from rust_kmeans.workflow.service._app import LOOPBACK
    from rust_kmeans.workflow.service._server import is_loopback, listen
    from rust_kmeans.workflow.service._server import serve as serve_app

    console = Console(stderr=True, highlight=False, soft_wrap=True)
    limits = Limits(bytes_of(max_body), _rows_of(max_rows), timeout, max_concurrency, max_connections)
    token = _token_of(token_file)
    listener = listen(host, port)
    local = is_loopback(listener)
    if not local and token is None and not allow_anonymous:
        listener.close()
        msg = (
            f"{host} is open to other machines: set --token-file or ${TOKEN}, "
            "or allow everyone by --allow-anonymous."
        )
        raise WorkflowError(msg)
    # Of the names under which other machines know this one, only its user can tell.
    hosts = [*(allowed_host or []), *LOOPBACK] if local or allowed_host else None
    app = create_app(model, name=name, token=token, limits=limits, allowed_hosts=hosts)
    service = app.state.service
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")

    def announce() -> None:
        served = service.served.model
        shown, actual = listener.getsockname()[:2]
        shown = f"[{shown}]" if ":" in shown else shown
        console.print(
            f"serving {service.name} (model {served.model_id}: {served.n_clusters} clusters, "
            f"{len(served.names)} features) on http://{shown}:{actual}",
            markup=False,
        )
        if not local and token is None:
            console.print("warning: anyone who reaches this machine may ask: there is no token", markup=False)

    serve_app(app, listener, announce)
    console.print("stopped", markup=False)


def bytes_of(text: str) -> int:
    """Return a number of bytes, as `1000000`, `64KiB`, `16MiB` or `1GiB` say it.

    Parameters
    ----------
    text : str
        A positive number, perhaps with a unit.

    Returns
    -------
    int
        Bytes.

    Raises
    ------
    WorkflowError
        For another text.
    """
    number = text.strip().lower()
    unit = next((unit for unit in _UNITS if number.endswith(unit)), "")
    try:
        size = int(float(number.removesuffix(unit)) * _UNITS.get(unit, 1))
    except (ValueError, OverflowError):
        size = 0
    if size < 1:
        msg = f"'{text}' is no size: write it as 64KiB, 16MiB or 1GiB, or in bytes."
        raise WorkflowError(msg)
    return size


def _rows_of(text: str) -> int:
    try:
        number = int(float(text))
    except (ValueError, OverflowError):
        number = 0
    if number < 1:
        msg = f"'{text}' is no number of rows: write it as 1000000 or 1e6."
        raise WorkflowError(msg)
    return number


def _token_of(file: Path | None) -> str | None:
    """Return the token, which no argument holds, since all users of a machine see arguments."""
    if file is None:
        return os.environ.get(TOKEN) or None
    try:
        token = file.read_text(encoding="utf-8").strip()
    except ValueError:
        token = ""
    if not token:
        msg = f"{file} holds no token: write one line of text to it."
        raise WorkflowError(msg)
    return token


_UNITS = {"kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30}
