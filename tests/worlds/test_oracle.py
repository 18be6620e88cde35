"""Labels over all kinds of objects, and the oracle's choice among the labels of the class it is told."""

import numpy as np
import torch

from bdgan_lib.worlds.networks import Classifier, UNet
from bdgan_lib.worlds.oracle import NUM_JOINT_LABELS, Oracle, joint_labels
from bdgan_lib.worlds.pocket import CLASSES, PARTS


def every_part():
    """One row per class: its labels from 0 up, padded with ground."""
    parts = np.zeros((len(CLASSES), 1, 8), np.uint8)
    for row, name in zip(parts, CLASSES, strict=True):
        row[0, : len(PARTS[name]) + 1] = range(len(PARTS[name]) + 1)
    return parts, np.arange(len(CLASSES))


def test_joint_labels_are_distinct_for_distinct_parts_and_shared_by_kin():
    parts, class_ids = every_part()
    joint = joint_labels(parts, class_ids)
    assert set(np.unique(joint)) == set(range(NUM_JOINT_LABELS))
    meaning = {}
    for class_id, name in enumerate(CLASSES):
        for k in range(1, len(PARTS[name]) + 1):
            meaning.setdefault(int(joint[class_id, 0, k]), set()).add((PARTS[name], k))
    assert all(len(parts) == 1 for parts in meaning.values())
    assert (joint == 0).sum() == (parts == 0).sum()


class Saying(torch.nn.Module):
    """A network whose joint label is written in the red channel."""

    def forward(self, x):
        label = ((x[:, 0] + 1) * 127.5).round().long()
        return torch.nn.functional.one_hot(label, NUM_JOINT_LABELS).permute(0, 3, 1, 2).float()


def test_the_oracle_gives_back_the_parts_that_joint_labels_came_from():
    parts, class_ids = every_part()
    oracle = Oracle()
    oracle.network = Saying()
    images = np.repeat(joint_labels(parts, class_ids)[..., None], 3, 3)
    found = oracle.annotate(images, class_ids, batch_size=5)
    assert found.dtype == np.uint8 and np.array_equal(found, parts)


def test_the_oracle_never_names_a_part_of_another_class():
    images = np.random.default_rng(0).integers(0, 256, (12, 16, 16, 3), np.uint8)
    torch.manual_seed(0)
    found = Oracle().annotate(images, np.arange(12))
    for mask, name in zip(found, CLASSES, strict=True):
        assert mask.max() <= len(PARTS[name])


def test_the_networks_keep_their_shapes():
    x = torch.zeros(2, 3, 64, 64)
    classifier = Classifier(5).eval()
    assert [m.shape[2] for m in classifier.maps(x)] == [32, 16, 8, 4]
    assert classifier.features(x).shape == (2, 128) and classifier(x).shape == (2, 5)
    for fine in (True, False):
        assert UNet(7, fine=fine).eval()(x[..., :32]).shape == (2, 7, 64, 32)
