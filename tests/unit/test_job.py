"""States, moves, identities and addresses of jobs."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from piperd.job import MOVES, IllegalMoveError, JobSpec, JobState, Scene, Utterance, advance, new_job_id

states = st.sampled_from(JobState)


@given(states, states)
def test_only_moves_of_the_table_are_made(state: JobState, to: JobState) -> None:
    """`advance` makes exactly the moves of the table and refuses all others."""
    if to in MOVES[state]:
        assert advance(state, to) is to
    else:
        with pytest.raises(IllegalMoveError):
            advance(state, to)


def test_every_job_can_end_and_no_end_is_left() -> None:
    """From every open state a final one can be reached, and nothing leads out of a final one."""
    finals = {state for state in JobState if state.final}
    assert finals == {JobState.DONE, JobState.FAILED, JobState.CANCELLED}
    for state in set(JobState) - finals:
        reached = {state}
        for _ in JobState:
            reached |= {to for each in reached for to in MOVES[each]}
        assert finals <= reached


@given(st.integers(0, (1 << 48) - 1), st.integers(0, (1 << 48) - 1), st.binary(min_size=10, max_size=10))
def test_ids_sort_by_time(first: int, second: int, randomness: bytes) -> None:
    """A later job has a greater id, whatever the random part; ids have 26 characters of Crockford's alphabet."""
    one, two = new_job_id(first, randomness), new_job_id(second, b"\xff" * 10)
    assert len(one) == 26
    assert not set(one) & set("ILOUilou")
    if first < second:
        assert one < two


SPEAKS = Utterance("Hello.", "en_US-joe-medium", 0, 0.2)


@pytest.mark.parametrize(
    "changed",
    [
        replace(SPEAKS, text="Hello!"),
        replace(SPEAKS, speaker=1),
        replace(SPEAKS, speed=0.9),
        replace(SPEAKS, noise_scale=0.0),
        replace(SPEAKS, noise_w_scale=0.0),
    ],
)
def test_all_that_changes_the_sound_changes_the_address(changed: Utterance) -> None:
    """Two utterances that may sound different never share an entry of the store."""
    assert changed.key("digest") != SPEAKS.key("digest")


def test_another_voice_is_another_address_and_silence_is_not() -> None:
    """The voice counts by its content; name, scene and pauses do not change the sound."""
    assert SPEAKS.key("digest") != SPEAKS.key("other digest")
    assert replace(SPEAKS, pause_after=5.0, scene=3).key("digest") == SPEAKS.key("digest")


def test_a_spec_comes_back_from_json() -> None:
    """What the ledger keeps of a job is all of it."""
    spec = JobSpec(
        (Scene("1", "سلام.", "fa_IR-test-low", noise_scale=0.3), Scene("2", "Two.", "en", speaker=4)),
        name="story",
        priority=7,
        loudness=None,
        metadata={"k": [1, "ب", None]},
        warnings=("guessed",),
    )
    assert JobSpec.from_json(spec.as_json()) == spec
    assert JobSpec.from_json(spec.as_json()).metadata == spec.metadata
