"""The whole way, from a file to an answer of the service, by the very lines of the documentation."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import urllib.request
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from rust_kmeans.workflow import fit_table, load_model, save_model, update_model
from tests.workflow.served import COMMAND, PATIENCE, serving

PAGE = Path(__file__).resolve().parent.parent.parent / "docs" / "workflow.md"
#: What `rust-kmeans drift` ends with where nothing has changed.
NO_DRIFT = 0


def lines_of(page: Path) -> tuple[list[list[str]], list[str]]:
    """Return the words of each command of the page's first block, and those of the request in its second."""
    first, second = re.findall(r"^```sh\n(.*?)^```$", page.read_text(encoding="utf-8"), re.M | re.S)[:2]
    return [shlex.split(line) for line in first.splitlines()], shlex.split(second)


def trips(n_rows: int, seed: int) -> pd.DataFrame:
    """Return rides of two kinds, around town and to the airport, with what tables have besides numbers."""
    random = np.random.default_rng(seed)
    far = random.random(n_rows) < 0.3
    distance = np.where(far, random.normal(12, 1.5, n_rows), random.normal(2.5, 0.6, n_rows)).clip(0.2)
    table = pd.DataFrame(
        {
            "pickup": pd.Timestamp("2020-10-01") + pd.to_timedelta(random.integers(0, 10**6, n_rows), "s"),
            "distance": distance,
            "fare": 3 + 2.5 * distance + random.normal(0, 1, n_rows),
            "vendor": "green",
        }
    )
    return table.mask(random.random(table.shape) < 0.01)


def test_the_lines_of_the_documentation_lead_from_a_file_to_an_answer(tmp_path: Path) -> None:
    trips(3_000, 0).to_csv(tmp_path / "trips.csv", index=False)
    trips(2_000, 1).to_csv(tmp_path / "new_trips.csv", index=False)
    commands, request = lines_of(PAGE)
    assert {command[0] for command in commands} == {"rust-kmeans"}
    assert commands[-1][1:3] == ["serve", "trips.model"]
    said = {}
    for command in commands[:-1]:
        done = subprocess.run(
            [*COMMAND, *command[1:]],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode == NO_DRIFT, (command, done.stdout, done.stderr)
        said[" ".join(command[1:3])] = done.stdout
    # Two kinds of rides are found and told apart; the other columns are dropped with a reason.
    assert "k = 2" in said["choose-k trips.csv"]
    assert "dropped vendor" in said["fit trips.csv"]
    assert "dropped pickup" in said["fit trips.csv"]
    model = load_model(tmp_path / "trips.model")
    assert model.names == ("distance", "fare")
    assert model.n_clusters == 2
    # What `fit --update` has added.
    assert 4_900 < model.statistics.n_samples <= 5_000
    for name in ("k.png", "labels.csv", "trips.html", "new_labels.csv", "drift.png", "trips.onnx"):
        assert (tmp_path / name).stat().st_size > 0, name

    where, body = request[1], request[request.index("-d") + 1]
    with serving(tmp_path / "trips.model") as service:
        asked = urllib.request.Request(
            where.replace("http://127.0.0.1:8000", service.url),
            body.encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(asked, timeout=PATIENCE) as response:
            answer = json.load(response)
    near_town = int(model.centers_in_units[:, 0].argmin())
    assert answer["cluster_label"] == near_town
    assert answer["model_id"] == model.model_id


def test_retraining_on_a_stream_follows_what_has_moved() -> None:
    model = fit_table(trips(3_000, 0), 2).model
    moved = trips(20_000, 2)
    moved["fare"] += 5
    after = model
    for first in range(0, 20_000, 1_000):
        after = update_model(after, [moved[first : first + 1_000]])
    raised = (after.centers_in_units - model.centers_in_units)[:, 1]
    # 20,000 of 23,000 rows have the higher fare; labels keep their meaning.
    np.testing.assert_allclose(raised, 5 * 20 / 23, atol=0.5)


@pytest.mark.parametrize(
    "words",
    [
        "fit t.csv --k 2 --model t.csv",
        "choose-k t.csv --k 1..3 --csv t.csv",
        "evaluate t.model t.csv --labels vendor --csv t.model",
        "predict t.model t.csv --out t.csv",
        "drift t.model t.csv --json t.csv",
        "drift t.model t.csv --json d.png --plot d.png",
        "export t.model --to onnx --out t.model",
    ],
)
def test_a_command_writes_over_nothing_that_it_reads(tmp_path: Path, words: str) -> None:
    trips(200, 0).to_csv(tmp_path / "t.csv", index=False)
    save_model(fit_table(trips(200, 0), 2).model, tmp_path / "t.model")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    done = subprocess.run(
        [*COMMAND, *words.split()],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 2
    assert "cannot be written" in done.stderr
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
