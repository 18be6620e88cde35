"""Labels on their whole way: 255 is never learnt nor counted, and masks stay with their images."""

import numpy as np
import torch

from bdgan_lib.core.ids import sample_id
from bdgan_lib.core.sampling import Sampling
from bdgan_lib.datasets.annotation_store import Annotation, AnnotationStore
from bdgan_lib.generators.biggan_deep import BigGANDeep
from bdgan_lib.heads.base import Architecture
from bdgan_lib.heads.training import HeadTraining, train_head
from bdgan_lib.heads.training_data import collect_training_data
from bdgan_lib.metrics.segmentation import confusion
from bdgan_lib.synthesis.filters import Models
from bdgan_lib.synthesis.job import synthesize
from bdgan_lib.synthesis.spec import SynthesisSpec

NAMES = tuple(f"class {i}" for i in range(12))
QUICK = HeadTraining(steps=2)
SMALL = Architecture(widths=(6, 6, 6))


def annotations(generator, store):
    noise = np.random.default_rng(0)
    for class_id in (2, 0, 1):
        mask = noise.choice(np.array([0, 1, 255], np.uint8), (32, 32))
        name = NAMES[class_id]
        sample = sample_id(name, 7), name, class_id, 7, Sampling(), generator.sha256
        store.add(Annotation(*sample, mask, "test"))
    return store


def test_a_mask_goes_from_the_store_to_the_loss_unchanged_with_its_own_image(biggan, tmp_path):
    generator = BigGANDeep(biggan, "tiny", NAMES, "a" * 64)
    store = annotations(generator, AnnotationStore(tmp_path))
    data = collect_training_data(generator, store)
    assert sorted(data.class_ids.tolist()) == [0, 1, 2]
    for i, class_id in enumerate(data.class_ids.tolist()):
        stored = store.load(sample_id(NAMES[class_id], 7))
        assert np.array_equal(data.masks[i].numpy(), stored.mask)
        image = generator.sample(torch.tensor([class_id]), torch.tensor([7]))
        for block in generator.blocks:
            torch.testing.assert_close(data.features[block][i], image.features[block][0], atol=1e-5, rtol=0)


def test_synthetic_labels_are_the_head_s_own_answer_on_that_very_image(biggan, tmp_path):
    generator = BigGANDeep(biggan, "tiny", NAMES, "a" * 64)
    store = annotations(generator, AnnotationStore(tmp_path / "a"))
    head, _ = train_head(generator, store, QUICK, SMALL, progress=None)
    models = Models(generator, head)
    spec = SynthesisSpec.for_models(models, (0, 2), 3, Sampling(), batch_size=4, shard_size=4)
    images, masks, class_ids = synthesize(spec, models, tmp_path / "data", progress=False).arrays()
    assert len(images) == len(masks) == 6
    for first in (0, 4):
        seeds = torch.arange(first, first + 4)
        ids = torch.tensor([(0, 2)[n % 2] for n in seeds.tolist()])
        expected = head.predict(generator.sample(ids, spec.first_seed + seeds))
        here = slice(first, min(first + 4, 6))
        assert np.array_equal(class_ids[here], ids.numpy()[: here.stop - first])
        assert np.array_equal(masks[here], expected[: here.stop - first])


def test_unlabelled_pixels_are_never_counted():
    noise = np.random.default_rng(0)
    predicted, expected = noise.integers(0, 2, (2, 50, 50))
    hidden = noise.random((50, 50)) < 0.3
    partly = np.where(hidden, 255, expected)
    counts = confusion(predicted, partly, 2)
    assert counts.sum() == (~hidden).sum()
    assert np.array_equal(counts, confusion(predicted[~hidden], expected[~hidden], 2))
