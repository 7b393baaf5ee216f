"""Steps of the nightly history: what lasts is found, what passes or wobbles is not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from harness import history
from tests import rows


def nights(rng: np.random.Generator, count: int, noise: float = 0.03) -> list[float]:
    return list(np.exp(rng.normal(0.0, noise, count)))


@pytest.mark.parametrize("seed", range(20))
def test_noise_alone_makes_no_step_in_two_months(seed: int) -> None:
    values = nights(np.random.default_rng(seed), 60)
    assert [n for n in range(61) if history.last_step(values[:n]) is not None] == []


@pytest.mark.parametrize("seed", range(20))
def test_a_step_of_30_percent_is_found_after_three_nights_with_its_size(seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = nights(rng, 20) + [1.3 * value for value in nights(rng, 3)]
    factor = history.last_step(values)
    assert factor is not None
    assert factor == pytest.approx(1.3, rel=0.1)


def test_a_step_down_is_a_step_too() -> None:
    rng = np.random.default_rng(0)
    factor = history.last_step(nights(rng, 20) + [0.6 * value for value in nights(rng, 3)])
    assert factor == pytest.approx(0.6, rel=0.1)


def test_one_bad_night_or_two_are_no_step_however_bad() -> None:
    rng = np.random.default_rng(0)
    assert history.last_step([*nights(rng, 20), 9.0, 9.0]) is None
    assert history.last_step([*nights(rng, 20), 9.0, 1.0, 9.0]) is None


def test_a_lasting_change_too_small_to_matter_is_no_step() -> None:
    assert history.last_step([1.0] * 20 + [1.05] * 3) is None


def test_a_short_history_has_no_step() -> None:
    assert history.last_step([1.0] * 6 + [2.0] * 3) is None


def entry(night: int, relative_time: float, cpu: str = "x") -> history.Entry:
    started_at = f"2026-{1 + night // 28:02d}-{1 + night % 28:02d}T03:17:00.000+00:00"
    return history.Entry(started_at, f"commit{night}", cpu, "a", "matched", "rust", 1e-3, relative_time)


def test_a_step_names_the_night_and_the_commits_it_lies_between() -> None:
    entries = [entry(night, 2.0 if night >= 20 else 1.0) for night in range(23)]
    (step,) = history.steps(reversed(entries))
    assert (step.first.commit, step.last_commit) == ("commit20", "commit19")
    assert step.factor == pytest.approx(2.0)
    assert "| a matched | rust | ×2.00 | 2026-01-21 | commit19..commit20 | x |" in history.markdown([step])


def test_words_of_a_history_are_no_markup() -> None:
    entries = [entry(night, 2.0 if night >= 20 else 1.0, "<b>|x") for night in range(23)]
    assert "| &lt;b>/x |" in history.markdown(history.steps(entries))


def test_another_processor_is_another_series() -> None:
    entries = [entry(night, 2.0 if night >= 20 else 1.0, "y" if night >= 20 else "x") for night in range(23)]
    assert history.steps(entries) == []


def test_a_run_is_added_once_and_a_history_reads_back(tmp_path: Path) -> None:
    rows.write_run(tmp_path / "nightly", rows.modelled(n_repeats=3))
    path, report = tmp_path / "history.csv", tmp_path / "steps.md"
    for _ in range(2):
        assert history.main([str(tmp_path / "nightly"), str(path), str(report)]) == 0
    entries = history.read(path)
    # Twelve cells on two tracks; the baseline has no series, mini-batch one on the default track only.
    assert len(entries) == 12 * (3 + 4)
    known = {one.implementation: one for one in entries}
    assert "sklearn-lloyd" not in known
    assert known["rust"].relative_time < 1 < known["numpy"].relative_time
    assert report.read_text() == ""


def test_steps_of_a_written_history_stand_in_the_report(tmp_path: Path) -> None:
    path, report = tmp_path / "history.csv", tmp_path / "steps.md"
    history.write(path, [entry(night, 2.0 if night >= 20 else 1.0) for night in range(23)])
    assert history.main([str(tmp_path), str(path), str(report)]) == 0
    assert "×2.00" in report.read_text()
    assert history.read(path)[0] == entry(0, 1.0)


@pytest.mark.parametrize("line", ["a,b,c,d,e,f,1.0,0.0", "a,b,c,d,e,f,1.0,inf", "a,b,c,d,e,f,1.0,x", "a,1,1"])
def test_a_line_that_is_no_figure_is_refused_in_one_line(
    line: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "history.csv"
    history.write(path, [])
    path.write_text(f"{path.read_text()}{line}\n")
    assert history.main([str(tmp_path), str(path), str(tmp_path / "steps.md")]) == 2
    said = capsys.readouterr().err
    assert "not a history" in said
    assert said.count("\n") == 1


def test_what_cannot_be_read_or_written_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "folder").mkdir()
    history.write(tmp_path / "history.csv", [])
    for arguments in (
        [str(tmp_path), str(tmp_path / "folder"), str(tmp_path / "steps.md")],
        [str(tmp_path), str(tmp_path / "history.csv"), str(tmp_path / "folder")],
        [str(tmp_path)],
    ):
        assert history.main(arguments) == 2
        said = capsys.readouterr().err
        assert said.startswith("error: ")
        assert said.count("\n") == 1


def test_a_file_that_is_no_history_is_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "history.csv"
    path.write_text("a,b\n1,2\n")
    assert history.main([str(tmp_path), str(path), str(tmp_path / "steps.md")]) == 2
    assert "not a history" in capsys.readouterr().err
    assert path.read_text() == "a,b\n1,2\n"
