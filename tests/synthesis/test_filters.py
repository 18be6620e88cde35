"""Laws of the filters: each drop has a reason, in the paper's order, and depends on the sample alone."""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch

from bdgan_lib.core.sampling import Sampling
from bdgan_lib.core.types import BdganError
from bdgan_lib.datasets.shards import CALIBRATION, ShardedSet
from bdgan_lib.heads.base import Architecture, HeadConfig
from bdgan_lib.heads.label_head import build_head
from bdgan_lib.profiles import load_profile
from bdgan_lib.synthesis import filters as filters_module
from bdgan_lib.synthesis.filters import (
    Calibration,
    Models,
    ScoredBatch,
    calibrate_filters,
    drop_reasons,
    load_or_calibrate_filters,
    score_batch,
    score_on_device,
)
from bdgan_lib.synthesis.job import synthesize
from bdgan_lib.synthesis.spec import Filters, SynthesisSpec

from .test_job import SPEC, TinyGenerator, TinyHead, content


class TinyScorer:
    sha256 = "j"

    def __call__(self, images, class_ids):
        return (images.mean((1, 2, 3)) / 255).astype(np.float32)


MODELS = Models(TinyGenerator(), TinyHead(), TinyScorer())


def scored(**changes) -> ScoredBatch:
    plain = ScoredBatch(
        np.zeros((4, 8, 8, 3), np.uint8), np.zeros((4, 8, 8), np.uint8),
        np.array([0.9, 0.1, 0.9, 0.9], np.float32), np.array([0.1, 0.9, 0.9, 0.1], np.float32),
        np.array([0.5, 0.5, 0.0, 0.0]), np.array([0, 1, 0, 1]),
    )  # fmt: skip
    return plain._replace(**changes)


def test_the_first_filter_that_fails_is_the_reason():
    strict = Filters(min_confidence=0.5, max_divergence=0.5, whole_masks=False)
    assert drop_reasons(scored(), strict) == ["", "confidence", "divergence", "empty"]
    assert drop_reasons(scored(area=np.ones(4)), strict) == ["full", "confidence", "divergence", "full"]
    assert drop_reasons(scored(), Filters()) == [""] * 4
    assert drop_reasons(scored(), Filters(max_divergence=0.5)) == ["", "divergence", "divergence", ""]


def test_a_class_is_held_to_its_own_threshold():
    apart = Filters(max_divergence={0: 0.05, 1: 0.95})
    assert drop_reasons(scored(), apart) == ["divergence", "", "divergence", ""]
    again = Filters(**json.loads(json.dumps(asdict(apart))))
    assert again == apart, "JSON's keys are strings"
    with pytest.raises(BdganError, match="max_divergence has no threshold for class 2"):
        replace(SPEC, class_ids=(0, 2), filters=apart)
    with pytest.raises(BdganError, match="min_confidence is nan"):
        Filters(min_confidence={0: float("nan")})


def test_each_class_loses_its_share_and_no_more():
    class Partial(TinyHead):
        """Has a higher divergence on every image of class 2 than on any of class 0."""

        def predict_with_uncertainty(self, sample):
            masks, divergence = super().predict_with_uncertainty(sample)
            return masks, divergence + (sample.class_ids == 2).numpy()

    models = MODELS._replace(head=Partial())
    few, many = (calibrate_filters(models, (0, 2), SPEC.sampling, 1.0, 0.9, samples=n) for n in (50, 2_000))
    assert isinstance(few.max_divergence, float) and set(many.max_divergence) == {0, 2}
    spec = replace(
        SPEC, class_ids=(0, 2), images_per_class=1_000, batch_size=50, shard_size=500, filters=many
    )
    why, ids = why_of(spec, models), np.arange(2_000) % 2
    lost = [sum(w == "divergence" for w, id in zip(why, ids, strict=True) if id == k) / 1_000 for k in (0, 1)]
    assert np.allclose(lost, 0.1, atol=0.04)


def test_a_threshold_without_a_classifier_is_refused():
    with pytest.raises(BdganError, match="without a classifier"):
        drop_reasons(scored(confidence=None), Filters(min_confidence=0.5))
    with pytest.raises(BdganError, match="without a classifier"):
        calibrate_filters(MODELS._replace(scorer=None), (0,), Sampling())
    with pytest.raises(BdganError, match="keep_agreed is 0"):
        calibrate_filters(MODELS, (0,), Sampling(), keep_agreed=0)


def test_thresholds_keep_the_shares_that_were_asked_for():
    filters = calibrate_filters(MODELS, (0, 2), SPEC.sampling, 0.8, 0.7, samples=2_000)
    spec = replace(
        SPEC, images_per_class=1_000, filters=filters, scorer_sha256="j", batch_size=50, shard_size=500
    )
    kept = why_of(spec)
    assert abs(1 - kept.count("confidence") / 2_000 - 0.8) < 0.03
    assert abs(kept.count("") / (2_000 - kept.count("confidence")) - 0.7) < 0.04


def why_of(spec: SynthesisSpec, models: Models = MODELS) -> list[str]:
    from bdgan_lib.synthesis.shard import scored_batches

    batches = (b for k in range(spec.num_shards) for _, b in scored_batches(spec, k, models))
    return [why for batch in batches for why in drop_reasons(batch, spec.filters)]


def test_every_sample_is_kept_or_listed_with_its_reason(tmp_path):
    filters = calibrate_filters(MODELS, (0, 2), SPEC.sampling, 0.7, 0.7, samples=200)
    spec = replace(SPEC, images_per_class=60, filters=filters, scorer_sha256="j", shard_size=50)
    data = synthesize(spec, MODELS, tmp_path / "a", progress=False)
    dropped = [
        json.loads(line) for path in sorted(data.folder.glob("*.dropped.jsonl")) for line in path.open()
    ]
    kept = [record for _, record in data]
    assert 0 < len(kept) < 120 and len(kept) + len(dropped) == 120
    assert {r["seed"] for r in kept} | {r["seed"] for r in dropped} == set(range(1_000_000, 1_000_120))
    for record in dropped:
        confident, agreed = (
            record["confidence"] >= filters.min_confidence[record["class_id"]],
            record["divergence"] <= filters.max_divergence[record["class_id"]],
        )
        assert record["dropped"] in (
            "confidence" if not confident else "divergence" if not agreed else "empty",
            "full",
        )
    assert all(r["confidence"] >= filters.min_confidence[r["class_id"]] - 1e-6 for r in kept)
    counts = [shard["dropped"] for shard in data.shards]
    assert sum(sum(c.values()) for c in counts) == len(dropped)
    # a filter changes nobody else's pixels
    plain = {
        s.id: s
        for s, _ in synthesize(replace(spec, filters=Filters()), MODELS, tmp_path / "b", progress=False)
    }
    assert all(np.array_equal(s.image, plain[s.id].image) for s, _ in ShardedSet(data.folder))


def test_thresholds_are_found_once(tmp_path):
    generator = TinyGenerator()
    models = MODELS._replace(generator=generator)
    first = load_or_calibrate_filters(tmp_path, models, (0, 2), Sampling(), Calibration(samples=100))
    batches = len(generator.batches)
    assert load_or_calibrate_filters(tmp_path, models, (0, 2), Sampling(), Calibration(samples=100)) == first
    assert len(generator.batches) == batches
    assert load_or_calibrate_filters(tmp_path, models, (0,), Sampling(), Calibration(samples=100)) != first
    assert (
        load_or_calibrate_filters(tmp_path / "no", models, (0,), Sampling(), Calibration(1, 1)) == Filters()
    )


def edited(text: str) -> str:
    """The text with one threshold changed, as by hand."""
    record = json.loads(text)
    record["filters"]["max_divergence"] = 9.0
    return json.dumps(record)


def unsealed(text: str) -> str:
    return json.dumps({key: value for key, value in json.loads(text).items() if key != "sha256"})


def no_thresholds(text: str) -> str:
    return json.dumps({**json.loads(unsealed(text)), "filters": {"max_divergence": "high"}})


def calibrated(folder, finished: bool) -> Filters:
    """Thresholds of two classes in `folder`, and with `finished` a data set that they filtered."""
    filters = load_or_calibrate_filters(folder, MODELS, (0, 2), SPEC.sampling, Calibration(1, 0.8, 50))
    if finished:
        spec = SynthesisSpec.for_models(MODELS, (0, 2), 7, SPEC.sampling, filters, batch_size=4, shard_size=6)
        synthesize(spec, MODELS, folder, progress=False)
    return filters


@pytest.mark.parametrize("finished", [False, True])
@pytest.mark.parametrize(
    ("damage", "text"),
    [
        (lambda text: text[:-20], "is not JSON"),
        (lambda text: "[]", "expected a JSON object|is not of a data set"),
        (edited, "calibration.json is damaged: its sha256 is not that of its content"),
    ],
)
def test_damaged_thresholds_are_told_and_not_replaced(tmp_path, finished, damage, text):
    calibrated(tmp_path, finished)
    path = tmp_path / CALIBRATION
    path.write_text(damage(path.read_text()))
    before = content(tmp_path)
    with pytest.raises(BdganError, match=text):
        calibrated(tmp_path, finished)
    assert content(tmp_path) == before


def test_thresholds_without_a_sha256_count_where_shards_agree_with_them(tmp_path):
    filters = calibrated(tmp_path, finished=False)
    path = tmp_path / CALIBRATION
    before = path.read_text()
    path.write_text(unsealed(edited(before)))
    assert calibrated(tmp_path, finished=True) == filters and path.read_text() == before
    path.write_text(unsealed(before))
    assert calibrated(tmp_path, finished=True) == filters and path.read_text() == unsealed(before)
    for damage, text in ((edited, "other thresholds"), (no_thresholds, "no thresholds")):
        path.write_text(unsealed(damage(before)))
        with pytest.raises(BdganError, match=text):
            calibrated(tmp_path, finished=True)


def test_other_thresholds_than_those_of_the_shards_replace_no_file(tmp_path):
    calibrated(tmp_path, finished=True)
    before = content(tmp_path)
    with pytest.raises(BdganError, match="a data set of other settings"):
        load_or_calibrate_filters(tmp_path, MODELS, (0, 2), SPEC.sampling, Calibration(1, 0.5, 50))
    assert content(tmp_path) == before
    (tmp_path / CALIBRATION).unlink()
    calibrated(tmp_path, finished=True)
    assert content(tmp_path) == {k: v for k, v in before.items() if k != CALIBRATION}


@pytest.mark.parametrize("share", [float("nan"), float("inf"), -0.1, 0, 1.1])
def test_a_share_is_above_0_and_at_most_1(share):
    for shares in ((share, 1), (1, share)):
        with pytest.raises(BdganError, match="give a share above 0 and at most 1"):
            Calibration(*shares)


def test_a_dropped_list_that_changed_is_made_again(tmp_path):
    spec = replace(SPEC, filters=Filters(max_divergence=0.05))
    data = synthesize(spec, MODELS, tmp_path, progress=False)
    path = next(data.folder.glob("*.dropped.jsonl"))
    before = path.read_bytes()
    path.write_bytes(before[:-5])
    synthesize(spec, MODELS, tmp_path, progress=False)
    assert path.read_bytes() == before


def test_a_specification_takes_what_it_can_from_its_models():
    generator, strict = TinyGenerator(), Filters(min_confidence=0.5)
    generator.device = "cuda:1"
    models = MODELS._replace(generator=generator)
    for filters, scorer_sha256 in ((Filters(), ""), (strict, "j")):
        expected = replace(SPEC, filters=filters, scorer_sha256=scorer_sha256)
        settings = {"batch_size": 4, "shard_size": 6}
        assert SynthesisSpec.for_models(MODELS, (0, 2), 7, SPEC.sampling, filters, **settings) == expected
        assert SynthesisSpec.for_models(models, (0, 2), 7, SPEC.sampling, filters).device == "cuda"


def test_another_class_scorer_is_refused(tmp_path):
    spec = replace(SPEC, filters=Filters(min_confidence=0.1), scorer_sha256="other")
    with pytest.raises(BdganError, match=r"the class scorer is not .* expected sha256 other, got j"):
        synthesize(spec, MODELS, tmp_path / "new", progress=False)
    assert torch.get_num_threads() > 0 and not (tmp_path / "new").exists()


@pytest.fixture(scope="module")
def networks():
    """The pocket's models with an untrained ensemble."""
    profile = load_profile("pocket")
    generator = profile.generator()
    torch.manual_seed(0)
    config = HeadConfig(
        tuple((name, *shape) for name, shape in generator.blocks.items()),
        len(generator.classes),
        architecture=Architecture(members=4),
    )
    return Models(generator, build_head(config), profile.scorer)


IDS, SEEDS = torch.arange(6), torch.arange(6) + 40


def test_a_device_s_scores_are_those_of_the_cpu(networks):
    sample = networks.generator.sample(IDS, SEEDS)
    for models in (networks, networks._replace(scorer=None)):
        here, there = score_batch(models, IDS, SEEDS, Sampling()), score_on_device(models, sample)
        for name in ("images", "masks", "confidence", "area", "class_ids"):
            np.testing.assert_array_equal(getattr(here, name), getattr(there, name), strict=True)
        np.testing.assert_allclose(here.divergence, there.divergence, rtol=1e-6)  # sums are rounded otherwise


def test_a_batch_comes_from_the_device_at_once(networks, monkeypatch):
    sample, transfers = networks.generator.sample(IDS, SEEDS), []
    original = filters_module.to_host

    def to_host(tensors):
        with monkeypatch.context() as allowed:
            allowed.setattr(torch.Tensor, "numpy", numpy)
            transfers.append(len(tensors))
            return original(tensors)

    def refused(self, *_arguments):
        if self is not sample.class_ids:  # those are on the host
            raise AssertionError("a tensor of the device is read by itself")
        return numpy(self)

    numpy = torch.Tensor.numpy
    monkeypatch.setattr(filters_module, "to_host", to_host)
    for method in ("numpy", "cpu", "item", "tolist", "__bool__", "__float__", "__int__"):
        monkeypatch.setattr(torch.Tensor, method, refused)
    score_on_device(networks, sample)
    assert transfers == [6]


def test_nan_from_a_device_is_an_error(networks):
    sample = networks.generator.sample(IDS, SEEDS)
    sample = replace(sample, images=torch.full_like(sample.images, torch.nan))
    with pytest.raises(BdganError, match="got NaN"):
        score_on_device(networks, sample)
