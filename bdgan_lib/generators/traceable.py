"""A BigGAN as one module of tensors, for exporters: latents and class weights in, image and features out."""

from collections.abc import Mapping
from copy import deepcopy

import torch
from torch import Tensor, nn

from bdgan_lib.core.types import BdganError
from bdgan_lib.generators.feature_generator import FeatureGenerator, ImagesOfWeights
from bdgan_lib.generators.hooks import capture_features


class MixedEmbedding(nn.Module):
    """An embedding that takes weights of the classes [B, K]; a one-hot row gives that class's vector."""

    def __init__(self, embedding: nn.Embedding) -> None:
        super().__init__()
        self.num_embeddings, self.weight = embedding.num_embeddings, embedding.weight

    def forward(self, class_weights: Tensor) -> Tensor:
        """Class weights [B, K] -> vectors [B, D]; where all classes share one vector, that one."""
        if self.num_embeddings == 1:
            return self.weight.expand(class_weights.shape[0], -1)
        return class_weights @ self.weight


def with_class_weights(model: nn.Module) -> nn.Module:
    """A copy of a network whose embeddings of class ids take class weights instead."""
    model = deepcopy(model)
    for module in list(model.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.Embedding):
                setattr(module, name, MixedEmbedding(child))
    return model


class TraceableGenerator(nn.Module):
    """Latents [B, z_dim], class weights [B, K] and a truncation [1] -> images and features of every block.

    Class weights that are one-hot name a class; others lie between classes. Latents are those that
    `latents_from_seeds` gives, so they are truncated already; the truncation chooses the statistics of batch
    norm, in generators that have several sets.
    """

    def __init__(self, generator: FeatureGenerator, run: ImagesOfWeights) -> None:
        super().__init__()
        self.network = with_class_weights(generator._model).cpu()
        self.paths, self.run = dict(generator._paths), run

    def forward(
        self, latent: Tensor, class_weights: Tensor, truncation: Tensor
    ) -> tuple[Tensor, Mapping[str, Tensor]]:
        """Images [B, 3, H, W] in [-1, 1], and features {block: [B, C, H, W]}."""
        with capture_features(self.network, list(self.paths.values())) as outputs:
            images = self.run(self.network, latent, class_weights, truncation)
        return images, {block: outputs[path] for block, path in self.paths.items()}


def traceable(generator: object) -> TraceableGenerator:
    """A generator's network as one module, on the CPU in float32.

    Raises:
        BdganError: its samples are not a function of latents (VQGAN draws codes one by one; a generator of
            yours may be any network), its weights are not float32, or they are not on the CPU.
    """
    name = getattr(generator, "name", type(generator).__name__)
    if not isinstance(generator, FeatureGenerator) or generator.images_of_weights is None:
        raise BdganError(
            f"{name} cannot be exported as one graph: only a BigGAN maps a latent to an image in one pass; "
            "choose a profile with a BigGAN, such as pocket"
        )
    if odd := {x.dtype for x in generator._model.parameters()} - {torch.float32}:
        raise BdganError(f"expected float32 weights of {name}, got {odd.pop()}; load it without bf16")
    if generator.device != "cpu":
        raise BdganError(f"expected {name} on the CPU, got it on {generator.device}; load it with device cpu")
    return TraceableGenerator(generator, generator.images_of_weights)
