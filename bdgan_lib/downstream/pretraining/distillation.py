"""Self-distillation without negatives: the momentum encoder is the teacher (BYOL, DINO)."""

import warnings

import torch
from lightly.loss import DINOLoss, NegativeCosineSimilarity
from lightly.models.modules.heads import BYOLPredictionHead, BYOLProjectionHead, DINOProjectionHead
from torch import Tensor

from bdgan_lib.downstream.backbones import Backbone
from bdgan_lib.downstream.pretraining.learner import Batch, MomentumLearner


class BYOL(MomentumLearner):
    """Grill et al., Bootstrap Your Own Latent (2020)."""

    cosine = True

    def __init__(self, backbone: Backbone, momentum: float = 0.98) -> None:  # paper: 0.996, 1,000 epochs
        width, dim = backbone.channels[-1], 128  # paper: 4096 hidden, 256
        super().__init__(backbone, lambda: BYOLProjectionHead(width, 2 * width, dim), momentum)
        self.predictor = BYOLPredictionHead(dim, 2 * width, dim)
        self.criterion = NegativeCosineSimilarity()

    def loss(self, batch: Batch) -> Tensor:
        """2 - 2 cosine of each view's prediction and the other view's target."""
        predictions = self.predictor(self.encoder(batch.views.flatten(0, 1)))
        with torch.no_grad():
            targets = self.momentum_encoder(batch.views.flip(0).flatten(0, 1))
        return 2 + 2 * self.criterion(predictions, targets)


class DINO(MomentumLearner):
    """Caron et al., Emerging Properties in Self-Supervised Vision Transformers (2021); two large views."""

    cosine = True

    def __init__(self, backbone: Backbone, outputs: int = 512, momentum: float = 0.95) -> None:
        width = backbone.channels[-1]  # paper: 65_536 outputs, momentum 0.996
        head = lambda: DINOProjectionHead(width, 2 * width, 64, outputs, batch_norm=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # lightly uses torch's older weight norm
            super().__init__(backbone, head, momentum)
        self.criterion = DINOLoss(outputs, teacher_temp=0.04)

    def loss(self, batch: Batch) -> Tensor:
        """Cross-entropy of the student with the teacher's outputs on the other view."""
        student = self.encoder(batch.views.flatten(0, 1)).chunk(2)
        with torch.no_grad():
            teacher = self.momentum_encoder(batch.views.flatten(0, 1)).chunk(2)
        return self.criterion(list(teacher), list(student))
