"""Quality of features without fine-tuning: kNN and linear-probe accuracy, and measures of collapse."""

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from bdgan_lib.core.image_tensors import from_uint8
from bdgan_lib.downstream.backbones import Backbone
from bdgan_lib.downstream.pretraining.learner import feature_maps, pooled


@torch.inference_mode()
def pooled_features(backbone: Backbone, images: NDArray[np.uint8], batch_size: int = 100) -> Tensor:
    """Images [N, H, W, 3] uint8 -> features [N, C] float32 on the CPU; sets the backbone to eval mode."""
    backbone.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    device = next(backbone.parameters()).device
    parts = (images[i : i + batch_size] for i in range(0, len(images), batch_size))
    return torch.cat([pooled(feature_maps(backbone, from_uint8(part).to(device))).cpu() for part in parts])


def deviation(features: Tensor) -> float:
    """Spread of the directions of features [N, C], in [0, 1); 0 if all are equal."""
    return float((1 - F.normalize(features).mean(0).square().sum()).clamp_min(0).sqrt())


def effective_rank(features: Tensor) -> float:
    """Number of directions in which features [N, C] vary, from 1 to C: exp of their variances' entropy."""
    spectrum = torch.linalg.svdvals(F.normalize(features) - F.normalize(features).mean(0)).square()
    share = spectrum / spectrum.sum().clamp_min(1e-12)
    return float(torch.exp(-(share * share.clamp_min(1e-12).log()).sum()))


def knn_accuracy(
    train: Tensor, train_ids: NDArray[np.integer], test: Tensor, test_ids: NDArray[np.integer], k: int = 20
) -> float:
    """Accuracy on test features of a vote of the k nearest training features, weighted by exp(cosine / 0.07).

    Wu et al., Unsupervised Feature Learning via Non-Parametric Instance Discrimination (2018), section 3.4,
    but the mean of the training features is subtracted first.
    """
    ids = torch.as_tensor(train_ids, dtype=torch.long)
    likeness = F.normalize(test - train.mean(0)) @ F.normalize(train - train.mean(0)).T
    nearest = likeness.topk(min(k, len(train)))
    votes = F.one_hot(ids[nearest.indices]) * (nearest.values / 0.07).exp()[..., None]
    return float((votes.sum(1).argmax(1).numpy() == test_ids).mean())


def linear_accuracy(
    train: Tensor, train_ids: NDArray[np.integer], test: Tensor, test_ids: NDArray[np.integer]
) -> float:
    """Accuracy on test features of a logistic regression on standardised training features."""
    mean, scale = train.mean(0), train.std(0).clamp_min(1e-6)
    x, y = (train - mean) / scale, torch.as_tensor(train_ids, dtype=torch.long)
    classes = int(y.max()) + 1
    weights = torch.zeros(x.shape[1] + 1, classes, requires_grad=True)
    optimizer = torch.optim.LBFGS([weights], max_iter=100, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(x @ weights[1:] + weights[0], y) + 1e-3 * weights[1:].square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    predictions = ((test - mean) / scale @ weights[1:] + weights[0]).argmax(1).numpy()
    return float((predictions == test_ids).mean())
