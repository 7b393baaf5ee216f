"""The command `rust-kmeans`: each step of the workflow by name."""

import sys


def main() -> None:
    """Run the command line; one line says what to install where a library is missing."""
    try:
        from rust_kmeans.workflow.commands._app import run
    except ModuleNotFoundError as error:
        sys.exit(f"error: no module '{error.name}': pip install 'rust-kmeans[workflow]'")
    run()
