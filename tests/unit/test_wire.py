"""The messages between pool and workers."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from piperd.engine import RenderItem, RenderPlan, RenderScene, wire
from piperd.errors import Code, Failure
from piperd.job import Utterance

TEXT = st.text(max_size=300) | st.text(st.characters(min_codepoint=0xDC80, max_codepoint=0xDCFF), max_size=5)
NUMBER = st.floats(0, 100)
PATHS = st.binary(min_size=1, max_size=50).map(lambda name: Path("/x") / name.replace(b"\0", b"").decode("latin-1"))
FILES = st.builds(wire.VoiceFiles, name=TEXT, digest=TEXT, model=PATHS, config=PATHS)
UTTERANCES = st.builds(
    Utterance,
    text=TEXT,
    voice=TEXT,
    scene=st.integers(0, 9999),
    pause_after=NUMBER,
    speaker=st.none() | st.integers(0, 999),
    speed=NUMBER,
    noise_scale=st.none() | NUMBER,
    noise_w_scale=st.none() | NUMBER,
)


@given(
    st.builds(
        wire.Order,
        verb=st.sampled_from(wire.Verb),
        ticket=st.integers(0),
        voice=st.none() | FILES,
        utterance=st.none() | UTTERANCES,
        path=st.none() | PATHS,
    )
)
def test_orders_survive(order: wire.Order) -> None:
    """What the pool orders is what the worker reads, lone surrogates and all."""
    assert wire.Order.decode(order.encode()) == order


@given(
    st.builds(
        wire.Answer,
        word=st.sampled_from(wire.Word),
        ticket=st.integers(0),
        seconds=NUMBER,
        audio_s=NUMBER,
        voices=st.lists(TEXT, max_size=2).map(tuple),
        failure=st.none() | st.builds(Failure, code=st.sampled_from(Code), message=TEXT, hint=st.just("Do this.")),
        corrupt=st.lists(TEXT, max_size=5).map(tuple),
    )
)
def test_answers_survive(answer: wire.Answer) -> None:
    """What the worker answers is what the pool reads."""
    assert wire.Answer.decode(answer.encode()) == answer


ITEMS = st.builds(
    RenderItem,
    file=PATHS,
    pause_after=NUMBER,
    scene=st.integers(0, 99),
    text=TEXT,
    written=st.lists(st.tuples(st.integers(0), st.integers(0), TEXT), max_size=3).map(tuple),
    goes_on=st.booleans(),
)


@given(st.lists(ITEMS, max_size=5))
def test_plans_survive(items: list[RenderItem]) -> None:
    """The worker reads the plan that the pool wrote."""
    scenes = [RenderScene("a", "01-a")]
    plan = RenderPlan(
        items, 22_050, -16.0, Path("/tmp/job"), scenes=scenes, captions=("srt",), title="سلام", joined=False
    )
    assert wire.decode_plan(wire.encode_plan(plan)) == plan


def test_a_name_that_is_not_utf8_survives() -> None:
    """Paths come with surrogate escapes."""
    path = Path(b"/tmp/\xff\xfe".decode(errors="surrogateescape"))
    assert wire.Order.decode(wire.Order(wire.Verb.SPEAK, path=path).encode()).path == path


def test_a_message_has_a_limit() -> None:
    """One that would not fit into the channel is refused where it is made."""
    with pytest.raises(wire.TooLongError, match="over the limit"):
        wire.Order(wire.Verb.SPEAK, utterance=Utterance("ا" * wire.LIMIT, "v", 0, 0.0)).encode()


@given(st.integers(0, 2000))
def test_any_number_of_names_fits(count: int) -> None:
    """They are parted over messages, none lost."""
    names = [f"{number:064x}" for number in range(count)]
    answers = [wire.Answer.decode(answer.encode()) for answer in wire.corrupt_answers(7, names)]
    assert [name for answer in answers for name in answer.corrupt] == names
