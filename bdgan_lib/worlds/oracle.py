"""The oracle annotator: a network, trained on rendered scenes and exact masks, in place of a human."""

import numpy as np
import torch
from numpy.typing import NDArray

from bdgan_lib.core.image_tensors import from_uint8
from bdgan_lib.worlds.networks import UNet
from bdgan_lib.worlds.pocket import CLASSES, PARTS

_KINDS = tuple(dict.fromkeys(PARTS.values()))  # classes that share their parts share the oracle's labels
_FIRST = np.cumsum([1] + [len(parts) for parts in _KINDS])
_OFFSET = np.array([_FIRST[_KINDS.index(PARTS[name])] for name in CLASSES])  # joint label of a class's part 1
NUM_JOINT_LABELS = int(_FIRST[-1])


def joint_labels(parts: NDArray[np.uint8], class_ids: NDArray[np.integer]) -> NDArray[np.uint8]:
    """Part labels [N, H, W] counted within each class -> labels counted over all kinds; 0: background."""
    return np.where(parts > 0, parts + _OFFSET[class_ids, None, None] - 1, 0).astype(np.uint8)


class Oracle:
    """Labels the parts of an image whose class is known, as an annotator would."""

    name = "oracle"

    def __init__(self) -> None:
        self.network = UNet(NUM_JOINT_LABELS)

    @torch.inference_mode()
    def annotate(
        self, images: NDArray[np.uint8], class_ids: NDArray[np.integer], batch_size: int = 100
    ) -> NDArray[np.uint8]:
        """Part labels [N, H, W] of images [N, H, W, 3] uint8: 0 background, k = PARTS[class][k - 1]."""
        network = self.network.to(memory_format=torch.channels_last).eval()
        parts = []
        for first in range(0, len(images), batch_size):
            x = from_uint8(images[first : first + batch_size]).contiguous(memory_format=torch.channels_last)
            joint = network(x)  # [B, NUM_JOINT_LABELS, H, W]
            for logits, class_id in zip(joint, class_ids[first : first + batch_size], strict=True):
                offset, count = int(_OFFSET[class_id]), len(PARTS[CLASSES[class_id]])
                of_class = torch.cat([logits[:1], logits[offset : offset + count]])
                parts.append(of_class.argmax(0).to(torch.uint8).numpy())
        return np.stack(parts)
