"""The paper's pre-training: a self-supervised loss and a segmentation branch on synthetic images."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from bdgan_lib.core.image_tensors import from_uint8
from bdgan_lib.core.labelled_arrays import LabelledSet
from bdgan_lib.core.precision import autocast
from bdgan_lib.core.types import UNLABELLED, BdganError
from bdgan_lib.downstream.pretraining.learner import Batch, Learner
from bdgan_lib.downstream.pretraining.views import ViewConfig, draw_views
from bdgan_lib.downstream.segmentation import segmenter

_MILD = ViewConfig(  # milder than the method's views: a label must stay recognisable
    smallest=0.5, brightness=0.2, contrast=0.2, saturation=0.2, hue=0.02, grey=0.0, blur=0.0
)


@dataclass(frozen=True)
class BranchConfig:
    """Settings of the segmentation branch."""

    num_labels: int  # K; 2 for foreground and background
    weight: float = 1.0  # lambda in loss + lambda * cross-entropy; 0 = no branch
    batch_size: int = 32  # labelled images per step
    views: ViewConfig = _MILD


@dataclass(frozen=True, eq=False)
class Branch:
    """A segmentation branch: its training set and settings.

    Raises:
        BdganError: images and masks do not match, a label is out of range, or the weight is negative.
    """

    training_set: LabelledSet
    config: BranchConfig

    def __post_init__(self) -> None:
        images, masks = self.training_set.images, self.training_set.masks
        if images.shape[:3] != masks.shape or not len(images):
            shapes = f"images {list(images.shape)} and masks {list(masks.shape)}"
            raise BdganError(f"expected a mask for each image, got {shapes}")
        if not 0 <= self.config.weight < np.inf:
            raise BdganError(f"expected a finite weight from 0, got {self.config.weight}")
        strange = masks[(masks >= self.config.num_labels) & (masks != UNLABELLED)]
        if strange.size:
            raise BdganError(
                f"expected labels 0 to {self.config.num_labels - 1} or {UNLABELLED}, got {strange[0]}"
            )


class Joint(Learner):
    """A method and a U-Net that share one backbone.

    Always a U-Net: other heads dilate the backbone, but not the method's momentum encoder.
    """

    def __init__(self, learner: Learner, branch: Branch, seed: int) -> None:
        super().__init__(learner.backbone)
        self.learner, self.branch = learner, branch
        self.learning_rate = learner.learning_rate
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.segmenter = segmenter(learner.backbone, branch.config.num_labels)

    def loss(self, batch: Batch) -> Tensor:
        """The method's loss + lambda * cross-entropy of the branch."""
        learner_loss = self.learner.loss(batch)  # first, so that its random draws are those without a branch
        return learner_loss + self.branch.config.weight * self._segmentation(batch)

    def update_momentum(self, progress: float) -> None:
        """Update the method's momentum encoder."""
        self.learner.update_momentum(progress)

    def _segmentation(self, batch: Batch) -> Tensor:
        images, masks = labelled_views(self.branch.training_set, self.branch.config, batch.stream)
        device = batch.views.device
        with autocast(device):
            logits = self.segmenter(images.to(device, memory_format=torch.channels_last))
        total = F.cross_entropy(logits.float(), masks.to(device), ignore_index=UNLABELLED, reduction="sum")
        return total / (masks != UNLABELLED).sum().clamp_min(1)  # a batch may have no labelled pixel


def labelled_views(
    training_set: LabelledSet, config: BranchConfig, stream: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Random views [B, 3, S, S] of labelled images and their labels, cropped alike [B, S, S] int64."""
    chosen = torch.randint(len(training_set.images), (config.batch_size,), generator=stream).numpy()
    views = draw_views(from_uint8(training_set.images[chosen]), config.views, stream)
    masks = torch.from_numpy(training_set.masks[chosen].astype(np.float32))[:, None]
    grid = F.affine_grid(views.frames, list(views.images.shape), align_corners=False)
    moved = F.grid_sample(masks, grid, "nearest", "border", align_corners=False)
    return views.images, moved[:, 0].long()
