"""The report: its sentences say what the rows say, its files hold every row, and a mistake is one line."""

from __future__ import annotations

import csv
import inspect
import io
import json
import os
import re
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import runner
from harness import analysis, figures, report
from harness.analysis import MachineLimits
from harness.errors import UserError
from harness.record import COLUMNS, Row
from harness.scenario import Grid
from tests.rows import ENVIRONMENT, modelled, repeats, row, write_run

BASELINE = "sklearn-lloyd"


@pytest.fixture(autouse=True)
def no_defaults_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "load_dotenv", lambda _: None)
    monkeypatch.setenv("COLUMNS", "300")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run whose speeds are known."""
    return write_run(tmp_path_factory.mktemp("results"), modelled())


@pytest.fixture(scope="module")
def content(folder: Path) -> dict[str, Any]:
    limits = MachineLimits({"float32": 4e11, "float64": 2e11}, 3e10)
    return report.payload(report.collect([folder], BASELINE, limits))


def verdict_of(rows: list[Row], baseline: str = BASELINE) -> tuple[str, str]:
    frame = analysis.frame(rows)
    return report.verdict(frame, analysis.summarise(frame, baseline), baseline)[0]


def test_the_verdict_is_a_claim_with_its_interval_and_what_it_rests_on() -> None:
    claim, detail = verdict_of([*repeats("rust", [1.0] * 6), *repeats(BASELINE, [4.0] * 6)])
    assert claim == "rust is 4.00× as fast as sklearn-lloyd (95 % interval 4.00–4.00×)."
    assert detail == (
        "One cell, matched track, float32: slower in none; worst 4.00× (a); objective at most 0 % above the "
        "best exact one."
    )


def test_what_cannot_be_told_apart_is_said_so() -> None:
    own, base = [1.0, 1.3, 1.0, 1.3, 1.0, 1.3], [1.3, 1.0, 1.3, 1.0, 1.3, 1.0]
    claim, detail = verdict_of([*repeats("rust", own), *repeats(BASELINE, base)])
    assert claim.startswith("rust and sklearn-lloyd cannot be told apart: 1.00× (95 % interval 0.77–1.30×)")
    assert "too close to call in 1" in detail


def test_a_verdict_measured_on_a_busy_machine_says_so() -> None:
    frame = analysis.frame([*repeats("rust", [1.0] * 6), *repeats(BASELINE, [4.0] * 6)], load_per_core=2.0)
    ((claim, _),) = report.verdict(frame, analysis.summarise(frame, BASELINE), BASELINE)
    assert claim == (
        "rust is 4.00× as fast as sklearn-lloyd (95 % interval 4.00–4.00×; the machine was busy)."
    )


def test_a_loss_is_said_as_plainly_as_a_win() -> None:
    rows = [*repeats("rust", [200.0] * 6, inertia=105.0), *repeats(BASELINE, [1.0] * 6)]
    claim, detail = verdict_of(rows)
    assert claim.startswith("rust is 0.01× as fast as sklearn-lloyd")
    assert "slower in 1" in detail
    assert "objective at most 5 % above the best exact one" in detail


@pytest.mark.parametrize(
    ("rows", "baseline", "message"),
    [
        ([row("rust", 1.0), row(BASELINE, 2.0)], "rust", "Ratios are to rust itself"),
        ([row(BASELINE, 2.0)], BASELINE, "no figures of rust"),
        ([row("rust", 2.0)], BASELINE, "no figures of sklearn-lloyd"),
        ([row("rust", 2.0), row(BASELINE, 1.0, scenario="b")], BASELINE, "no cell that both have measured"),
    ],
)
def test_where_there_is_no_verdict_the_reason_is(rows: list[Row], baseline: str, message: str) -> None:
    claim, detail = verdict_of(rows, baseline)
    assert message in claim
    assert detail == ""


def test_one_repeat_has_no_interval() -> None:
    claim, _ = verdict_of([row("rust", 1.0), row(BASELINE, 250.0)])
    assert claim == "rust is 250× as fast as sklearn-lloyd (no interval, for want of repeats)."


def test_the_verdict_says_over_how_many_of_all_cells_it_speaks() -> None:
    rows = [one for name in "abc" for one in repeats(BASELINE, [4.0] * 6, scenario=name)]
    rows += repeats("rust", [1.0] * 6, scenario="a")
    rows += [one for name in "bc" for one in repeats("rust", [None] * 6, scenario=name, status="failed")]
    claim, detail = verdict_of(rows)
    assert claim.startswith("rust is 4.00× as fast as sklearn-lloyd over 1 of 3 cells (95 % interval")
    assert detail.startswith("One cell of 3 (no figure in 2: 2 rust failed), matched track")


def test_a_track_without_any_figure_is_no_silence() -> None:
    rows = [*repeats("rust", [1.0] * 6), *repeats(BASELINE, [2.0] * 6)]
    rows += [row("rust", None, track="default", status="failed"), row(BASELINE, 1.0, track="default")]
    frame = analysis.frame(rows)
    found = report.verdict(frame, analysis.summarise(frame, BASELINE), BASELINE)
    assert found[1] == (
        "No verdict on rust against sklearn-lloyd on the default track in float32.",
        "No figure in 1: 1 rust failed.",
    )


def test_a_baseline_of_other_mathematics_is_called_so() -> None:
    name = "sklearn-minibatch"
    claim, _ = verdict_of([row("rust", 1.0), row(name, 2.0, semantics="mini-batch")], name)
    assert claim.endswith("which is of other mathematics: mini-batch.")


def test_of_few_repeats_the_ends_are_called_a_range(tmp_path: Path) -> None:
    claim, _ = verdict_of([*repeats("rust", [1.0] * 5), *repeats(BASELINE, [4.0] * 5)])
    assert claim == "rust is 4.00× as fast as sklearn-lloyd (range 4.00–4.00×)."
    text = report.markdown(report.collect([write_run(tmp_path, modelled(n_repeats=5))], BASELINE))
    assert text.count("1.00–1.00 (range) |") == 24


def test_what_makes_figures_uncertain_is_counted() -> None:
    calm = [1.0] * 6
    rows = [*repeats("rust", calm), *repeats(BASELINE, calm), row("numpy", None, status="failed", reason="x")]
    found = report.cautions(analysis.summarise(analysis.frame(rows), BASELINE))
    assert found == ["1 of 3 lines have none; their status says why"]
    found = report.cautions(analysis.summarise(analysis.frame(rows[:8], 2.0), BASELINE))
    assert found[0].startswith("1 of 2 figures have fewer than 6 repeats")
    assert found[1] == "all 2 figures were measured while the machine was busy or slow as a whole"


def test_the_page_holds_every_row_as_the_bench_wrote_it(folder: Path, content: dict[str, Any]) -> None:
    inside = list(csv.DictReader(io.StringIO(content["rows"])))
    written: list[dict[str, str]] = []
    for path in sorted(folder.glob("*.csv")):
        with path.open(newline="") as file:
            written += csv.DictReader(file)
    assert tuple(inside[0]) == COLUMNS

    def cells(one: dict[str, str]) -> list[float | str]:
        texts = {"run_id", "scenario", "implementation", "status", "reason"}
        return [
            one[name] if name in texts or not _is_number(one[name]) else float(one[name]) for name in COLUMNS
        ]

    assert [cells(one) for one in inside] == [cells(one) for one in written]
    # What is a whole number in the file is none with a point here.
    assert {one["peak_rss_bytes"] for one in inside} == {one["peak_rss_bytes"] for one in written}


def _is_number(text: str) -> bool:
    return re.fullmatch(r"-?\d+(\.\d+)?(e[-+]?\d+)?", text) is not None


def test_the_page_is_one_file_that_names_no_server(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "page.html"
    report.write_html(out, report.collect([folder], BASELINE))
    text = out.read_text(encoding="utf-8")
    assert "{{" not in text
    assert "default-src 'none'" in text
    assert not re.search(r"""(?:src|href)\s*=\s*["'](?!data:|#)""", text)
    assert set(re.findall(r"https?://[^\s\"'<]+", text)) == {"http://www.w3.org/2000/svg"}


def test_words_of_a_row_cannot_break_out_of_the_page(tmp_path: Path) -> None:
    evil = "</script><script>alert(1)</script>"
    rows = [
        row("rust", 1.0, scenario="blobs-n1000-d2-k3-float32", reason=evil, status="wrong"),
        row(BASELINE, 1.0),
    ]
    rows = [replace(one, scenario="blobs-n1000-d2-k3-float32") for one in rows]
    grid = Grid(sizes=(1000,), dims=(2,), clusters=(3,))
    out = tmp_path / "page.html"
    report.write_html(out, report.collect([write_run(tmp_path, rows, grid=grid)], BASELINE))
    text = out.read_text(encoding="utf-8")
    assert "alert(1)" in text
    assert evil not in text
    data = re.search(r'<script type="application/json" id="results">(.*?)</script>', text, re.DOTALL)
    assert data is not None
    assert evil in json.loads(data[1])["lines"]["reason"]


def test_words_of_a_row_are_no_markup_in_markdown(tmp_path: Path) -> None:
    name, scenario = "<img src=x>|y", "blobs-n1000-d2-k3-float32"
    rows = [row(who, seconds, scenario=scenario) for who, seconds in (("rust", 2.0), (name, 1.0))]
    folder = write_run(tmp_path, rows, grid=Grid(sizes=(1000,), dims=(2,), clusters=(3,)))
    path = folder / "env.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "command": "run `a` ``b``"}))
    text = report.markdown(report.collect([folder], name))
    assert "<img" not in text
    assert text.count("&lt;img src=x>/y") == 5
    assert "``` run `a` ``b`` ```" in text
    tables = [line for line in text.splitlines() if line.startswith("|")]
    assert {line.count("|") for line in tables} == {8, 10}


def test_a_word_of_the_data_that_looks_like_a_mark_of_the_page_is_none(tmp_path: Path) -> None:
    name, scenario = "{{data}}{{style}}", "blobs-n1000-d2-k3-float32"
    rows = [row(who, 1.0, scenario=scenario) for who in ("rust", name)]
    folder = write_run(tmp_path, rows, grid=Grid(sizes=(1000,), dims=(2,), clusters=(3,)))
    report.write_html(tmp_path / "page.html", report.collect([folder], name))
    heading = re.search(r"<h1[^>]*>(.*?)</h1>", (tmp_path / "page.html").read_text(encoding="utf-8"))
    assert heading is not None
    assert f"rust and {name} cannot be told apart" in heading[1] or f"as fast as {name}" in heading[1]


def test_runs_of_two_machines_name_both_at_the_top_of_the_page(tmp_path: Path) -> None:
    made = modelled(n_repeats=1)
    runs = [
        write_run(
            tmp_path, [replace(one, run_id=cpu) for one in made], environment={**ENVIRONMENT, "cpu": cpu}
        )
        for cpu in ("this one", "that one")
    ]
    report.write_html(tmp_path / "page.html", report.collect([*runs], BASELINE))
    top = re.search(r'<p class="machine">(.*?)</p>', (tmp_path / "page.html").read_text(encoding="utf-8"))
    assert top is not None
    assert "this one, 2 cores" in top[1]
    assert "that one, 2 cores" in top[1]


def test_every_line_of_the_page_has_every_figure(content: dict[str, Any]) -> None:
    lengths = {len(values) for values in content["lines"].values()}
    assert lengths == {len(content["lines"]["implementation"])}
    for table in content["ratios"].values():
        assert {len(values) for values in table.values()} == lengths
    assert set(content["ratios"]) == set(content["verdicts"]) == set(content["lost"])
    assert content["implementations"][:2] == ["rust", BASELINE]
    assert {"limit_share", "seeding", "on_frontier", "command"} <= set(content["lines"])


def test_ratios_to_any_two_baselines_are_inverse(content: dict[str, Any]) -> None:
    lines = content["lines"]
    place = {
        key: index
        for index, key in enumerate(
            zip(lines["scenario"], lines["track"], lines["implementation"], strict=True)
        )
    }
    for (scenario, track, name), index in place.items():
        if name == "rust":
            forth = content["ratios"][BASELINE]["ratio"][index]
            back = content["ratios"]["rust"]["ratio"][place[scenario, track, BASELINE]]
            assert forth * back == pytest.approx(1.0, rel=1e-3)


def test_the_command_of_a_line_measures_that_line(folder: Path) -> None:
    plan = analysis.read_run(folder).plan
    command = report.reproduce(plan, "blobs-n1000-d10-k3-float32", "default", "rust")
    words = shlex.split(command)
    assert words[:2] == ["python", "runner.py"]
    assert dict(zip(words[2::2], words[3::2], strict=True)) == {
        "--sizes": "1000",
        "--dims": "10",
        "--clusters": "3",
        "--dtype": "float32",
        "--track": "default",
        "--repeats": "5",
        "--threads": "2",
        "--implementations": "rust",
    }


def test_what_a_command_leaves_out_is_the_default_of_the_command_line(folder: Path) -> None:
    options = inspect.signature(runner.run).parameters
    assert {name: options[name.replace("-", "_")].default for name in report.DEFAULTS} == report.DEFAULTS
    plan = analysis.read_run(folder).plan
    words = shlex.split(report.reproduce(plan, "blobs-n1000-d10-k3-float32", "default", "rust"))[2::2]
    assert {word.removeprefix("--").replace("-", "_") for word in words} <= set(options)


def test_the_command_names_what_is_no_default_and_the_file(folder: Path) -> None:
    plan = analysis.read_run(folder).plan
    data = {
        **plan["scenarios"][0]["dataset"],
        **{"kind": "file", "path": "/data/my table.csv", "columns": ["a", "b"], "seed": 3},
    }
    plan |= {"scenarios": [{"name": "s", "dataset": data}], "seed": 3, "max_iter": 7}
    plan["limits"] = {"timeout_seconds": 5.5, "max_memory_bytes": 1 << 30}
    words = shlex.split(report.reproduce(plan, "s", "matched", "rust"))
    options = dict(zip(words[2::2], words[3::2], strict=True))
    assert options["--data"] == "/data/my table.csv"
    assert (options["--columns"], options["--seed"], options["--max-iter"]) == ("a,b", "3", "7")
    assert (options["--timeout"], options["--max-memory"]) == ("5.5", "1073741824")
    assert "--sizes" not in options


def test_markdown_has_the_verdict_the_losses_and_a_table(tmp_path: Path) -> None:
    rows = modelled(slower={"rust": 100.0})
    text = report.markdown(report.collect([write_run(tmp_path, rows)], BASELINE))
    assert text.startswith("## rust against sklearn-lloyd\n- **rust is 0.0")
    assert "### Where we lose: 24 cells\n" in text
    tables = [block for block in text.split("\n\n") if block.lstrip("# W").startswith("|") or "\n|" in block]
    assert len(tables) == 2
    for table in tables:
        lines = [line for line in table.splitlines() if line.startswith("|")]
        assert len({line.count("|") for line in lines}) == 1
    assert str(ENVIRONMENT["cpu"]) in text


def test_markdown_too_long_for_a_comment_leaves_the_table_out(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report, "COMMENT", 1_000)
    text = report.markdown(report.collect([folder], BASELINE))
    assert len(text) < 2_000
    assert "All 120 lines stand in the page" in text


def test_markdown_stays_within_a_comment_however_many_cells_are_lost(tmp_path: Path) -> None:
    grid = Grid(sizes=tuple(range(1000, 1200)), dims=(2,), clusters=(3,))
    rows = modelled(grid=grid, n_repeats=1, slower={"rust": 100.0})
    folder = write_run(tmp_path, [one for one in rows if one.implementation in ("rust", BASELINE)], grid=grid)
    text = report.markdown(report.collect([folder], BASELINE))
    assert len(text) < 65_536
    assert re.search(r"\n\d+ more cells stand in the page\.\n", text)
    assert "All 800 lines stand in the page" in text


def test_figures_are_drawn_as_svg_and_png_and_are_the_same_each_time(tmp_path: Path) -> None:
    grid = Grid(sizes=(1_000, 10_000), dims=(2,), clusters=(3, 10))
    results = report.collect([write_run(tmp_path, modelled(grid=grid, n_repeats=2), grid=grid)], BASELINE)
    first, second = (figures.write_figures(tmp_path / name, results) for name in ("one", "two"))
    # With one number of features there is nothing to draw against it.
    stems = {"runtime-samples", "runtime-clusters", "memory", "frontier"}
    assert {path.name for path in first} == {f"{stem}.{kind}" for stem in stems for kind in ("svg", "png")}
    for one, two in zip(first, second, strict=True):
        assert one.read_bytes() == two.read_bytes()


def test_a_figure_marks_the_values_that_were_measured(tmp_path: Path) -> None:
    grid = Grid(sizes=(1_000, 3_000, 100_000), dims=(2,), clusters=(3,))
    lines = analysis.summarise(analysis.frame(modelled(grid=grid, n_repeats=1)), BASELINE)
    drawn = figures.runtime(lines, ["rust", *sorted(set(lines["implementation"]) - {"rust"})])
    assert drawn is not None
    drawn.canvas.draw()
    assert [label.get_text() for label in drawn.axes[0].get_xticklabels()] == ["1e3", "3,000", "1e5"]


def test_a_frontier_makes_no_difference_of_rounding() -> None:
    rows = [
        row(name, seconds, track="default", inertia=100.0 * (1 + gap))
        for name, seconds, gap in (("rust", 1.0, 0.0), (BASELINE, 2.0, 1e-13))
    ]
    lines = analysis.summarise(analysis.frame(rows), BASELINE)
    drawn = figures.frontier(lines, ["rust", BASELINE])
    assert drawn is not None
    assert drawn.axes[0].get_ylim()[1] >= figures.LEAST_GAP


def test_without_a_figure_to_draw_there_is_one_error(tmp_path: Path) -> None:
    name = "blobs-n1000-d2-k3-float32"
    rows = [row(BASELINE, None, status="failed", inertia=None, scenario=name)]
    folder = write_run(tmp_path, rows, grid=Grid(sizes=(1000,), dims=(2,), clusters=(3,)))
    with pytest.raises(UserError, match="nothing to draw"):
        figures.write_figures(tmp_path / "figures", report.collect([folder], BASELINE))


def test_the_command_line_writes_what_it_is_asked_for(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert runner.main(["report", folder.name, "--results", str(folder.parent)]) == 0
    assert capsys.readouterr().out == "report.html\n"
    assert (tmp_path / "report.html").stat().st_size > 10_000
    assert runner.main(["report", str(folder), "--markdown", "a.md", "--baseline", "numpy"]) == 0
    assert capsys.readouterr().out == "a.md\n"
    assert (tmp_path / "a.md").read_text(encoding="utf-8").startswith("## rust against numpy")


def test_without_a_name_the_latest_run_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    results = tmp_path / "results"
    older, newer = (write_run(results, modelled(n_repeats=1, run_id=name)) for name in ("a", "b"))
    os.utime(older / "env.json", (1, 1))
    monkeypatch.chdir(tmp_path)
    assert runner.main(["report", "--results", str(results), "--markdown", "out.md"]) == 0
    commands = (tmp_path / "out.md").read_text(encoding="utf-8")
    assert newer.name == "b"
    assert commands.count("python runner.py") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "no run 'nowhere', neither as a folder nor in"),
        (["r", "--baseline", "faiss"], "--baseline: no rows of 'faiss' in these results; choose from rust,"),
        (["r", "r"], "run r is given more than once"),
        (["."], "cannot read env.json"),
        (["r", "--out", "missing/page.html"], "page.html: cannot be written"),
        (["r", "--bandwidth-gbs", "30"], "one alone is no limit; give both"),
        (["r", "--peak-gflops", "400", "--bandwidth-gbs", "30"], "--peak-gflops: '400'; write two numbers"),
        (["r", "--peak-gflops", "400,200", "--bandwidth-gbs", "-1"], "--bandwidth-gbs: -1 is not a positive"),
        (["r", "--figures", "file"], "--figures: file cannot be written"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(
    arguments: list[str],
    message: str,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    assert runner.main(["report", *arguments, "--results", str(folder.parent)]) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith("error: ")
    assert message in printed.err
    assert printed.err.count("\n") == 1
    assert not list(tmp_path.glob("*.html"))


def test_without_any_run_there_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert runner.main(["report", "--results", str(tmp_path)]) == 2
    assert "no run in" in capsys.readouterr().err
