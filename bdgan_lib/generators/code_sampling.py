"""Sampling codes from a transformer, token by token: keys and values stay where they are, and every sample draws
from a stream of its own.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bdgan_lib.generators.latents import uniforms
from bdgan_lib.types import Sampling


@dataclass(frozen=True)
class _Layer:
    """A block of the GPT: its norms, and its linear maps with query, key and value in one."""

    norm1: nn.LayerNorm
    norm2: nn.LayerNorm
    qkv: tuple[Tensor, Tensor]
    out: tuple[Tensor, Tensor]
    up: tuple[Tensor, Tensor]
    down: tuple[Tensor, Tensor]


class CachedGPT:
    """A GPT of taming in inference, one token of B sequences per call; weights are taken over, not shared.

    dtype: of the linear maps and of what is kept; norms and logits are float32.
    """

    def __init__(self, gpt: nn.Module, batch: int, dtype: torch.dtype = torch.float32) -> None:
        width, self.heads = gpt.config.n_embd, gpt.config.n_head
        device = gpt.pos_emb.device

        def linear(*layers: nn.Linear) -> tuple[Tensor, Tensor]:
            weight, bias = torch.cat([m.weight for m in layers]), torch.cat([m.bias for m in layers])
            return weight.detach().to(dtype), bias.detach().to(dtype)

        self.layers = [
            _Layer(b.ln1, b.ln2, linear(b.attn.query, b.attn.key, b.attn.value), linear(b.attn.proj),
                   linear(b.mlp[0]), linear(b.mlp[2]))
            for b in gpt.blocks
        ]  # fmt: skip
        self.tokens, self.positions = gpt.tok_emb.weight.detach(), gpt.pos_emb.detach()[0]
        self.norm, self.head = gpt.ln_f, gpt.head.weight.detach().to(dtype)
        shape = (len(self.layers), batch, self.heads, gpt.block_size, width // self.heads)
        self.keys = torch.empty(shape, dtype=dtype, device=device)
        self.values, self.length, self.dtype = torch.empty_like(self.keys), 0, dtype

    def next(self, tokens: Tensor) -> Tensor:
        """Tokens [B] int64 at the next position -> logits [B, V] float32 for the one after it."""
        t, batch = self.length, len(tokens)
        x = self.tokens[tokens] + self.positions[t]  # [B, C]
        for layer, keys, values in zip(self.layers, self.keys, self.values, strict=True):
            q, k, v = (
                F.linear(layer.norm1(x).to(self.dtype), *layer.qkv).view(batch, 3, self.heads, -1).unbind(1)
            )
            keys[:, :, t], values[:, :, t] = k, v
            y = F.scaled_dot_product_attention(q[:, :, None], keys[:, :, : t + 1], values[:, :, : t + 1])
            x = x + F.linear(y.reshape(batch, -1), *layer.out)
            h = F.gelu(F.linear(layer.norm2(x).to(self.dtype), *layer.up))
            x = x + F.linear(h, *layer.down)
        self.length += 1
        return F.linear(self.norm(x).to(self.dtype), self.head).float()


@torch.inference_mode()
def sample_codes(
    gpt: nn.Module, class_ids: Tensor, seeds: Tensor, sampling: Sampling, bf16: bool = False
) -> Tensor:
    """Codes [B, T] int64 of classes [B] from seeds [B]; T is the transformer's block size.

    Sequence i depends on class_ids[i], seeds[i] and sampling alone: token t is where the t-th uniform number of
    seed i falls in the distribution that temperature, top_k and top_p leave.
    """
    model = CachedGPT(gpt, len(class_ids), torch.bfloat16 if bf16 else torch.float32)
    u = uniforms(seeds, gpt.block_size).to(class_ids.device)
    tokens, found = class_ids, []
    for t in range(gpt.block_size):
        tokens = draw(model.next(tokens), u[:, t], sampling)
        found.append(tokens)
    return torch.stack(found, 1)


def draw(logits: Tensor, u: Tensor, sampling: Sampling) -> Tensor:
    """One token per row of logits [B, V], at the quantile u [B] of what the settings leave, likeliest first."""
    most = min(sampling.top_k or logits.shape[1], logits.shape[1])
    values, order = logits.double().topk(most)  # sorted
    p = (values / sampling.temperature).softmax(1)
    p = p * (p.cumsum(1) - p < sampling.top_p)  # the fewest that together reach top_p
    total = p.cumsum(1)
    place = torch.searchsorted(total, (u[:, None] * total[:, -1:])).clamp_max(most - 1)
    return order.gather(1, place).squeeze(1)
