"""A head of the release comes through the converter with its logits, or is refused by its keys' names."""

import pickle

import pytest
import torch

from bdgan_lib.core.model_files import write_tensors
from bdgan_lib.core.types import BdganError
from bdgan_lib.heads.official_checkpoint import convert_official_head, load_official_head
from benchmarks.published_head import PublishedHead

BLOCKS = {"b1": (12, 4), "b2": (10, 8), "b3": (8, 16), "att": (8, 16), "b4": (6, 32), "b5": (4, 64)}
GROUPS = (["b1", "b2"], ["b3", "att"], ["b4", "b5"])


@pytest.fixture
def published():
    torch.manual_seed(0)
    model = PublishedHead([[(b, *BLOCKS[b]) for b in group] for group in GROUPS], 16, (12, 8, 6))
    for name, buffer in model.named_buffers():
        if name.endswith("stored_mean"):
            buffer.normal_()
        if name.endswith("stored_var"):
            buffer.uniform_(0.5, 2)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model.eval()


@pytest.fixture
def state(published):
    """As the release saves it: the whole model, the generator with it."""
    generator = {"shared": torch.randn(9, 16), "linear": torch.randn(3)}
    weights = {f"biggan_model.{layer}.weight": x for layer, x in generator.items()}
    return {**published.state_dict(), **weights}


def features():
    noise = torch.Generator().manual_seed(1)
    return {b: torch.randn(3, c, side, side, generator=noise) for b, (c, side) in BLOCKS.items()}


@torch.no_grad()
def assert_same_logits(head, published, state):
    class_ids = torch.tensor([0, 8, 3])
    logits = head(features(), class_ids)
    expected = published(features(), state["biggan_model.shared.weight"][class_ids])
    torch.testing.assert_close(logits[:, 0, 1:] - logits[:, 0, :1], expected, atol=1e-5, rtol=0)


def test_the_converted_head_gives_the_release_s_logits(published, state):
    assert_same_logits(convert_official_head(state, BLOCKS), published, state)


def test_it_comes_from_a_file_and_nothing_in_a_file_is_run(published, state, tmp_path, caplog):
    path = tmp_path / "checkpoint_latest.pth"
    torch.save(state, path)
    assert_same_logits(load_official_head(path, BLOCKS), published, state)
    assert caplog.messages == []
    torch.save({"model": {key: x + 1 for key, x in state.items()}, "ema": state}, path)
    assert_same_logits(load_official_head(path, BLOCKS), published, state)
    assert caplog.messages == [f"{path}: took ema, not model"]

    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    path.write_bytes(pickle.dumps({"low_feature_conv.0.weight": Evil()}, protocol=2))
    with pytest.raises(BdganError, match=r"checkpoint_latest\.pth"):
        load_official_head(path, BLOCKS)
    assert not (tmp_path / "ran").exists()
    with pytest.raises(BdganError, match="missing"):
        load_official_head(tmp_path / "none.pth", BLOCKS)


@pytest.mark.parametrize(
    "key",
    [
        "low_feature_conv.0.weight",
        "mid_feature_mix_conv.conv1.u0",
        "high_feature_mix_conv.bn2.gain.bias",
        "out_layer.0.stored_var",
        "biggan_model.shared.weight",
    ],
)
def test_a_missing_a_surplus_and_a_misshapen_key_are_named(state, key):
    lacking = {k: v for k, v in state.items() if k != key}
    with pytest.raises(BdganError, match=rf"missing: .*{key.replace('.', '[.]')}"):
        convert_official_head(lacking, BLOCKS)
    with pytest.raises(BdganError, match=r"surplus: extra_layer\.weight"):
        convert_official_head({**state, "extra_layer.weight": torch.zeros(1)}, BLOCKS)
    if key != "biggan_model.shared.weight":
        with pytest.raises(BdganError, match=r"of another shape|is not a label head"):
            convert_official_head({**state, key: torch.zeros(7, 7)}, BLOCKS)


def test_a_head_for_another_generator_does_not_fit(state):
    with pytest.raises(BdganError, match=r"low_feature_conv\.0\.weight \[12, 22, 1, 1\] instead of"):
        convert_official_head(state, {**BLOCKS, "b2": (11, 8)})


def test_a_file_without_the_logged_norms_gives_the_same_head_and_safetensors_are_read(
    published, state, tmp_path
):
    lacking = {key: x for key, x in state.items() if not key.endswith("sv0")}
    assert len(lacking) < len(state)
    write_tensors(tmp_path / "head.safetensors", lacking)
    assert_same_logits(load_official_head(tmp_path / "head.safetensors", BLOCKS), published, state)


@pytest.mark.parametrize("key", ["biggan_model.shared.weight", "low_feature_conv.0.weight"])
@pytest.mark.parametrize("x", [torch.zeros(()), torch.zeros(3), torch.zeros(1 << 40, 0, 1, 1)])
def test_a_size_that_cannot_be_is_refused(state, key, x):
    with pytest.raises(BdganError, match="is not a label head of the release"):
        convert_official_head({**state, key: x}, BLOCKS)
