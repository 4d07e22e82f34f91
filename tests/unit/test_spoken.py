"""The form of a spoken utterance on disk."""

from __future__ import annotations

import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from piperd import spoken

words = st.none() | st.lists(st.tuples(*[st.integers(0, 10_000)] * 4), max_size=5)


@given(st.lists(st.floats(-1, 1, width=32), max_size=50), st.integers(8_000, 48_000), words)
def test_what_is_packed_comes_back(values: list[float], rate: int, words: list[spoken.Word] | None) -> None:
    """Samples, rate and words are the same after a round trip."""
    samples = array.array("f", values).tobytes()
    header, found = spoken.unpack(b"".join(spoken.pack(samples, rate, words)))
    assert bytes(found) == samples
    assert (header.sample_rate, header.samples) == (rate, len(values))
    assert header.words == (None if words is None else tuple(words))


@given(st.data())
def test_no_damage_goes_unnoticed(data: st.DataObject) -> None:
    """A cut or changed entry is refused, or decodes to the very same samples (a change of white space, say)."""
    samples = array.array("f", [0.5, -0.25, 0.125] * 20).tobytes()
    whole = b"".join(spoken.pack(samples, 22_050))
    if data.draw(st.booleans()):
        damaged = whole[: data.draw(st.integers(0, len(whole) - 1))]
    else:
        at = data.draw(st.integers(0, len(whole) - 1))
        damaged = whole[:at] + bytes([whole[at] ^ data.draw(st.integers(1, 255))]) + whole[at + 1 :]
    try:
        header, found = spoken.unpack(damaged)
    except spoken.CorruptError:
        return
    assert bytes(found) == samples
    assert header.samples == 60


def test_an_empty_file_is_corrupt() -> None:
    """What a power loss leaves of an entry that was never fsynced is noticed."""
    with pytest.raises(spoken.CorruptError):
        spoken.unpack(b"")
