"""The paper's pre-training: a segmentation branch on synthetic labelled images beside a self-supervised loss."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from bdgan_lib.downstream.pretraining.learner import Batch, Learner
from bdgan_lib.downstream.pretraining.views import ViewConfig, draw_views
from bdgan_lib.downstream.segmentation import HEADS, segmenter
from bdgan_lib.downstream.worth import LabelledSet
from bdgan_lib.images import from_uint8
from bdgan_lib.precision import autocast
from bdgan_lib.types import UNLABELLED, BdganError


@dataclass(frozen=True)
class BranchConfig:
    """What the branch adds to a pre-training."""

    num_labels: int  # K; 2 for foreground against ground
    weight: float = 1.0  # lambda of loss + lambda * cross-entropy; 0: as if there were no branch
    batch_size: int = 32  # labelled images per step
    head: str = "unet"  # paper: FCN or DeepLabv3
    views: ViewConfig = ViewConfig(
        smallest=0.5, brightness=0.2, contrast=0.2, saturation=0.2, hue=0.02, grey=0.0, blur=0.0
    )  # milder than the method's: a label must stay true


@dataclass(frozen=True, eq=False)
class Branch:
    """Labelled images and what is done with them; BdganError for labels there are not, or a weight below 0."""

    examples: LabelledSet
    config: BranchConfig

    def __post_init__(self) -> None:
        images, masks = self.examples.images, self.examples.masks
        if images.shape[:3] != masks.shape or not len(images):
            raise BdganError(f"images {list(images.shape)} and masks {list(masks.shape)} came; wanted a mask for each")
        if not self.config.weight >= 0 or self.config.head not in HEADS:
            raise BdganError(
                f"weight {self.config.weight}, head {self.config.head!r} came; wanted 0 or more and one of {HEADS}"
            )
        strange = masks[(masks >= self.config.num_labels) & (masks != UNLABELLED)]
        if strange.size:
            raise BdganError(f"label {strange[0]} came; wanted 0 to {self.config.num_labels - 1} or {UNLABELLED}")


class Joint(Learner):
    """A method and a segmentation network that share a backbone."""

    def __init__(self, learner: Learner, branch: Branch, seed: int) -> None:
        super().__init__(learner.backbone)
        self.learner, self.branch = learner, branch
        self.learning_rate = learner.learning_rate
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.segmenter = segmenter(learner.backbone, branch.config.num_labels, branch.config.head)

    def loss(self, batch: Batch) -> Tensor:
        own = self.learner.loss(batch)  # first: it draws from the stream as it would alone
        return own + self.branch.config.weight * self._segmentation(batch)

    def follow(self, progress: float) -> None:
        self.learner.follow(progress)

    def _segmentation(self, batch: Batch) -> Tensor:
        """Cross-entropy of a batch of labelled images, each a view of its own with the labels moved alike."""
        examples, config = self.branch.examples, self.branch.config
        chosen = torch.randint(len(examples.images), (config.batch_size,), generator=batch.stream).numpy()
        views = draw_views(from_uint8(examples.images[chosen]), config.views, batch.stream)
        masks = torch.from_numpy(examples.masks[chosen].astype(np.float32))[:, None]
        grid = F.affine_grid(views.frames, list(views.images.shape), align_corners=False)
        masks = F.grid_sample(masks, grid, "nearest", "border", align_corners=False)[:, 0].long()
        device = batch.views.device
        with autocast(device):
            logits = self.segmenter(views.images.to(device, memory_format=torch.channels_last))
        return F.cross_entropy(logits.float(), masks.to(device), ignore_index=UNLABELLED)
