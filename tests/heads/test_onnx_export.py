"""ONNX files: onnxruntime and ONNX's reference evaluator compute what torch does; the rest is refused."""

import json
import sys
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from bdgan_lib import cli
from bdgan_lib.core.sampling import Sampling
from bdgan_lib.core.types import BdganError
from bdgan_lib.generators.biggan import BigGAN, BigGANConfig, BigGANNetwork
from bdgan_lib.generators.biggan_deep import BigGANDeep
from bdgan_lib.generators.latents import latents_from_seeds
from bdgan_lib.heads import onnx_export
from bdgan_lib.heads.base import Architecture, HeadConfig
from bdgan_lib.heads.ensemble import mean_and_divergence
from bdgan_lib.heads.files import save_head
from bdgan_lib.heads.label_head import build_head
from bdgan_lib.heads.onnx_export import export_onnx
from bdgan_lib.heads.onnx_graph import LabelledGenerator
from bdgan_lib.profiles import load_profile

onnx = pytest.importorskip("onnx", reason="needs the extra `onnx`")
onnxruntime = pytest.importorskip("onnxruntime", reason="needs the extra `onnx`")
pytest.importorskip("onnxscript", reason="needs the extra `onnx`")

LABELS = ("background", "head", "body")
NAMES = tuple(f"class {k}" for k in range(12))
HALF = Sampling(0.5)


def random_head(generator, bits=16, **settings):
    """A head of random weights that make themselves felt, by default with 16 bits."""
    torch.manual_seed(1)
    blocks = tuple((name, channels, side) for name, (channels, side) in generator.blocks.items())
    head = build_head(HeadConfig(blocks, len(generator.classes), LABELS, Architecture(**settings)))
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.normal_(0, 0.15)
            parameter.copy_(parameter.half() if bits == 16 else parameter)
    return head.eval()


@pytest.fixture
def pair(biggan):
    """A tiny BigGAN-deep with weights of 16 bits, as the pocket's, and an ensemble on it."""
    with torch.no_grad():
        for x in (*biggan.parameters(), *biggan.buffers()):
            if x.is_floating_point():
                x.copy_(x.half().float())
    generator = BigGANDeep(biggan, "tiny", NAMES, "0" * 64)
    return generator, random_head(generator, members=3)


MADE: dict[str, tuple] = {}  # the exporter takes ten seconds


@pytest.fixture(params=["fp32", "fp16"])
def exported(request, pair, tmp_path_factory):
    """(precision, path, what the export measured)"""
    precision = request.param
    if precision not in MADE:
        path = tmp_path_factory.mktemp("onnx") / "sub" / f"{precision}.onnx"
        about = {"profile": "tiny", "parts": {"a": ["b"]}}
        MADE[precision] = path, export_onnx(*pair, path, precision, HALF, 9, 16, about)
    return precision, *MADE[precision]


def expected(generator, head, ids, seeds, sampling):
    """By the library, as a data set is labelled."""
    sample = generator.sample(ids, seeds, sampling)
    labels, divergence = head.label(sample.features, ids)
    with torch.inference_mode():
        probabilities, _ = mean_and_divergence(head.log_odds(sample.features, ids))
    return {
        "image": sample.images.numpy(), "mask": labels, "uncertainty": divergence,
        "probabilities": probabilities.numpy(),
    }  # fmt: skip


def inputs(generator, ids, seeds, sampling):
    return {
        "latent": latents_from_seeds(seeds, generator.z_dim, sampling).numpy(),
        "class_weights": np.eye(len(generator.classes), dtype=np.float32)[ids.numpy()],
        "truncation": np.array([sampling.truncation], np.float32),
    }


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 5])
@pytest.mark.parametrize("truncation", [1.0, 0.58, 0.05])
def test_onnxruntime_computes_what_torch_does(pair, exported, count, truncation):
    """At 0.05 the rows of statistics 2 and 3 are equally near, and float32 is on the far side."""
    precision, path, _ = exported
    ids, seeds = torch.arange(count) * 2, torch.arange(count) + 40
    session = onnxruntime.InferenceSession(path.read_bytes())
    results = session.run(None, inputs(pair[0], ids, seeds, Sampling(truncation)))
    results = dict(zip([x.name for x in session.get_outputs()], results, strict=True))
    truth = expected(*pair, ids, seeds, Sampling(truncation))
    assert results.pop("features").shape == (count, 9, 16, 16)
    assert {name: (x.shape, x.dtype) for name, x in results.items()} == {
        name: (x.shape, x.dtype) for name, x in truth.items()
    }
    assert np.abs(results["image"] - truth["image"]).max() <= 1e-5  # of weights with 16 bits: in both
    assert (results["mask"] != truth["mask"]).mean() <= (1e-4 if precision == "fp32" else 2e-3)
    for name in ("uncertainty", "probabilities"):
        assert np.abs(results[name] - truth[name]).max() <= (1e-4 if precision == "fp32" else 0.02)
    assert np.ptp(truth["uncertainty"]) > 0.05 and len(np.unique(truth["mask"])) == 3  # a test that can fail


@pytest.mark.slow
def test_the_reference_evaluator_agrees(pair, exported):
    from onnx.reference import ReferenceEvaluator

    precision, path, _ = exported
    onnx.checker.check_model(str(path), full_check=True)
    ids, seeds = torch.tensor([7]), torch.tensor([3])
    names = ["image", "probabilities", "uncertainty"]
    results = ReferenceEvaluator(str(path)).run(names, inputs(pair[0], ids, seeds, HALF))
    truth = expected(*pair, ids, seeds, HALF)
    most = 1e-4 if precision == "fp32" else 0.02
    assert all(np.abs(value - truth[name]).max() <= most for name, value in zip(names, results, strict=True))


@pytest.mark.slow
def test_shares_of_classes_lie_between_them(pair, exported):
    generator, _ = pair
    _, path, _ = exported
    feeds = inputs(generator, torch.tensor([0]), torch.tensor([5]), HALF)
    feeds["class_weights"] = np.full((1, 12), 1 / 12, np.float32)
    (image,) = onnxruntime.InferenceSession(path.read_bytes()).run(["image"], feeds)
    latent, weights = torch.from_numpy(feeds["latent"]), torch.from_numpy(feeds["class_weights"])
    assert np.abs(image - generator._model(latent, weights, 0.5).numpy()).max() <= 1e-4


@pytest.mark.slow
def test_the_file_says_what_it_is(pair, exported):
    generator, head = pair
    precision, path, differences = exported
    model = onnx.load(path)
    about = {entry.key: entry.value for entry in model.metadata_props}
    assert json.loads(about["classes"]) == list(NAMES) and json.loads(about["labels"]) == list(LABELS)
    assert (about["generator_sha256"], about["head_sha256"]) == (generator.sha256, head.sha256)
    assert (about["profile"], about["precision"], json.loads(about["truncation"])) == ("tiny", precision, 0.5)
    assert json.loads(about["differences"])["pixels"] == differences.pixels >= 200_000
    assert [x.version for x in model.opset_import if not x.domain] == [18]
    assert differences.mask <= 1e-4 and (differences.largest <= 1e-4 or precision == "fp16")
    large = [x for x in model.graph.initializer if np.prod(x.dims) >= 256]
    kinds = {x.data_type for x in large}
    assert kinds == {onnx.TensorProto.FLOAT16 if precision == "fp16" else onnx.TensorProto.FLOAT}
    if len(MADE) == 2:
        assert MADE["fp16"][0].stat().st_size < 0.75 * MADE["fp32"][0].stat().st_size


@pytest.mark.slow
def test_a_biggan_that_is_not_deep_has_no_truncation(tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_export, "PIXELS", 20_000)
    torch.manual_seed(0)
    network = BigGANNetwork(BigGANConfig(128, num_classes=3, width=4, embedding=6))
    with torch.no_grad():
        network.blocks[-2][-1].gamma.fill_(0.5) if hasattr(network.blocks[-2][-1], "gamma") else None
    generator = BigGAN(network, "tiny", ("a", "b", "c"), "1" * 64)
    head = random_head(generator, variant="linear", members=2)
    export_onnx(generator, head, tmp_path / "x.onnx")
    session = onnxruntime.InferenceSession((tmp_path / "x.onnx").read_bytes())
    assert [x.name for x in session.get_inputs()] == ["latent", "class_weights"]
    ids, seeds = torch.tensor([2, 0]), torch.tensor([1, 2])
    feeds = {key: x for key, x in inputs(generator, ids, seeds, Sampling()).items() if key != "truncation"}
    truth = expected(generator, head, ids, seeds, Sampling())
    image, mask = session.run(["image", "mask"], feeds)
    assert np.abs(image - truth["image"]).max() <= 1e-4 and (mask != truth["mask"]).mean() <= 1e-4


@pytest.mark.parametrize("variant", ["paper", "fast", "linear", "mlp"])
@pytest.mark.parametrize("settings", [{}, {"members": 2, "conditional": False}], ids=["one", "ensemble"])
def test_what_is_traced_is_what_the_library_computes(pair, variant, settings):
    generator, _ = pair
    head = random_head(generator, variant=variant, **settings)
    ids, seeds = torch.tensor([3, 11]), torch.tensor([0, 1])
    feeds = {name: torch.from_numpy(x) for name, x in inputs(generator, ids, seeds, HALF).items()}
    with torch.no_grad():
        results = LabelledGenerator(generator, head, None)(**feeds)
    names = ("image", "mask", "uncertainty", "probabilities")
    truth = expected(generator, head, ids, seeds, HALF)
    for name, value in zip(names, results, strict=True):
        np.testing.assert_allclose(value.numpy(), truth[name], atol=1e-6)


def test_what_does_not_fit_is_one_line_before_any_work(pair, vqgan, tmp_path, monkeypatch):
    generator, head = pair
    path = tmp_path / "x.onnx"
    monkeypatch.setattr(onnx_export, "trace", lambda *_: pytest.fail("work"))
    blocks = tuple((name, channels + 1, side) for name, channels, side in head.config.blocks)
    others = build_head(replace(head.config, blocks=blocks)), build_head(replace(head.config, num_classes=3))
    half = deepcopy(generator)
    half._model.bfloat16()
    away = deepcopy(generator)
    away.device = "meta"
    for arguments, text in (
        ((generator, others[0], path), "trained on other features than those of tiny: block1"),
        ((generator, others[1], path), "expected a head of 12 classes for tiny, got one of 3"),
        ((vqgan, head, path), "tiny VQGAN cannot be exported as one graph"),
        ((away, head, path), "expected tiny on the CPU, got it on meta"),
        ((half, head, path), "expected float32 weights of tiny, got torch.bfloat16"),
        ((generator, head, path, "fp64"), "expected precision fp32 or fp16, got 'fp64'"),
        ((generator, head, path, "fp32", HALF, 2), "of each of 5 blocks"),
    ):
        with pytest.raises(BdganError, match=text):
            export_onnx(*arguments)
    path.touch()
    with pytest.raises(BdganError, match=r"x\.onnx exists and is not written over"):
        export_onnx(generator, head, path)
    assert path.stat().st_size == 0


def test_where_nothing_can_be_written_is_said_before_any_work(pair, monkeypatch):
    monkeypatch.setattr(onnx_export, "trace", lambda *_: pytest.fail("work"))
    with pytest.raises(BdganError, match=r"nothing can be written in /proc .*, so not /proc/x\.onnx"):
        export_onnx(*pair, Path("/proc/x.onnx"))


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("output", ["image", "probabilities", "uncertainty", "mask"])
def test_every_output_has_a_bound(precision, output):
    same = onnx_export.Differences(0.0, 0.0, 0.0, 0.0, 1)
    onnx_export.refuse(same, precision)
    for value in (0.1, float("nan")):
        with pytest.raises(BdganError, match="was not kept"):
            onnx_export.refuse(replace(same, **{output: value}), precision)


@pytest.mark.parametrize("package", ["onnx", "onnxscript", "onnxruntime"])
def test_a_missing_package_is_one_line(pair, package, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(BdganError, match=rf'need {package}; run pip install "bdgan-lib\[onnx\]"'):
        export_onnx(*pair, tmp_path / "x.onnx")


def test_a_runtime_without_an_operator_is_one_line():
    value = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1])
    node = onnx.helper.make_node("Unheard", ["x"], ["y"], domain="elsewhere")
    graph = onnx.helper.make_graph([node], "g", [value], [onnx.helper.make_empty_tensor_value_info("y")])
    opsets = [onnx.helper.make_opsetid("", 18), onnx.helper.make_opsetid("elsewhere", 1)]
    model = onnx.helper.make_model(graph, opset_imports=opsets, ir_version=10)
    with pytest.raises(BdganError, match=r"onnxruntime [\d.]+ cannot run the graph, .*Unheard.*upgrade"):
        onnx_export.session(model.SerializeToString())


@pytest.mark.slow
@pytest.mark.parametrize("exported", ["fp32"], indirect=True)
def test_a_file_that_differs_is_not_kept(pair, exported, tmp_path, monkeypatch):
    model = onnx.load(exported[1])
    name = "generator.network.generator.conv_to_rgb.bias"
    (bias,) = [x for x in model.graph.initializer if x.name == name]
    bias.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(bias) + np.float32(0.001), name))
    monkeypatch.setattr(onnx_export, "trace", lambda *_: model)
    with pytest.raises(BdganError, match=r"would differ from torch and was not kept \(image 1\.0e-03"):
        export_onnx(*pair, tmp_path / "x.onnx", sampling=HALF)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_the_command_writes_a_file_that_runs(pair, tmp_path, monkeypatch, capsys):
    generator, head = pair
    save_head(head, tmp_path / "head")
    pocket = replace(load_profile("pocket"), generator=lambda *_: generator)
    monkeypatch.setattr("bdgan_lib.cli.export_onnx.load_profile", lambda _: pocket)
    monkeypatch.chdir(tmp_path)
    call = ["bdgan", "export-onnx", "--head", "head", "--out", "x.onnx", "--precision", "fp16"]
    monkeypatch.setattr(sys, "argv", [*call, "--truncation", "0.5"])
    with pytest.raises(SystemExit) as end:
        cli.main()
    said = capsys.readouterr().out
    assert (
        not end.value.code and "x.onnx: 0." in said and "MB, opset 18" in said and "against torch: " in said
    )
    session = onnxruntime.InferenceSession("x.onnx")
    assert session.get_modelmeta().custom_metadata_map["licence"] == pocket.licence
    ids, seeds = torch.arange(2), torch.arange(2)
    (image,) = session.run(["image"], inputs(generator, ids, seeds, HALF))
    assert np.abs(image - generator.sample(ids, seeds, HALF).images.numpy()).max() <= 1e-4
    monkeypatch.setattr(sys, "argv", call)
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code == 2 and "exists and is not written over" in capsys.readouterr().err
