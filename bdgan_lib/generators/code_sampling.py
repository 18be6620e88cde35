"""Sampling codes from a transformer, token by token, several times as fast as the published way.

Keys and values stay where they are, weights lie as the processor reads them, and every sample has a stream of
random numbers of its own.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bdgan_lib.core.sampling import Sampling
from bdgan_lib.generators.latents import uniforms


class CodeSampler:
    """A GPT of taming in inference, one token of B sequences at a time.

    dtype: of the linear maps; the rest is float32. On a CPU the weights are held a second time, in oneDNN's
    order: for a handful of rows three times as fast as a plain product.
    """

    def __init__(self, gpt: Any, dtype: torch.dtype = torch.float32) -> None:
        self.heads, self.length = gpt.config.n_head, gpt.block_size
        self.kept = (
            dtype if gpt.pos_emb.device.type != "cpu" else torch.float32
        )  # bf16 attention is slow there
        self.norms = [(block.ln1, block.ln2) for block in gpt.blocks]
        self.maps = [
            tuple(
                _Linear(dtype, *layers)
                for layers in (
                    (b.attn.query, b.attn.key, b.attn.value),
                    (b.attn.proj,),
                    (b.mlp[0],),
                    (b.mlp[2],),
                )
            )
            for b in gpt.blocks
        ]
        self.tokens, self.positions = gpt.tok_emb.weight.detach(), gpt.pos_emb.detach()[0]
        self.norm, self.head = gpt.ln_f, _Linear(dtype, gpt.head)

    @torch.inference_mode()
    def sample(
        self, class_ids: Tensor, seeds: Tensor, sampling: Sampling, keep: Sequence[int] = ()
    ) -> tuple[Tensor, Tensor]:
        """Codes [B, T] int64 of classes [B] from seeds [B]; outputs of the layers `keep`, [len, B, T, C].

        T is the transformer's block size. Sequence i depends on class_ids[i], seeds[i] and sampling alone:
        its token t is where the t-th uniform number of seed i falls in the distribution that temperature,
        top_k and top_p leave. (Batches of other sizes round otherwise: a number within 1e-6 of a border may
        then fall on its other side.)
        """
        batch, width, device = len(class_ids), self.tokens.shape[1], self.tokens.device
        shape = (2, len(self.maps), batch, self.heads, self.length, width // self.heads)
        past = torch.empty(shape, dtype=self.kept, device=device)
        states = torch.empty(len(keep), batch, self.length, width, device=device)
        codes = torch.empty(batch, self.length, dtype=torch.int64, device=device)
        u, tokens = uniforms(seeds, self.length).to(device), class_ids.to(device)
        for t in range(self.length):
            outputs = self.outputs(tokens, t, past)
            for state, layer in zip(states, keep, strict=True):
                state[:, t] = outputs[layer]
            tokens = draw(self.head(self.norm(outputs[-1])).float(), u[:, t], sampling)
            codes[:, t] = tokens
        return codes, states

    def outputs(self, tokens: Tensor, t: int, past: Tensor) -> list[Tensor]:
        """Tokens [B] at place t -> every layer's output there, [B, C] each.

        past: keys and values, [2, layers, B, heads, T, C]; place t is written, those before it are read.
        """
        batch, found = len(tokens), []
        x = self.tokens[tokens] + self.positions[t]
        for (norm1, norm2), (qkv, out, up, down), keys, values in zip(
            self.norms, self.maps, past[0], past[1], strict=True
        ):
            q, k, v = qkv(norm1(x)).to(self.kept).view(batch, 3, self.heads, -1).unbind(1)
            keys[:, :, t], values[:, :, t] = k, v
            y = F.scaled_dot_product_attention(q[:, :, None], keys[:, :, : t + 1], values[:, :, : t + 1])
            x = x + out(y.reshape(batch, -1))
            x = x + down(F.gelu(up(norm2(x))))
            found.append(x)
        return found


class _Linear:
    """Linear maps of one input, side by side, in `dtype`; on a CPU packed for few rows where oneDNN can."""

    def __init__(self, dtype: torch.dtype, *layers: nn.Linear) -> None:
        self.dtype = dtype
        weights = [m.weight.detach() for m in layers]
        self.weight = (torch.cat(weights) if len(weights) > 1 else weights[0]).to(dtype)
        bias = [m.bias.detach() for m in layers if m.bias is not None]
        self.bias = torch.cat(bias).to(dtype) if bias else None
        self.packed = self.weight.device.type == "cpu" and torch.backends.mkldnn.is_available()
        if self.packed:
            self.weight = torch.ops.mkldnn._reorder_linear_weight(self.weight, 8)

    def __call__(self, x: Tensor) -> Tensor:
        x = x.to(self.dtype)
        if self.packed:
            return torch.ops.mkldnn._linear_pointwise(x, self.weight, self.bias, "none", [], "")
        return F.linear(x, self.weight, self.bias)


def draw(logits: Tensor, u: Tensor, sampling: Sampling) -> Tensor:
    """One token per row of logits [B, V], at quantile u [B] of what the settings leave, in their order."""
    p = (logits.double() / sampling.temperature).softmax(1)
    if sampling.top_k is not None and sampling.top_k < p.shape[1]:
        p = p * (p >= p.topk(sampling.top_k).values[:, -1:])
    if sampling.top_p < 1:
        p = p * (p >= _least(p, sampling.top_p))
    below = p.cumsum(1)
    return torch.searchsorted(below, u[:, None] * below[:, -1:]).clamp_max(p.shape[1] - 1).squeeze(1)


def _least(p: Tensor, share: float) -> Tensor:
    """The least of the likeliest weights of each row [B, V] that together have this share of it, [B, 1]."""
    if p.device.type == "cpu":  # NumPy sorts with vector instructions, several times as fast
        values = torch.from_numpy(np.sort(p.numpy(), 1)).flip(1)
    else:
        values = p.sort(1, descending=True).values
    place = (values.cumsum(1) < share * p.sum(1, keepdim=True)).sum(1, keepdim=True)
    return values.gather(1, place.clamp_max(p.shape[1] - 1))
