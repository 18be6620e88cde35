"""Methods that tell images apart: SimCLR, MoCo-v2, MoCo-v3, and with class labels SupCon and plain labels."""

import torch
import torch.nn.functional as F
from lightly.loss import NTXentLoss
from lightly.models.modules.heads import MoCoProjectionHead, SimCLRProjectionHead
from lightly.models.utils import update_momentum
from torch import Tensor, nn

from bdgan_lib.downstream.backbones import Backbone
from bdgan_lib.downstream.pretraining.learner import (
    Batch,
    Encoder,
    Learner,
    cosine_momentum,
    keep_queue,
    momentum_encoder,
    shuffle_batch_norm,
)

_DIM = 128  # of projections, as in the papers; hidden layers are as wide as the backbone's last map


class Supervised(Learner):
    """Cross-entropy on the classes."""

    def __init__(self, backbone: Backbone, num_classes: int) -> None:
        super().__init__(backbone)
        self.encoder = Encoder(backbone, nn.Linear(backbone.channels[-1], num_classes))

    def loss(self, batch: Batch) -> Tensor:
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
        assert batch.class_ids is not None
        z = F.normalize(self.encoder(batch.views.flatten(0, 1)))
        return supcon(z, batch.class_ids.repeat(2), self.temperature)


def supcon(z: Tensor, class_ids: Tensor, temperature: float) -> Tensor:
    """Mean over anchors and positives of -log softmax; z [N, D] of length 1, each class at least twice."""
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
        return self.criterion(*self.encoder(batch.views.flatten(0, 1)).chunk(2))


class MoCoV2(Learner):
    """Chen et al., Improved Baselines with Momentum Contrastive Learning (2020); here both views ask.

    queue: keys of earlier images that a query is told apart from; paper: 65_536.
    momentum: paper 0.999, for 1,000 times as many steps; at 0.9 the features collapse here.
    """

    def __init__(
        self, backbone: Backbone, queue: int = 2048, momentum: float = 0.99, temperature: float = 0.2
    ) -> None:
        super().__init__(backbone)
        width = backbone.channels[-1]
        heads = (MoCoProjectionHead(width, width, _DIM) for _ in range(2))
        self.encoder = Encoder(backbone, next(heads))
        self.momentum_encoder = momentum_encoder(self.encoder, next(heads))
        self.criterion = NTXentLoss(temperature, memory_bank_size=(queue, _DIM))
        keep_queue(self.criterion.memory_bank)
        self.momentum = momentum

    def loss(self, batch: Batch) -> Tensor:
        queries = self.encoder(batch.views.flatten(0, 1))
        others = batch.views.flip(0).flatten(0, 1)
        (keys,) = shuffle_batch_norm(lambda views: (self.momentum_encoder(views),), batch.stream, others)
        return self.criterion(queries, keys)  # both views at once: the queue must not hold a key's own image

    def update_momentum(self, progress: float) -> None:
        update_momentum(self.encoder, self.momentum_encoder, self.momentum)


class MoCoV3(Learner):
    """Chen et al., An Empirical Study of Training Self-Supervised Vision Transformers (2021), on a ResNet."""

    def __init__(self, backbone: Backbone, momentum: float = 0.98, temperature: float = 0.2) -> None:
        super().__init__(backbone)  # paper: momentum 0.996, temperature 1 (0.2 with a ViT)
        width = backbone.channels[-1]
        heads = (MoCoProjectionHead(width, width, _DIM, num_layers=2, batch_norm=True) for _ in range(2))
        self.encoder = Encoder(backbone, next(heads))
        self.momentum_encoder = momentum_encoder(self.encoder, next(heads))
        self.predictor = MoCoProjectionHead(_DIM, width, _DIM, num_layers=2, batch_norm=True)
        self.momentum, self.temperature = momentum, temperature

    def loss(self, batch: Batch) -> Tensor:
        first, second = self.predictor(self.encoder(batch.views.flatten(0, 1))).chunk(2)
        with torch.no_grad():
            keys = self.momentum_encoder(batch.views.flatten(0, 1)).chunk(2)
        return in_batch(first, keys[1], self.temperature) + in_batch(second, keys[0], self.temperature)

    def update_momentum(self, progress: float) -> None:
        update_momentum(self.encoder, self.momentum_encoder, cosine_momentum(self.momentum, progress))


def in_batch(queries: Tensor, keys: Tensor, temperature: float) -> Tensor:
    """InfoNCE of queries [N, D] and keys [N, D] -> scalar: key i is of query i (algorithm 1)."""
    logits = F.normalize(queries) @ F.normalize(keys).T / temperature
    return 2 * temperature * F.cross_entropy(logits, torch.arange(len(logits), device=logits.device))
