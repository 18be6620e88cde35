"""The same on a GPU: skipped where there is none."""

import numpy as np
import pytest
import torch

from bdgan_lib.core.image_tensors import to_uint8
from bdgan_lib.heads.base import Architecture
from bdgan_lib.heads.training import HeadTraining, launch_fabric, train_head
from bdgan_lib.profiles import load_profile
from bdgan_lib.profiles.annotated import training_annotations
from bdgan_lib.synthesis.filters import Models, calibrate_filters
from bdgan_lib.synthesis.job import synthesize
from bdgan_lib.synthesis.spec import SynthesisSpec

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
IDS, SEEDS = torch.arange(24) % 12, torch.arange(24)


@pytest.fixture(scope="module")
def profile():
    return load_profile("pocket")


@pytest.fixture(scope="module")
def head(profile):
    """Sixteen members, taught on the GPU."""
    torch.manual_seed(0)
    lessons, kind = training_annotations(profile, "cuda"), Architecture(members=16)
    return train_head(*lessons, HeadTraining(steps=60), kind, launch_fabric("cuda"), progress=None)[0].to(
        "cuda"
    )


@pytest.mark.parametrize("name", ["pocket", "pocket-vqgan"])
def test_a_sample_is_that_of_the_cpu_but_for_rounding(name):
    profile = load_profile(name)
    here, there = (
        to_uint8(profile.generator(device).sample(IDS, SEEDS, profile.sampling).images)
        for device in ("cpu", "cuda")
    )
    off = np.abs(here.astype(int) - there).mean((1, 2, 3))
    # VQGAN: a number near a border draws another code, and from there on another image
    assert np.median(off) < 1 and (off < 1).mean() > (0.99 if name == "pocket" else 0.5)


def test_judge_and_head_say_the_same_on_either(profile, head):
    sample = profile.generator("cuda").sample(IDS, SEEDS, profile.sampling)
    images = to_uint8(sample.images)
    there = profile.scorer.to("cuda")(images, IDS.numpy())
    here = profile.scorer.to("cpu")(images, IDS.numpy())
    np.testing.assert_allclose(there, here, atol=2e-2)
    masks, divergence = head.predict_with_uncertainty(sample)
    again, same = head.to("cpu").predict_with_uncertainty(sample.cpu())
    head.to("cuda")
    assert (masks != again).mean() < 1e-2
    np.testing.assert_allclose(divergence, same, atol=1e-2)


@pytest.mark.parametrize("bf16", [False, True])
def test_a_data_set_has_the_same_bytes_whenever_it_is_made(profile, head, bf16, tmp_path):
    models = Models(profile.generator("cuda"), head, profile.scorer.to("cuda"))
    filters = calibrate_filters(models, (0, 5), profile.sampling, samples=100, bf16=bf16)
    spec = SynthesisSpec.for_models(models, (0, 5), 60, profile.sampling, filters, shard_size=40, bf16=bf16)
    assert spec.device == "cuda"
    whole = synthesize(spec, models, tmp_path / "a", progress=False)
    again = synthesize(spec, models, tmp_path / "b", progress=False)
    assert [s["sha256"] for s in whole.shards] == [s["sha256"] for s in again.shards]
    (tmp_path / "b" / whole.shards[1]["name"]).unlink()
    synthesize(spec, models, tmp_path / "b", progress=False).verify()
    assert 60 <= len(whole) <= 120
