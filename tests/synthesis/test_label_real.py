"""Labels of real images: those of their codes' features, for pictures of any size."""

from pathlib import Path

import numpy as np
import pytest
import torch

from bdgan_lib.core.image_codecs import decode_image
from bdgan_lib.core.image_tensors import from_uint8
from bdgan_lib.core.types import BdganError
from bdgan_lib.heads.base import Architecture, HeadConfig
from bdgan_lib.heads.label_head import build_head
from bdgan_lib.synthesis.label_real import center_square, label_images

PHOTOGRAPHS = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "coco_mini" / "images"


@pytest.fixture
def head(vqgan):
    torch.manual_seed(0)
    blocks = tuple((name, channels, side) for name, (channels, side) in vqgan.blocks.items())
    return build_head(HeadConfig(blocks, 3, architecture=Architecture(members=2))).eval()


def test_an_images_labels_are_those_of_its_codes_and_its_batch_changes_nothing(vqgan, head):
    images = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), np.uint8)
    ids = np.array([0, 2, 1, 1, 0])
    labels, divergence = label_images(vqgan, head, images, ids, batch_size=2)
    one = torch.from_numpy(ids)
    plain = head.label(vqgan.features(vqgan.encode(from_uint8(images)), one), one)
    assert np.array_equal(labels, plain[0]) and labels.shape == divergence.shape == (5, 32, 32)
    np.testing.assert_allclose(divergence, plain[1], atol=1e-5)


@pytest.mark.parametrize(("height", "width"), [(40, 100), (100, 40), (8, 8), (64, 64), (1, 5)])
def test_the_centre_square_is_kept(height, width):
    """A picture that is a plain ramp stays one: its middle stays in the middle."""
    ramp = np.broadcast_to(np.arange(width, dtype=np.uint8)[None, :, None], (height, width, 3)).copy()
    found = center_square(ramp, 32)
    assert found.shape == (32, 32, 3) and found.dtype == np.uint8
    assert abs(float(found.mean()) - (width - 1) / 2) <= 1
    same = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    assert np.array_equal(center_square(same, 32), same)


def test_bad_input_is_named(vqgan, head):
    for said, call in {
        "expected an image as uint8": lambda: center_square(np.zeros((4, 4)), 32),
        "a class for each, got 1 and 2": lambda: label_images(
            vqgan, head, np.zeros((1, 32, 32, 3), np.uint8), [0, 1]
        ),
        "expected 1 or more images": lambda: label_images(
            vqgan, head, np.zeros((0, 32, 32, 3), np.uint8), []
        ),
        "expected float images": lambda: label_images(vqgan, head, np.zeros((1, 16, 16, 3), np.uint8), [0]),
        "class ids": lambda: label_images(vqgan, head, np.zeros((1, 32, 32, 3), np.uint8), [3]),
        "not a readable picture": lambda: decode_image(b"GIF89a and so on"),
    }.items():
        with pytest.raises(BdganError, match=said):
            call()


@pytest.mark.skipif(not PHOTOGRAPHS.is_dir(), reason="the shared photographs are not here")
def test_photographs_run_through(vqgan, head):
    images = np.stack(
        [center_square(decode_image(p.read_bytes()), 32) for p in sorted(PHOTOGRAPHS.iterdir())]
    )
    labels, _ = label_images(vqgan, head, images, np.arange(len(images)) % 3)
    assert len(labels) == 16 and set(np.unique(labels)) <= {0, 1}
