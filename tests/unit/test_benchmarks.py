"""What the published figures rest on: the rounds, the texts, the counting, the table and the report."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import corpus
import figures
import pytest
import report
from arithmetic import COUNT
from contenders import utterances
from hypothesis import given
from hypothesis import strategies as st
from loops import dealt
from rows import ROWS, Goal

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


@given(st.floats(0, 100), st.lists(st.floats(0.1, 50), min_size=1, max_size=6))
def test_no_round_begins_that_would_not_end_in_time(seconds: float, costs: list[float]) -> None:
    """The first always runs; a further one only if the longest so far would still fit in."""
    now = 0.0
    budget = figures.Budget(seconds, quick=False, say=lambda _: None, clock=lambda: now)
    longest = 0.0
    for number in budget.rounds(len(costs)):
        assert number == 0 or now + longest <= seconds
        now += costs[number]
        longest = max(longest, costs[number])
    assert number == len(costs) - 1 or now + longest > seconds


@given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(0, 1))
def test_a_percentile_is_the_least_value_that_enough_do_not_exceed(values: list[float], share: float) -> None:
    """So many lie at it or below, and no smaller value will do."""
    found = figures.percentile(values, share)
    assert sum(value <= found for value in values) >= share * len(values)
    assert all(sum(value <= other for value in values) < share * len(values) for other in values if other < found)


def test_nothing_in_the_corpus_is_spoken_twice() -> None:
    """A second one would come from the store, and piperd seem faster than it is."""
    texts = corpus.texts()
    assert len(texts) == 100
    assert texts == corpus.texts()
    spoken = utterances(texts)
    assert len(set(spoken)) == len(spoken)
    spoken = utterances([corpus.paragraphs(corpus.long_text(60))])
    assert len(set(spoken)) == len(spoken) > 600


@given(st.lists(st.text(), min_size=1, unique=True), st.integers(1, 9))
def test_dealing_loses_no_text(texts: list[str], hands: int) -> None:
    """All are dealt out once, and nobody sits by idly while there are enough."""
    shares = dealt(texts, hands)
    assert sorted(text for share in shares for text in share) == sorted(texts)
    assert len(shares) == min(hands, len(texts))


def test_multiplications_are_counted_as_the_layers_make_them() -> None:
    """By hand: 4 x 3 results of 2 x 3 products; 2 x 5 inputs into 4 x 3 products; 3 x 5 results of 7."""
    assert COUNT["Conv"]((1, 2, 5), (4, 2, 3), (1, 4, 3)) == 72
    assert COUNT["ConvTranspose"]((1, 2, 5), (2, 4, 3), (1, 4, 7)) == 120
    assert COUNT["MatMul"]((3, 7), (7, 5), (3, 5)) == 105


@given(st.floats(0, 100), st.floats(0, 100), st.booleans())
def test_the_median_is_what_is_held_against_the_bound(median: float, bound: float, least: bool) -> None:
    """At least, or at most; the bound itself will do."""
    goal = Goal("rates/us", bound, least=least)
    values = {"rates": {"us": {"median": median, "min": 0.0, "max": 100.0, "n": 3}}}
    assert goal.held(values) == (median == bound or (median > bound) == least)


def _result(memory: float) -> dict[str, Any]:
    return {
        "worker_mb": memory,
        "worker_growth_percent": 0.5,
        "worker_utterances": 5000,
        "worker": [[1, memory], [2, memory]],
        "daemon": [[1, 60.0], [2, 60.0]],
        "daemon_mb": 60.0,
        "daemon_jobs": 100_000,
    }


def _report(folder: Path, values: Mapping[str, Any], *, quick: bool = False, reason: str = "worker_memory") -> str:
    figures.Result("memory", "2026-01-01", quick, 1.0, {"cores": 2}, dict(values)).save(folder / "results")
    reasons = folder / "reasons.toml"
    reasons.write_text(f'{reason} = "The model is large."\n')
    report.write(folder, reasons)
    return (folder / "README.md").read_text()


def test_the_report_gives_the_reason_of_a_miss_while_it_is_one(tmp_path: Path) -> None:
    """A missed goal stands there with its figure and its reason, a held one without; what has no result says so."""
    missed = _report(tmp_path, _result(400.0))
    assert "**400.0** MB; **0.50** %: 5,000 utterances | **missed** |" in missed
    assert "The model is large." in missed
    assert missed.count("not measured") == sum(row.measurement != "memory" for row in ROWS)
    held = _report(tmp_path, _result(320.0))
    assert "**320.0** MB; **0.50** %: 5,000 utterances | held |" in held
    assert "The model is large." not in held
    assert "Not to be used" not in held


def test_a_goal_is_held_so_far_until_all_the_work_is_done(tmp_path: Path) -> None:
    """What ran out of time before 100,000 jobs has not shown what their memory is."""
    told = _report(tmp_path, _result(320.0) | {"daemon_jobs": 99_999})
    assert "**60.0** MB: 99,999 jobs | held so far |" in told


def test_a_result_that_lacks_a_figure_counts_as_none(tmp_path: Path) -> None:
    """An earlier version told other figures: its file must not break the report of what was measured anew."""
    values = _result(320.0)
    del values["daemon_mb"]
    told = _report(tmp_path, values)
    assert "5,000 utterances | held |" in told
    assert told.count("not measured") == sum(row.measurement != "memory" for row in ROWS) + 1


def test_quick_figures_are_marked(tmp_path: Path) -> None:
    """Nobody is to take a trial for a measurement."""
    assert "Not to be used: memory" in _report(tmp_path, _result(1.0), quick=True)


def test_a_reason_that_is_no_rows_is_refused(tmp_path: Path) -> None:
    """A row that was renamed must not lose its reason silently."""
    with pytest.raises(ValueError, match="worker_memry"):
        _report(tmp_path, _result(1.0), reason="worker_memry")


def test_rows_have_names_of_their_own() -> None:
    """Reasons are given by them."""
    assert len({row.key for row in ROWS}) == len(ROWS)
