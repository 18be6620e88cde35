"""Checkpoints and configurations as taming-transformers leaves them."""

import pytest
import torch
from safetensors.torch import save_file

from bdgan_lib.checkpoints.unpickle import convert_checkpoint
from bdgan_lib.core.types import BdganError
from bdgan_lib.generators.taming_checkpoint import IMAGENET, read_config, read_vqgan

CLASSES = ("robin", "mug", "saw")
YAML = """
model:
  base_learning_rate: 0.0625
  target: taming.models.cond_transformer.Net2NetTransformer
  params:
    cond_stage_key: class_label
    transformer_config:
      target: taming.modules.transformer.mingpt.GPT
      params: {vocab_size: 40, block_size: 16, n_layer: 4, n_head: 2, n_embd: 16}
    first_stage_config:
      target: taming.models.vqgan.VQModel
      params:
        embed_dim: 6
        n_embed: 40
        ddconfig:
          double_z: false
          z_channels: 32
          resolution: 32
          in_channels: 3
          out_ch: 3
          ch: 32
          ch_mult: [1, 1, 1, 1]
          num_res_blocks: 1
          attn_resolutions: [4]
          dropout: 0.0
        lossconfig: {target: os.system}
    cond_stage_config:
      target: taming.modules.util.Labelator
      params: {n_classes: 3}
"""


def as_tamings(vqgan):
    """The state dict of a Net2NetTransformer with this network in it, its training losses too."""
    state = vqgan._network.state_dict()
    first = {f"first_stage_model.{k}": v for k, v in state.items() if not k.startswith("transformer.")}
    gpt = {k: v for k, v in state.items() if k.startswith("transformer.")}
    masks = {f"transformer.blocks.{i}.attn.mask": torch.ones(1, 1, 16, 16).tril() for i in range(4)}
    return {**first, **gpt, **masks, "first_stage_model.loss.discriminator.main.0.weight": torch.zeros(2)}


def test_a_lightning_checkpoint_and_its_yaml_give_the_same_generator(vqgan, tmp_path):
    (tmp_path / "project.yaml").write_text(YAML)
    torch.save({"epoch": 3, "state_dict": as_tamings(vqgan)}, tmp_path / "last.ckpt")
    convert_checkpoint(tmp_path / "last.ckpt", tmp_path / "last.safetensors")
    config = read_config(tmp_path / "project.yaml")
    assert config == vqgan.config
    loaded = read_vqgan(tmp_path / "last.safetensors", config, "read", CLASSES)
    ids, seeds = torch.tensor([0, 2]), torch.arange(2)
    assert torch.equal(loaded.sample(ids, seeds).images, vqgan.sample(ids, seeds).images)
    torch.testing.assert_close(
        loaded.features(loaded.encode(torch.zeros(2, 3, 32, 32)), ids)["transformer4"],
        vqgan.features(vqgan.encode(torch.zeros(2, 3, 32, 32)), ids)["transformer4"],
    )


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("n_embd: 16", "n_embd: 32", "of another shape"),
        ("n_layer: 4", "n_layer: 5", "missing: transformer.blocks.4"),
        ("n_layer: 4", "n_layer: 3", "surplus: transformer.blocks.3"),
        ("embed_dim: 6", "embed_dim: 7", r"instead of \[40, 7\]"),
    ],
)
def test_a_checkpoint_and_a_configuration_that_do_not_match_are_named(vqgan, tmp_path, old, new, message):
    (tmp_path / "project.yaml").write_text(YAML.replace(old, new))
    save_file(as_tamings(vqgan), tmp_path / "last.safetensors")
    with pytest.raises(BdganError, match=message):
        read_vqgan(tmp_path / "last.safetensors", read_config(tmp_path / "project.yaml"), "read", CLASSES)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("n_layer: 4", "n_layer: ${oc.env:HOME}", "interpolation"),
        ("n_layer: 4", "n_layer: !!python/object/apply:os.getcwd []", "not a readable configuration"),
        ("n_layer: 4", "n_layer: many", "n_layer: expected a whole number of 1 or more, got 'many'"),
        ("n_layer: 4", "layers: 4", "transformer_config.params.n_layer is missing"),
        ("vocab_size: 40", "vocab_size: 41", "vocab_size: expected 40 as in its VQGAN, got 41"),
        ("block_size: 16", "block_size: 64", "block_size: expected 16 as in its VQGAN, got 64"),
        ("[1, 1, 1, 1]", "1", "ch_mult: expected a list of whole numbers, got 1"),
        ("model:", "model: [", "not a readable configuration"),
        (YAML, "[]", "model.params.* is missing"),
        ("n_embd: 16", "n_embd: 16, n_unmasked: 2", "n_unmasked: expected 0 or 1, got 2"),
        ("n_embd: 16", "n_embd: 16, rotary: true", "params.rotary: expected no such setting, got True"),
        ("double_z: false", "double_z: true", "double_z: expected False, got True"),
        ("out_ch: 3", "out_ch: 1", "out_ch: expected 3, got 1"),
        ("dropout: 0.0", "resamp_with_conv: false", "resamp_with_conv: expected True, got False"),
        ("dropout: 0.0", "attn_type: linear", "ddconfig.attn_type: expected no such setting, got 'linear'"),
        (
            "n_embed: 40",
            "{n_embed: 40, remap: used.npy}".strip("{}").replace(", ", "\n        "),
            "remap: expected None",
        ),
        ("vqgan.VQModel", "vqgan.GumbelVQ", "first_stage_config.target: expected .*VQModel, got .*GumbelVQ"),
        ("mingpt.GPT", "mingpt.CodeGPT", "transformer_config.target: expected .*GPT, got .*CodeGPT"),
        ("util.Labelator", "util.SOSProvider", "cond_stage_config.target: expected .*Labelator, got .*SOS"),
        ("cond_stage_key: class_label", "pkeep: 0.0", "pkeep: expected a number above 0, got 0.0"),
        ("cond_stage_key: class_label", "unconditional: true", "unconditional: expected False, got True"),
        (
            "cond_stage_key: class_label",
            "downsample_cond_size: 8",
            "downsample_cond_size: expected -1, got 8",
        ),
        (
            "cond_stage_key: class_label",
            "permuter_config: {target: taming.modules.transformer.permuter.ZCurve}",
            "permuter_config: expected None or .*Identity.*, got .*ZCurve",
        ),
        ("ch_mult: [1, 1, 1, 1]", "ch_mult: []", "ch_mult: expected one number or more, got none"),
        (
            "attn_resolutions: [4]",
            "attn_resolutions: [-4]",
            "attn_resolutions: expected a list of whole numbers",
        ),
    ],
)
def test_a_configuration_that_is_odd_or_could_run_is_refused(tmp_path, old, new, message):
    (tmp_path / "project.yaml").write_text(YAML.replace(old, new))
    with pytest.raises(BdganError, match=message):
        read_config(tmp_path / "project.yaml")


def test_settings_that_change_no_sample_are_read(vqgan, tmp_path):
    """As in the projects that taming itself writes; with n_unmasked 1 its GPT is the same function."""
    more = "n_embd: 16, embd_pdrop: 0.1, resid_pdrop: 0.1, attn_pdrop: 0.1, n_unmasked: 1"
    text = YAML.replace("n_embd: 16", more).replace(
        "dropout: 0.0", "dropout: 0.1\n          resamp_with_conv: true"
    )
    (tmp_path / "project.yaml").write_text(
        text + "data: {target: main.DataModuleFromConfig}\nlightning: {}\n"
    )
    assert read_config(tmp_path / "project.yaml") == vqgan.config
    from taming.modules.transformer.mingpt import GPT

    torch.manual_seed(0)
    plain, unmasked = GPT(40, 16, 2, 2, 16).eval(), GPT(40, 16, 2, 2, 16, n_unmasked=1).eval()
    masks = {key: x for key, x in unmasked.state_dict().items() if key.endswith("mask")}
    unmasked.load_state_dict({**plain.state_dict(), **masks})
    tokens = torch.arange(16)[None]
    assert torch.equal(plain(tokens)[0], unmasked(tokens)[0])


@pytest.mark.parametrize(("old", "new"), [("n_head: 2", "n_head: 3"), ("ch: 32", "ch: 33")])
def test_sizes_that_make_no_network_are_refused(vqgan, tmp_path, old, new):
    (tmp_path / "project.yaml").write_text(YAML.replace(old, new))
    save_file(as_tamings(vqgan), tmp_path / "last.safetensors")
    with pytest.raises(BdganError, match="sizes that make no VQGAN"):
        read_vqgan(tmp_path / "last.safetensors", read_config(tmp_path / "project.yaml"), "read", CLASSES)


def test_a_yaml_of_nothing_but_brackets_or_of_repeated_anchors_is_refused_at_once(tmp_path):
    anchors = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 60))
    for text in ("[" * 5000, anchors + YAML.replace("n_layer: 4", "n_layer: *a59")):
        (tmp_path / "project.yaml").write_text(text)
        with pytest.raises(BdganError, match=r"not a readable configuration|n_layer: expected") as error:
            read_config(tmp_path / "project.yaml")
        assert len(str(error.value)) < 100_000


def test_a_file_that_is_missing_or_no_safetensors_is_named(tmp_path):
    with pytest.raises(BdganError, match="is missing"):
        read_vqgan(tmp_path / "a.safetensors", IMAGENET, "read", CLASSES)
    (tmp_path / "a.safetensors").write_bytes(b"<html>")
    with pytest.raises(BdganError, match="not a readable safetensors"):
        read_vqgan(tmp_path / "a.safetensors", IMAGENET, "read", CLASSES)


def test_the_published_size_is_the_papers():
    """VQGAN f16 with 16 x 16 codes of 16384, and 1.4 billion parameters in its transformer."""
    from bdgan_lib.profiles import load_profile

    generator = load_profile("imagenet-vqgan").generator("meta")
    gpt = sum(x.numel() for x in generator._network.transformer.parameters())
    assert (generator.image_size, generator.config.side, generator.config.codes) == (256, 16, 16384)
    assert 1.38e9 < gpt < 1.42e9
