"""Which samples are annotated, and what is recorded of them."""

from dataclasses import replace

import numpy as np
import pytest

from bdgan_lib.annotation.candidates import annotate_candidates, choose_candidates, image_source
from bdgan_lib.annotation.session import Session
from bdgan_lib.core.sampling import Sample, Sampling
from bdgan_lib.core.types import BdganError
from bdgan_lib.datasets.annotation_store import AnnotationStore

NAMES = ("robin", "blue jay")
PARTS = {"robin": ("body", "wing"), "blue jay": ("body", "wing")}
SEEDS = (3, 5, 8, 9)
SCORES = {3: 0.2, 5: 0.9, 8: 0.9, 9: 0.95}


class Generator:
    classes, sha256, blocks = NAMES, "f" * 64, {"a": (1, 4)}

    def sample(self, class_ids, seeds, sampling, features, z=None):
        return sample(class_ids, seeds, sampling, features)


def sample(class_ids, seeds, sampling, features):
    assert not features and sampling == Sampling(0.9)
    images = (seeds.float() / 127.5 - 1)[:, None, None, None].expand(
        -1, 3, 4, 4
    )  # the pixel value is the seed
    return Sample(images, {}, class_ids, seeds, sampling)


def confidence(images, class_ids):
    return np.array([SCORES[int(image[0, 0, 0])] for image in images])


def label(images, class_ids):
    return (images[..., 0] % 3).astype(np.uint8)


def run(keep=2):
    chosen = choose_candidates(Generator(), range(2), confidence, Sampling(0.9), SEEDS, keep)
    return list(annotate_candidates(chosen, label, "oracle", PARTS))


def test_the_most_recognisable_samples_are_kept_and_named():
    found = run()
    assert [a.id for a in found] == [f"{n}_0000000{s}" for n in ("robin", "blue_jay") for s in (5, 9)]
    assert [(a.class_name, a.class_id) for a in found] == [("robin", 0)] * 2 + [("blue jay", 1)] * 2
    for a in found:
        assert (a.mask == a.seed % 3).all(), "each with the mask of its own image"
        assert a.sampling == Sampling(0.9) and a.generator_sha256 == "f" * 64 and a.annotator == "oracle"
        assert a.classes == ("background", "body", "wing")
        assert a.extra == {"confidence": SCORES[a.seed]}


def test_a_session_over_two_classes_of_one_name_but_for_its_capital_starts_and_saves(tmp_path):
    class Cardigans(Generator):
        classes = ("Cardigan", "cardigan")

    chosen = choose_candidates(Cardigans(), range(2), confidence, Sampling(0.9), SEEDS, 2)
    items = list(
        annotate_candidates(chosen, label, "oracle", dict.fromkeys(Cardigans.classes, ("body", "wing")))
    )
    store = AnnotationStore(tmp_path)
    with Session(store, items, lambda item: np.zeros((4, 4, 3), np.uint8), "ann") as session:
        assert len(session.items) == 4
    for item in items:
        store.add(item)
    assert sorted(a.class_id for a in store) == [0, 0, 1, 1]


def test_a_session_never_shows_another_sample_s_mask(tmp_path):
    item, other = run()[0], run()[2]
    AnnotationStore(tmp_path).add(replace(other, id=item.id))
    with pytest.raises(BdganError, match="has another class_id"):
        Session(AnnotationStore(tmp_path), [item], lambda item: np.zeros((4, 4, 3), np.uint8), "ann")


@pytest.mark.parametrize("keep", [1, 3, 4])
def test_as_many_as_asked_for(keep):
    assert len(run(keep)) == 2 * keep


@pytest.mark.parametrize("keep", [0, 5])
def test_more_than_there_are_is_refused(keep):
    with pytest.raises(BdganError, match=f"keep {keep} of 4"):
        run(keep)


def test_the_class_scorer_sees_all_samples_of_a_class_at_once():
    seen = []
    list(
        choose_candidates(
            Generator(), [1, 0], lambda i, c: seen.append(c) or confidence(i, c), Sampling(0.9), SEEDS, 1
        )
    )
    assert [c.tolist() for c in seen] == [[1] * 4, [0] * 4]


def test_what_is_chosen_has_no_label_and_its_picture_comes_back():
    picture = image_source(Generator())
    for found, images in choose_candidates(Generator(), range(2), confidence, Sampling(0.9), SEEDS, 2):
        for annotation, image in zip(found, images, strict=True):
            assert not annotation.mask.any() and annotation.classes == ("background", "foreground")
            assert np.array_equal(picture(annotation), image)
