"""Sampling codes from a transformer, token by token, several times as fast as the published way.

Keys and values are cached, weights are packed for the processor, and every sample has its own random numbers.
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
    """Inference of a GPT of taming, one token of B sequences at a time.

    Args:
        transformer: a `taming.modules.transformer.mingpt.GPT`.
        dtype: of the linear maps; the rest is float32. On a CPU a second copy of the weights is kept in
            oneDNN's order, which is three times as fast as a plain product for a handful of rows.
    """

    def __init__(self, transformer: nn.Module, dtype: torch.dtype = torch.float32) -> None:
        gpt: Any = transformer  # whose layers are untyped
        self.heads, self.length = gpt.config.n_head, gpt.block_size
        cpu = gpt.pos_emb.device.type == "cpu"
        self.cache_dtype = torch.float32 if cpu else dtype  # bf16 attention is slow on a CPU
        self.norms = [(block.ln1, block.ln2) for block in gpt.blocks]
        self.maps = [
            (
                _Linear(dtype, b.attn.query, b.attn.key, b.attn.value),
                _Linear(dtype, b.attn.proj),
                _Linear(dtype, b.mlp[0]),
                _Linear(dtype, b.mlp[2]),
            )
            for b in gpt.blocks
        ]
        self.tokens, self.positions = gpt.tok_emb.weight.detach(), gpt.pos_emb.detach()[0]
        self.norm, self.head = gpt.ln_f, _Linear(dtype, gpt.head)

    @torch.inference_mode()
    def sample(
        self, class_ids: Tensor, seeds: Tensor, sampling: Sampling, keep: Sequence[int] = ()
    ) -> tuple[Tensor, Tensor]:
        """Sample codes [B, T] int64, and the outputs of some layers on the way [len(keep), B, T, C].

        T is the transformer's block size. Sequence i depends on class_ids[i], seeds[i] and sampling alone:
        its token t is where the t-th uniform number of seed i falls in the distribution that temperature,
        top_k and top_p leave. (Batches of other sizes round differently: a number within 1e-6 of a border may
        then fall on its other side.)

        Args:
            class_ids: [B] int64.
            seeds: [B] int64.
            sampling: temperature, top_k and top_p.
            keep: the layers whose outputs are returned.
        """
        batch, width, device = len(class_ids), self.tokens.shape[1], self.tokens.device
        shape = (2, len(self.maps), batch, self.heads, self.length, width // self.heads)
        past = torch.empty(shape, dtype=self.cache_dtype, device=device)
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
        """Every layer's output for the tokens at one place, [B, C] each.

        Args:
            tokens: [B] int64.
            t: the place.
            past: keys and values, [2, layers, B, heads, T, C]; place t is written, earlier ones are read.
        """
        batch, outputs = len(tokens), []
        x = self.tokens[tokens] + self.positions[t]
        for (norm1, norm2), (qkv, out, up, down), keys, values in zip(
            self.norms, self.maps, past[0], past[1], strict=True
        ):
            q, k, v = qkv(norm1(x)).to(self.cache_dtype).view(batch, 3, self.heads, -1).unbind(1)
            keys[:, :, t], values[:, :, t] = k, v
            y = F.scaled_dot_product_attention(q[:, :, None], keys[:, :, : t + 1], values[:, :, : t + 1])
            x = x + out(y.reshape(batch, -1))
            x = x + down(F.gelu(up(norm2(x))))
            outputs.append(x)
        return outputs


class _Linear:
    """Linear maps of one input, concatenated, in `dtype`; on a CPU packed for few rows if oneDNN is there."""

    def __init__(self, dtype: torch.dtype, *layers: nn.Linear) -> None:
        self.dtype = dtype
        weights = [m.weight.detach() for m in layers]
        self.weight = (torch.cat(weights) if len(weights) > 1 else weights[0]).to(dtype)
        bias = [m.bias.detach() for m in layers if m.bias is not None]
        self.bias = torch.cat(bias).to(dtype) if bias else None
        on_cpu, mkldnn = self.weight.device.type == "cpu", torch.ops.mkldnn
        self.packed: bool = on_cpu and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
        if self.packed and dtype == torch.bfloat16:
            self.packed = mkldnn._is_mkldnn_bf16_supported()  # older processors pack float32 alone
        if self.packed:
            self.weight = mkldnn._reorder_linear_weight(self.weight, 8)

    def __call__(self, x: Tensor) -> Tensor:
        x = x.to(self.dtype)
        if self.packed:
            product: Tensor = torch.ops.mkldnn._linear_pointwise(x, self.weight, self.bias, "none", [], "")
            return product
        return F.linear(x, self.weight, self.bias)


def draw(logits: Tensor, u: Tensor, sampling: Sampling) -> Tensor:
    """One token per row of logits [B, V], at quantile u [B] of the distribution that the settings leave."""
    p = (logits.double() / sampling.temperature).softmax(1)
    if sampling.top_k is not None and sampling.top_k < p.shape[1]:
        p = p * (p >= p.topk(sampling.top_k).values[:, -1:])
    if sampling.top_p < 1:
        p = p * (p >= _top_p_threshold(p, sampling.top_p))
    below = p.cumsum(1)
    return torch.searchsorted(below, u[:, None] * below[:, -1:]).clamp_max(p.shape[1] - 1).squeeze(1)


def _top_p_threshold(p: Tensor, share: float) -> Tensor:
    """The smallest of each row's largest weights [B, V] that together have this share of it, [B, 1]."""
    if p.device.type == "cpu":  # NumPy sorts with vector instructions, several times as fast
        values = torch.from_numpy(np.sort(p.numpy(), 1)).flip(1)
    else:
        values = p.sort(1, descending=True).values
    place = (values.cumsum(1) < share * p.sum(1, keepdim=True)).sum(1, keepdim=True)
    return values.gather(1, place.clamp_max(p.shape[1] - 1))
