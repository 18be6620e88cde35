"""Dense contrastive methods: DenseCL pairs positions by features, VADeR by image coordinates."""

from functools import partial

import torch
import torch.nn.functional as F
from lightly.models.modules.heads import DenseCLProjectionHead
from lightly.models.modules.memory_bank import MemoryBankModule
from lightly.models.utils import select_most_similar
from torch import Tensor, nn

from bdgan_lib.downstream.backbones import Backbone
from bdgan_lib.downstream.pretraining import learner
from bdgan_lib.downstream.pretraining.learner import Batch, Encoder, MomentumLearner, feature_maps
from bdgan_lib.downstream.pretraining.views import back, through

_DIM = 128


def against_queue(queries: Tensor, keys: Tensor, negatives: Tensor, temperature: float) -> Tensor:
    """InfoNCE of queries [N, D] with their keys [N, D] against a queue [D, K], all of length 1 -> scalar."""
    logits = torch.cat([(queries * keys).sum(1, keepdim=True), queries @ negatives], 1) / temperature
    return F.cross_entropy(logits, logits.new_zeros(len(logits), dtype=torch.long))


class DenseCL(MomentumLearner):
    """Wang et al., Dense Contrastive Learning for Self-Supervised Visual Pre-Training (2021).

    The mean of MoCo-v2's loss on pooled features and on the cells of a map; a cell's positive is the other
    view's cell with the most similar features. The map is the last one, 7 x 7 in the paper; for
    small images it is one stage earlier, with 6 x 6 to 8 x 8 cells.
    """

    def __init__(
        self, backbone: Backbone, queue: int = 1024, momentum: float = 0.99, temperature: float = 0.2
    ) -> None:
        level = -2 if backbone.name.startswith("pocket") else -1
        widths = backbone.channels[-1], backbone.channels[level]  # of pooled features, and of the cells
        heads = lambda: nn.ModuleList(DenseCLProjectionHead(width, width, _DIM) for width in widths)
        super().__init__(backbone, heads, momentum)
        self.queues = nn.ModuleList(MemoryBankModule((queue, _DIM)) for _ in range(2))
        for bank in self.queues:
            learner.keep_queue(bank)
        self.level, self.temperature = level, temperature

    def loss(self, batch: Batch) -> Tensor:
        """Mean of the image's and the cells' InfoNCE against their queues."""
        views = batch.views.flatten(0, 1)
        cells, query, local = self._encode(self.encoder, views)
        with torch.no_grad():
            others, encode = batch.views.flip(0).flatten(0, 1), partial(self._encode, self.momentum_encoder)
            key_cells, key, key_local = learner.shuffle_batch_norm(encode, batch.stream, others)
            matched = select_most_similar(cells, key_cells, key_local)
            _, negatives = self.queues[0](key, update=True)
            _, local_negatives = self.queues[1](F.normalize(key_local.mean(1)), update=True)
        image = against_queue(query, key, negatives, self.temperature)
        place = against_queue(local.flatten(0, 1), matched.flatten(0, 1), local_negatives, self.temperature)
        return (image + place) / 2

    def _encode(self, encoder: Encoder, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Cell features [B, N, C], image projections [B, D], cell projections [B, N, D]; all of length 1."""
        maps = feature_maps(encoder.backbone, images)
        cells = maps[self.level].flatten(2).mT
        whole, local = encoder.head.children()
        projected = F.normalize(whole(learner.pooled(maps)))
        return F.normalize(cells, dim=-1), projected, F.normalize(local(cells), dim=-1)


def shared_points(frames: Tensor, count: int, stream: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Random points of each of 2B views and their position in the other view.

    frames [2, B, 2, 3] -> points [2B, count, 2], their positions in the other view [2B, count, 2], and
    whether that view contains them [2B, count] bool.
    """
    first, other = frames.flatten(0, 1), frames.flip(0).flatten(0, 1)
    here = 2 * torch.rand(len(first), count, 2, generator=stream).to(frames) - 1
    there = back(through(here, first), other)
    return here, there, (there.abs() <= 1).all(-1)


class VADeR(MomentumLearner):
    """Pinheiro et al., Unsupervised Learning of Dense Visual Representations (2020), simplified.

    A point of the image has the same embedding in every view: sampled points that both views contain are
    positives, points of other images (a queue) negatives. In place of the paper's decoder, the backbone's
    maps are projected and summed, at the points only.
    """

    points = 16  # sampled per view; those outside the other view are dropped

    def __init__(
        self, backbone: Backbone, queue: int = 1024, momentum: float = 0.98, temperature: float = 0.1
    ) -> None:
        # paper: queue 65_536, momentum 0.999, temperature 0.07
        super().__init__(backbone, lambda: _PointHead(backbone.channels), momentum)
        self.queue, self.temperature = MemoryBankModule((queue, _DIM)), temperature
        learner.keep_queue(self.queue)

    def loss(self, batch: Batch) -> Tensor:
        """InfoNCE of the shared points against the queue."""
        here, there, shared = shared_points(batch.frames, self.points, batch.stream)
        queries = self._embed(self.encoder, batch.views.flatten(0, 1), here)
        with torch.no_grad():
            encode = lambda x, points: (self._embed(self.momentum_encoder, x, points),)
            inputs = batch.views.flip(0).flatten(0, 1), there.clamp(-1, 1)
            (keys,) = learner.shuffle_batch_norm(encode, batch.stream, *inputs)
            _, negatives = self.queue(keys[:, 0], update=True)
        if not shared.any():  # no two views overlap
            return queries.sum() * 0
        return against_queue(queries[shared], keys[shared], negatives, self.temperature)

    @staticmethod
    def _embed(encoder: Encoder, images: Tensor, points: Tensor) -> Tensor:
        """Embeddings [B, P, D] of length 1 of points [B, P, 2] in [-1, 1]."""
        maps = feature_maps(encoder.backbone, images)
        return F.normalize(encoder.head(maps, points), dim=-1)


class _PointHead(nn.Module):
    """Maps and points [B, P, 2] -> [B, P, D]."""

    def __init__(self, channels: tuple[int, ...]) -> None:
        super().__init__()
        self.lateral = nn.ModuleList(nn.Linear(width, _DIM) for width in channels)
        self.out = nn.Sequential(nn.ReLU(), nn.Linear(_DIM, _DIM))

    def forward(self, maps: list[Tensor], points: Tensor) -> Tensor:
        read = [F.grid_sample(x, points[:, :, None], align_corners=False)[..., 0].mT for x in maps]
        return self.out(sum(layer(x) for layer, x in zip(self.lateral, read, strict=True)))
