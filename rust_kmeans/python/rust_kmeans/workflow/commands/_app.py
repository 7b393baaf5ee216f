"""The command line as a whole: one command a module, and a user's mistake as one line."""

from __future__ import annotations

import sys
from typing import Annotated

import typer
from rich.console import Console

from rust_kmeans._core import __version__
from rust_kmeans.workflow._errors import WorkflowError
from rust_kmeans.workflow.commands.choose_k import choose_k
from rust_kmeans.workflow.commands.convert import export_model, import_model
from rust_kmeans.workflow.commands.drift import drift
from rust_kmeans.workflow.commands.evaluate import evaluate
from rust_kmeans.workflow.commands.explain import explain
from rust_kmeans.workflow.commands.fit import fit
from rust_kmeans.workflow.commands.predict import predict
from rust_kmeans.workflow.commands.serve import serve

#: What shells report of a program that Ctrl-C ended.
INTERRUPTED = 130
#: A mistake of the user: what was asked for cannot be done.
MISTAKE = 2

app = typer.Typer(
    help="From a table to a served k-means model.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _root(
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Read what all commands share."""


# In the order in which they are of use.
app.command("choose-k")(choose_k)
app.command("fit")(fit)
app.command("explain")(explain)
app.command("evaluate")(evaluate)
app.command("predict")(predict)
app.command("serve")(serve)
app.command("drift")(drift)
app.command("export")(export_model)
app.command("import")(import_model)


def run() -> None:
    """Run the command line; end with 0, with 2 for a user's mistake, with 130 for Ctrl-C."""
    try:
        app(standalone_mode=True)
    except (WorkflowError, OSError) as error:
        Console(stderr=True).print(f"error: {error}", markup=False, highlight=False, soft_wrap=True)
        sys.exit(MISTAKE)
    except KeyboardInterrupt:
        Console(stderr=True).print("interrupted", markup=False, highlight=False)
        sys.exit(INTERRUPTED)
