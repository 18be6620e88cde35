"""The recipes of docs/own_generator.md run as they stand, on tiny networks with random weights."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from bdgan_lib.annotation.candidates import annotate_candidates, choose_candidates
from bdgan_lib.core.sampling import Sampling
from bdgan_lib.core.types import BdganError
from bdgan_lib.generators.custom import CustomGenerator
from bdgan_lib.heads.training import HeadTraining, train_head

PAGE = (Path(__file__).parents[2] / "docs" / "own_generator.md").read_text("utf-8")
IDS, SEEDS = torch.tensor([0, 1, 1, 0]), torch.tensor([5, 6, 7, 6])
NORMAL = Sampling(z_std=1.0)


def blocks_of(title: str) -> list[str]:
    """The blocks of code below a heading of the page, up to the next one."""
    (section,) = re.findall(rf"^### {re.escape(title)}\n(.*?)(?=^##|\Z)", PAGE, re.DOTALL | re.MULTILINE)
    return re.findall(r"```python\n(.*?)```", section, re.DOTALL)


def run(blocks: list[str], **names: object) -> dict:
    exec(compile("\n".join(blocks), "own_generator.md", "exec"), names)
    return names


def lines(blocks: list[str]) -> int:
    return sum(bool(line.strip()) for block in blocks for line in block.splitlines())


class Mapping(nn.Module):
    """Called as NVIDIA's mapping network: z [B, z_dim] and c [B, c_dim] -> ws [B, num_ws, w_dim]."""

    def __init__(self, z_dim: int, c_dim: int, w_dim: int, num_ws: int) -> None:
        super().__init__()
        self.c_dim, self.num_ws = c_dim, num_ws
        self.layer = nn.Linear(z_dim + c_dim, w_dim)
        self.register_buffer("w_avg", torch.randn(w_dim))

    def forward(self, z, c, truncation_psi=1, truncation_cutoff=None, update_emas=False):
        if self.c_dim:
            assert c.shape == (len(z), self.c_dim), "one row per sample"
            z = torch.cat([z, c.float()], 1)
        w = self.layer(z).unsqueeze(1).repeat(1, self.num_ws, 1)
        return self.w_avg.lerp(w, truncation_psi)


class Styled(nn.Module):
    """A convolution whose channels the style scales."""

    def __init__(self, before: int, after: int, w_dim: int, noise: bool) -> None:
        super().__init__()
        self.style, self.conv = nn.Linear(w_dim, before), nn.Conv2d(before, after, 3, padding=1)
        nn.init.kaiming_normal_(self.conv.weight)
        self.noise = noise

    def forward(self, x: Tensor, w: Tensor, noise_mode: str) -> Tensor:
        x = self.conv(x * self.style(w)[:, :, None, None]).relu()
        return x + torch.randn_like(x) if self.noise and noise_mode == "random" else x


class Block2(nn.Module):
    """Called as a block of StyleGAN2: returns the features and the image so far."""

    def __init__(self, side: int, w_dim: int) -> None:
        super().__init__()
        self.conv1, self.torgb = Styled(8, 8, w_dim, noise=True), nn.Conv2d(8, 3, 1)
        self.const = nn.Parameter(torch.randn(8, side, side))

    def forward(
        self, x, img, ws, force_fp32=False, fused_modconv=None, update_emas=False, noise_mode="random"
    ):
        assert force_fp32, "half precision changes with the batch"
        up = lambda x: nn.functional.interpolate(x, scale_factor=2)
        x = self.const.repeat(len(ws), 1, 1, 1) if x is None else up(x)
        x = self.conv1(x, ws[:, 0], noise_mode)
        y = self.torgb(x)
        return x, y if img is None else up(img) + y


class Synthesis2(nn.Module):
    """Called as StyleGAN2's synthesis network, with blocks b4, b8, ... of the same names."""

    num_ws = 4

    def __init__(self, w_dim: int) -> None:
        super().__init__()
        self.block_resolutions = [4, 8, 16, 32]
        for side in self.block_resolutions:
            setattr(self, f"b{side}", Block2(side, w_dim))

    def forward(self, ws, **block_kwargs):
        x = img = None
        for k, side in enumerate(self.block_resolutions):
            x, img = getattr(self, f"b{side}")(x, img, ws[:, k : k + 1], **block_kwargs)
        return img


class Layer3(nn.Module):
    """Called as a layer of StyleGAN3: a map of `out_sampling_rate`, with a margin except at the end."""

    def __init__(self, before: int, after: int, w_dim: int, rate: int, size: int) -> None:
        super().__init__()
        self.out_sampling_rate, self.out_size = rate, np.array([size, size])
        self.styled = Styled(before, after, w_dim, noise=False)

    def forward(self, x, w, noise_mode="random", force_fp32=False, update_emas=False):
        assert force_fp32
        x = self.styled(x, w, noise_mode)
        return nn.functional.interpolate(x, size=self.out_size.tolist())


class Synthesis3(nn.Module):
    """Called as StyleGAN3's synthesis network: layers L0_..., the last one gives the colours."""

    RATES = (16, 16, 32, 64, 128, 128, 128)  # of all layers; the last two have no margin
    num_ws = len(RATES)

    def __init__(self, w_dim: int) -> None:
        super().__init__()
        self.start, self.layer_names = nn.Parameter(torch.randn(8, 36, 36)), []
        for k, rate in enumerate(self.RATES):
            last = k == len(self.RATES) - 1
            size = rate if k >= len(self.RATES) - 2 else rate + 20
            self.layer_names.append(f"L{k}_{size}_{3 if last else 8}")
            setattr(self, self.layer_names[-1], Layer3(8, 3 if last else 8, w_dim, rate, size))

    def forward(self, ws, **layer_kwargs):
        x = self.start.repeat(len(ws), 1, 1, 1)
        for name, w in zip(self.layer_names, ws.unbind(1)):
            x = getattr(self, name)(x, w, **layer_kwargs)
        return 0.25 * x


class G(nn.Module):
    """A stand-in for what NVIDIA's pickles hold, with the names and calls of the published code."""

    def __init__(self, synthesis: type[Synthesis2 | Synthesis3], c_dim: int = 2) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.z_dim, self.c_dim = 6, c_dim
            self.synthesis = synthesis(w_dim=5)
            self.mapping = Mapping(self.z_dim, c_dim, 5, self.synthesis.num_ws)


STYLEGAN = blocks_of("StyleGAN2 and StyleGAN3")
DIFFUSION = blocks_of("A diffusion U-Net")


def stylegan(kind: int, c_dim: int = 2) -> dict:
    adapter, of_two, of_three, generator = STYLEGAN
    network = G({2: Synthesis2, 3: Synthesis3}[kind], c_dim)
    blocks = [adapter, {2: of_two, 3: of_three}[kind], generator]
    return run(blocks, G=network, classes=("disc", "ring") if c_dim else ("thing",))


def diffusion() -> dict:
    pytest.importorskip("diffusers")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return run(DIFFUSION)


RECIPES = {"StyleGAN2": lambda: stylegan(2), "StyleGAN3": lambda: stylegan(3), "diffusion": diffusion}


@pytest.fixture(scope="module", params=RECIPES)
def generator(request) -> CustomGenerator:
    return RECIPES[request.param]()["generator"]


def test_a_recipe_is_at_most_thirty_lines():
    adapter, of_two, of_three, use = STYLEGAN
    assert lines([adapter, of_two, use]) <= 30 and lines([adapter, of_three, use]) <= 30
    _network, adapter, use = DIFFUSION
    assert lines([adapter]) <= 30 and lines([use]) <= 5


def test_a_sample_depends_on_its_class_and_seed_alone(generator):
    batch, alone = generator.sample(IDS, SEEDS, NORMAL), generator.sample(IDS[1:2], SEEDS[1:2], NORMAL)
    torch.testing.assert_close(batch.images[1:2], alone.images, atol=1e-4, rtol=0)
    for block, x in alone.features.items():
        torch.testing.assert_close(batch.features[block][1:2], x, atol=1e-3, rtol=1e-3)
    torch.manual_seed(1)
    assert torch.equal(generator.sample(IDS, SEEDS, NORMAL).images, batch.images)
    assert not torch.allclose(batch.images[1], batch.images[3], atol=1e-3), "one seed, two classes"
    assert not torch.allclose(batch.images[1], batch.images[2], atol=1e-3), "one class, two seeds"


def test_a_head_learns_and_labels(generator):
    bright = lambda images, ids: (images.mean(3) > images.mean((1, 2, 3))[:, None, None]).astype(np.uint8)
    equal = lambda images, ids: np.ones(len(images))
    chosen = choose_candidates(generator, (0, 1), equal, NORMAL, range(2), keep=2)
    parts = dict.fromkeys(generator.classes, ("bright",))
    head, losses = train_head(
        generator,
        list(annotate_candidates(chosen, bright, "a rule", parts)),
        HeadTraining(steps=2),
        progress=None,
    )
    masks = head.predict(generator.sample(IDS, SEEDS, NORMAL))
    assert len(losses) and masks.shape == (4, generator.image_size, generator.image_size)


def test_the_features_of_stylegan2_are_its_blocks_maps():
    names = stylegan(2)
    generator, network = names["generator"], names["G"]
    assert list(generator.blocks.values()) == [(8, 4), (8, 8), (8, 16), (8, 32)]
    outputs = []
    hook = network.synthesis.b8.register_forward_hook(lambda _m, _i, y: outputs.append(y[0]))
    sample = generator.sample(IDS, SEEDS, NORMAL)
    hook.remove()
    assert torch.equal(sample.features["maps_b8"], outputs[0])


def test_the_margin_of_stylegan3_is_cut_off():
    names = stylegan(3)
    generator, network = names["generator"], names["G"]
    assert list(generator.blocks.values()) == [(8, 16), (8, 32), (8, 64), (8, 128)]
    outputs = []
    hook = network.synthesis.L3_84_8.register_forward_hook(lambda _m, _i, y: outputs.append(y))
    sample = generator.sample(IDS, SEEDS, NORMAL)
    hook.remove()
    assert torch.equal(sample.features["maps_L3_84_8"], outputs[0][..., 10:74, 10:74])


def test_a_stylegan_without_classes_and_truncated():
    names = stylegan(2, c_dim=0)
    ids = torch.zeros(2, dtype=torch.int64)
    images = names["generator"].sample(ids, SEEDS[:2], NORMAL).images
    blocks = [f"maps.{name}" for name in names["blocks"]]
    adapter = names["StyleGAN"](names["G"], names["blocks"], psi=0.0)
    mean = CustomGenerator(adapter, "mean", ("thing",), z_dim=6, blocks=blocks)
    first, second = mean.sample(ids, SEEDS[:2], NORMAL).images
    assert torch.equal(first, second) and not torch.allclose(*images, atol=1e-3)
    assert mean.sha256 != names["generator"].sha256, "psi changes images, so it is in the sha256"


def test_the_features_of_a_diffusion_are_those_of_the_chosen_steps():
    names = diffusion()
    generator, unet = names["generator"], names["unet"]
    assert generator.image_size == 32 and len({side for _, side in generator.blocks.values()}) >= 4
    outputs = []
    hook = unet.up_blocks[1].register_forward_hook(lambda _m, _i, y: outputs.append(y))
    sample = generator.sample(IDS, SEEDS, NORMAL)
    hook.remove()
    for step in names["at"]:
        assert torch.equal(sample.features[f"maps_up_blocks_1_step{step}"], outputs[step])
    assert len(outputs) > len(names["at"]) > 1
    more = names["Diffusion"](unet, names["scheduler"], names["blocks"], steps=9, at=names["at"])
    paths = [f"maps.{key}" for key in more.maps]
    changed = CustomGenerator(more, "nine steps", generator.classes, generator.z_dim, paths)
    assert changed.sha256 != generator.sha256, "the number of steps is in the sha256"
    other = type(names["scheduler"])(prediction_type="v_prediction")
    assert buffers(names, other) != buffers(names, names["scheduler"]), "and so is the schedule"


def buffers(names: dict, scheduler) -> list[int]:
    return names["Diffusion"](names["unet"], scheduler, ["mid_block"], steps=8, at=(7,)).about.tolist()


def test_a_diffusion_that_adds_noise_of_its_own_is_refused():
    names = diffusion()
    from diffusers import DDPMScheduler

    noisy = names["Diffusion"](names["unet"], DDPMScheduler(), names["blocks"], steps=4, at=names["at"])
    with pytest.raises(BdganError, match="two batches"):
        CustomGenerator(noisy, "noisy", ("disc", "ring"), 3 * 32 * 32, [f"maps.{key}" for key in noisy.maps])
