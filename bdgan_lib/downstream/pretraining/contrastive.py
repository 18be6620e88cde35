"""Contrastive methods (SimCLR, MoCo-v2, MoCo-v3), and with class labels SupCon and plain cross-entropy."""

from functools import partial

import torch
import torch.nn.functional as F
from lightly.loss import NTXentLoss
from lightly.models.modules.heads import MoCoProjectionHead, SimCLRProjectionHead
from torch import Tensor, nn

from bdgan_lib.downstream.backbones import Backbone
from bdgan_lib.downstream.pretraining import learner
from bdgan_lib.downstream.pretraining.learner import Batch, Encoder, Learner, MomentumLearner

_DIM = 128  # of projections, as in the papers; hidden layers are as wide as the backbone's last map


class Supervised(Learner):
    """Supervised classification, as an initialisation to compare with."""

    def __init__(self, backbone: Backbone, num_classes: int) -> None:
        super().__init__(backbone)
        self.encoder = Encoder(backbone, nn.Linear(backbone.channels[-1], num_classes))

    def loss(self, batch: Batch) -> Tensor:
        """Cross-entropy of both views' class logits."""
        assert batch.class_ids is not None
        return F.cross_entropy(self.encoder(batch.views.flatten(0, 1)), batch.class_ids.repeat(2))


class SupCon(Learner):
    """Khosla et al., Supervised Contrastive Learning (2020), equation 2: all of a class are positives."""

    def __init__(self, backbone: Backbone, temperature: float = 0.1) -> None:
        super().__init__(backbone)
        width = backbone.channels[-1]
        self.encoder = Encoder(backbone, SimCLRProjectionHead(width, width, _DIM, batch_norm=False))
        self.temperature = temperature

    def loss(self, batch: Batch) -> Tensor:
        """Equation 2 on both views' projections."""
        assert batch.class_ids is not None
        z = F.normalize(self.encoder(batch.views.flatten(0, 1)))
        return supcon(z, batch.class_ids.repeat(2), self.temperature)


def supcon(z: Tensor, class_ids: Tensor, temperature: float) -> Tensor:
    """Mean of -log softmax over anchors and positives; z [N, D] of length 1, each class at least twice."""
    itself = torch.eye(len(z), dtype=torch.bool, device=z.device)
    logits = (z @ z.T / temperature).masked_fill(itself, -torch.inf)
    positive = (class_ids[:, None] == class_ids) & ~itself
    log_p = logits.log_softmax(1).masked_fill(~positive, 0)
    return -(log_p.sum(1) / positive.sum(1)).mean()


class SimCLR(Learner):
    """Chen et al., A Simple Framework for Contrastive Learning of Visual Representations (2020)."""

    def __init__(self, backbone: Backbone, temperature: float = 0.2) -> None:  # paper: 0.1 to 0.5
        super().__init__(backbone)
        width = backbone.channels[-1]
        self.encoder = Encoder(backbone, SimCLRProjectionHead(width, width, _DIM))
        self.criterion = NTXentLoss(temperature)

    def loss(self, batch: Batch) -> Tensor:
        """NT-Xent of both views' projections."""
        return self.criterion(*self.encoder(batch.views.flatten(0, 1)).chunk(2))


class MoCoV2(MomentumLearner):
    """Chen et al., Improved Baselines with Momentum Contrastive Learning (2020); here both views are queries.

    Args:
        backbone: what is trained.
        queue: number of keys of earlier images, the negatives; paper: 65_536.
        momentum: paper: 0.999, for 1,000 times as many steps; at 0.9 the features collapse here.
        temperature: of the softmax.
    """

    def __init__(
        self, backbone: Backbone, queue: int = 2048, momentum: float = 0.99, temperature: float = 0.2
    ) -> None:
        width = backbone.channels[-1]
        super().__init__(backbone, lambda: MoCoProjectionHead(width, width, _DIM), momentum)
        self.criterion = NTXentLoss(temperature, memory_bank_size=(queue, _DIM))
        learner.keep_queue(self.criterion.memory_bank)

    def loss(self, batch: Batch) -> Tensor:
        """InfoNCE of both views' queries against the queue."""
        queries = self.encoder(batch.views.flatten(0, 1))
        others = batch.views.flip(0).flatten(0, 1)
        encode = lambda views: (self.momentum_encoder(views),)
        (keys,) = learner.shuffle_batch_norm(encode, batch.stream, others)
        return self.criterion(queries, keys)  # at once: the queue must hold no key of the same image


class MoCoV3(MomentumLearner):
    """Chen et al., An Empirical Study of Training Self-Supervised Vision Transformers (2021), on a ResNet."""

    cosine = True

    def __init__(self, backbone: Backbone, momentum: float = 0.98, temperature: float = 0.2) -> None:
        width = backbone.channels[-1]  # paper: momentum 0.996, temperature 1 (0.2 with a ViT)
        head = partial(MoCoProjectionHead, hidden_dim=width, output_dim=_DIM, num_layers=2, batch_norm=True)
        super().__init__(backbone, lambda: head(width), momentum)
        self.predictor, self.temperature = head(_DIM), temperature

    def loss(self, batch: Batch) -> Tensor:
        """InfoNCE within the batch, of each view's queries with the other view's keys."""
        first, second = self.predictor(self.encoder(batch.views.flatten(0, 1))).chunk(2)
        with torch.no_grad():
            keys = self.momentum_encoder(batch.views.flatten(0, 1)).chunk(2)
        return in_batch(first, keys[1], self.temperature) + in_batch(second, keys[0], self.temperature)


def in_batch(queries: Tensor, keys: Tensor, temperature: float) -> Tensor:
    """InfoNCE of queries [N, D] and keys [N, D] -> scalar; key i belongs to query i (algorithm 1)."""
    logits = F.normalize(queries) @ F.normalize(keys).T / temperature
    return 2 * temperature * F.cross_entropy(logits, torch.arange(len(logits), device=logits.device))
