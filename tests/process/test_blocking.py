"""Models rewritten for ONNX Runtime's blocked convolutions: the same sound, and nothing left on the way."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import decoders
from decoders import Decoder, Upsampling
from piperd.engine import blocking, speech, tuner, widening
from piperd.engine.graph import Graph, UntunableError

if TYPE_CHECKING:
    from pathlib import Path

MEDIUM = (Upsampling(8, 16, 64), Upsampling(4, 8, 32, kernels=(3, 5, 7)))


@pytest.fixture(scope="module")
def block(tmp_path_factory: pytest.TempPathFactory) -> int:
    found = tuner.block_size(tmp_path_factory.mktemp("probe"))
    if found == 1:
        pytest.skip("this CPU has no blocked convolutions")
    return found


def rewritten(model: Path, block: int) -> Path:
    """All steps, one after the other."""
    folder = model.parent
    widening.widen_decoder(model, folder / "wide.onnx", block)
    return kept_blocked(folder / "wide.onnx", block)


def kept_blocked(wide: Path, block: int) -> Path:
    speech.optimise(wide, wide.with_name("optimised.onnx"))
    graph = Graph.load(wide.with_name("optimised.onnx"))
    assert blocking.is_blocked(graph)
    blocking.keep_blocked(graph, block)
    graph.save(wide.with_name("blocked.onnx"), "blocked.weights")
    return wide.with_name("blocked.onnx")


def assert_sounds_the_same(model: Path, other: Path) -> None:
    for width in (1, 5, 40):
        one, two = decoders.sound(model, width), decoders.sound(other, width)
        assert one.shape == two.shape
        assert np.abs(one).max() > 0.01
        assert np.abs(one - two).max() < 2e-5


def upsamplings() -> st.SearchStrategy[Upsampling]:
    @st.composite
    def one(draw: st.DrawFn) -> Upsampling:
        stride = draw(st.integers(1, 8))
        pad = draw(st.integers(0, stride))
        more = draw(st.integers(0, min(1, stride - 1)))
        kernels = draw(st.lists(st.sampled_from([3, 5, 7]), min_size=1, max_size=3, unique=True))
        return Upsampling(stride, stride + 2 * pad, draw(st.sampled_from([8, 16, 24, 32, 48])), more, kernels)

    return one()


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    stages=st.lists(upsamplings(), min_size=1, max_size=3),
    channels=st.sampled_from([16, 32, 40]),
    two=st.booleans(),
    speakers=st.booleans(),
    bias=st.booleans(),
)
def test_any_decoder_of_this_kind_sounds_the_same(
    tmp_path: Path, block: int, stages: list[Upsampling], channels: int, two: bool, speakers: bool, bias: bool
) -> None:
    """Low, medium and high quality, one speaker or several, whatever widths, strides and channels they have."""
    model = Decoder(stages, channels=channels, two=two, speakers=speakers, bias=bias).save(tmp_path / "decoder.onnx")
    assert_sounds_the_same(model, rewritten(model, block))


def test_nothing_leaves_the_layout_on_the_way(tmp_path: Path, block: int) -> None:
    """One way in, one out; what is added to a convolution's result is added by it, the rectifier behind it too."""
    found = rewritten(Decoder(MEDIUM).save(tmp_path / "decoder.onnx"), block)
    kinds = Counter(node.op_type for node in onnx.load(str(found)).graph.node)
    assert (kinds["ReorderInput"], kinds["ReorderOutput"]) == (1, 1)
    assert kinds["ConvTranspose"] == kinds["Div"] == 0
    # two residual blocks and three, of two additions each, and three that add the blocks up: two at a rectifier,
    # where what the convolution adds anyway is added to the sum of the others first
    assert kinds["Add"] == 3
    # one at the beginning of each stage's blocks, which share it, and one within each of them
    assert kinds["LeakyRelu"] == 2 + 5
    assert kinds["Tanh"] == 0


def test_the_last_convolution_makes_a_block_at_a_time(tmp_path: Path, block: int) -> None:
    """Its one channel would leave all others of a block empty."""
    widening.widen_decoder(Decoder(MEDIUM).save(tmp_path / "a.onnx"), tmp_path / "wide.onnx", block)
    graph = Graph.load(tmp_path / "wide.onnx")
    steps = [node.attribute for node in graph.nodes if node.op_type == "Conv"]
    strides = [list(each.ints) for attributes in steps for each in attributes if each.name == "strides"]
    assert strides.count([1, block]) == 1


def test_what_has_another_width_is_added_outside_of_the_layout(tmp_path: Path, block: int) -> None:
    """A speaker is as wide as one frame: inside, it would be spread over the wrong numbers."""
    graph = Graph.load(Decoder(MEDIUM, speakers=True).save(tmp_path / "decoder.onnx"))
    addition = next(node for node in graph.nodes if node.name == "/dec/with_speaker/Add")
    half = graph.constant("half", np.array(0.5, np.float32))
    for number, name in enumerate(addition.input):
        # ONNX Runtime leaves the layout for these, so that what follows is for us to do
        graph.nodes.append(onnx.helper.make_node("Mul", [name, half], [f"half.{number}"], name=f"/dec/half.{number}"))
        addition.input[number] = f"half.{number}"
    graph.save(tmp_path / "halves.onnx")
    assert_sounds_the_same(tmp_path / "halves.onnx", rewritten(tmp_path / "halves.onnx", block))


def test_a_convolution_anywhere_else_may_be_an_image_too(tmp_path: Path, block: int) -> None:
    """Its result is the same, and what is too small for it stays as it is."""
    model = Decoder(MEDIUM).save(tmp_path / "decoder.onnx")
    graph = Graph.load(model)
    for node in graph.nodes:
        node.name = node.name.replace("/dec/", "/enc/")
    graph.save(tmp_path / "encoder.onnx")
    widening.widen_others(tmp_path / "encoder.onnx", tmp_path / "wide.onnx")
    assert_sounds_the_same(model, tmp_path / "wide.onnx")
    wide = Graph.load(tmp_path / "wide.onnx")
    ranks = Counter(len(wide.dims(node.input[1]) or ()) for node in wide.nodes if node.op_type == "Conv")
    assert ranks == {4: 11, 3: 1}
    assert_sounds_the_same(model, kept_blocked(tmp_path / "wide.onnx", block))


@pytest.mark.parametrize(
    ("kind", "said"), [("Softmax", "its decoder has Softmax"), ("Identity", None)], ids=["strange", "usual"]
)
def test_a_strange_decoder_is_refused(tmp_path: Path, block: int, kind: str, said: str | None) -> None:
    """What may care for the number of dimensions is not given another one."""
    graph = Graph.load(Decoder(MEDIUM).save(tmp_path / "decoder.onnx"))
    first = next(node for node in graph.nodes if node.name == "/dec/bent/LeakyRelu")
    graph.nodes.append(onnx.helper.make_node(kind, [first.input[0]], ["changed"], name="/dec/changed"))
    first.input[0] = "changed"
    graph.save(tmp_path / "strange.onnx")
    if said is None:
        assert_sounds_the_same(tmp_path / "strange.onnx", rewritten(tmp_path / "strange.onnx", block))
    else:
        with pytest.raises(UntunableError, match=said):
            widening.widen_decoder(tmp_path / "strange.onnx", tmp_path / "wide.onnx", block)
