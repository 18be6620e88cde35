"""VQGAN (Esser et al. 2021) on the classes of taming-transformers: images <-> codes, and a GPT over codes."""

from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bdgan_lib.core.types import BdganError
from bdgan_lib.generators.sizes import check_sizes

_MOST = {
    "resolution": 4096, "num_classes": 1 << 20, "codes": 1 << 20, "code_dim": 16384, "z_channels": 16384,
    "ch": 4096, "ch_mult": 64, "res_blocks": 64, "attention": 4096, "layers": 256, "heads": 1024,
    "width": 16384,
}  # fmt: skip
_MOST_SIDE = 64  # the transformer's mask has its fourth power


@dataclass(frozen=True)
class VQGANConfig:
    """Sizes; the defaults are those of the pocket profile."""

    resolution: int = 64  # imagenet: 256
    num_classes: int = 12  # imagenet: 1000
    codes: int = 1024  # entries of the codebook; imagenet: 16384
    code_dim: int = 32  # imagenet: 256
    z_channels: int = 64  # imagenet: 256
    ch: int = 32  # base channels; imagenet: 128
    ch_mult: tuple[int, ...] = (1, 1, 2, 4)  # imagenet: (1, 1, 2, 2, 4)
    res_blocks: int = 1  # imagenet: 2
    attention: tuple[int, ...] = (8,)  # sides with attention; imagenet: (16,)
    layers: int = 6  # of the transformer; imagenet: 48
    heads: int = 4  # imagenet: 24
    width: int = 160  # imagenet: 1536

    def __post_init__(self) -> None:
        """Check the sizes.

        Raises:
            BdganError: one is no whole number from 1 on, or larger than any VQGAN needs.
        """
        check_sizes(vars(self), _MOST)
        if not isinstance(self.ch_mult, tuple) or not self.ch_mult or not 1 <= self.side <= _MOST_SIDE:
            raise BdganError(
                f"expected a ch_mult that leaves 1 to {_MOST_SIDE} codes a side of {self.resolution} pixels, "
                f"got {self.ch_mult!r:.60}"
            )

    @property
    def side(self) -> int:
        """Codes per row and column."""
        return self.resolution >> (len(self.ch_mult) - 1)


class VQGANNetwork(nn.Module):
    """Encoder, codebook, decoder and transformer, under the names of taming's models."""

    def __init__(self, config: VQGANConfig) -> None:
        from taming.modules.diffusionmodules.model import Decoder, Encoder
        from taming.modules.transformer.mingpt import GPT
        from taming.modules.vqvae.quantize import VectorQuantizer

        super().__init__()
        self.config = config
        settings = {
            "ch": config.ch, "out_ch": 3, "ch_mult": config.ch_mult, "num_res_blocks": config.res_blocks,
            "attn_resolutions": config.attention, "in_channels": 3, "resolution": config.resolution,
            "z_channels": config.z_channels,
        }  # fmt: skip
        with redirect_stdout(StringIO()):  # the decoder prints its shapes
            self.encoder, self.decoder = Encoder(double_z=False, **settings), Decoder(**settings)
        self.quantize = VectorQuantizer(config.codes, config.code_dim, beta=0.25)
        self.quant_conv = nn.Conv2d(config.z_channels, config.code_dim, 1)
        self.post_quant_conv = nn.Conv2d(config.code_dim, config.z_channels, 1)
        self.transformer = GPT(
            config.codes, config.side**2, config.layers, config.heads, config.width,
            embd_pdrop=0.1, resid_pdrop=0.1, attn_pdrop=0.1,
        )  # fmt: skip
        for block in self.transformer.blocks:  # constants, which no file needs to hold
            block.attn.register_buffer("mask", block.attn.mask, persistent=False)

    def restore_masks(self) -> "VQGANNetwork":
        """Compute the transformer's causal masks again, after its weights were loaded onto "meta"."""
        size = self.transformer.block_size
        mask = torch.ones(size, size).tril()[None, None]
        for block in self.transformer.blocks:
            block.attn.mask = mask.to(self.transformer.pos_emb.device)
        return self

    def embed(self, images: Tensor) -> Tensor:
        """Images [B, 3, H, W] in [-1, 1] -> vectors before quantisation, [B, code_dim, side, side]."""
        vectors: Tensor = self.quant_conv(self.encoder(images))
        return vectors

    def nearest(self, vectors: Tensor) -> Tensor:
        """Vectors [B, code_dim, side, side] -> codes [B, side, side] int64 of the nearest in the codebook."""
        codebook, flat = self.quantize.embedding.weight, vectors.permute(0, 2, 3, 1).flatten(0, 2)
        # the distance minus |flat|^2, which is the same for all
        scores = torch.addmm(codebook.square().sum(1), flat, codebook.T, alpha=-2.0)
        return scores.argmin(1).view(len(vectors), *vectors.shape[2:])

    def look_up(self, codes: Tensor) -> Tensor:
        """Codes [B, side, side] -> their vectors [B, code_dim, side, side]."""
        return F.embedding(codes, self.quantize.embedding.weight).permute(0, 3, 1, 2).contiguous()

    def decode(self, vectors: Tensor) -> Tensor:
        """Vectors of codes [B, code_dim, side, side] -> images [B, 3, H, W], about in [-1, 1]."""
        images: Tensor = self.decoder(self.post_quant_conv(vectors))
        return images

    def code_logits(self, codes: Tensor, class_ids: Tensor) -> Tensor:
        """Codes [B, T], class ids [B] -> logits [B, T, codes]; position t sees the class and codes < t.

        The first token of the sequence is the class id, as in taming.
        """
        logits: Tensor = self.transformer(torch.cat([class_ids[:, None], codes[:, :-1]], 1))[0]
        return logits
