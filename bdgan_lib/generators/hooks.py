"""Features of a frozen network: recording them by block, and grouping the blocks by resolution."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from difflib import get_close_matches

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from bdgan_lib.core.types import BdganError

Blocks = Mapping[str, tuple[int, int]]  # block name -> (channels, side in pixels), coarse to fine


@contextmanager
def capture_features(model: nn.Module, names: Sequence[str]) -> Iterator[dict[str, Tensor]]:
    """Collect the outputs of named submodules while the context is open.

        with record(model, ["generator.layers.0"]) as found:
            model(z, y, 1.0)
        found["generator.layers.0"]  # [B, C, H, W], detached

    Of a module that runs several times the last output is kept. The hooks go when the context closes, even
    after an error. BdganError for a name the model lacks, with the names most like it, and in the model's
    call for a module that does not give one tensor.
    """
    modules = dict(model.named_modules())
    for name in names:
        if name not in modules:
            like = ", ".join(get_close_matches(name, modules, 5, 0.0))
            raise BdganError(f"no block {name!r} in {type(model).__name__}; names like it: {like}")
    found: dict[str, Tensor] = {}

    def keep(name: str) -> RemovableHandle:
        def hook(_module: nn.Module, _inputs: object, output: object) -> None:
            if not isinstance(output, Tensor):
                raise BdganError(
                    f"block {name!r} gives a {type(output).__name__}; name a module in it that gives a tensor"
                )
            found[name] = output.detach()

        return modules[name].register_forward_hook(hook)

    hooks = [keep(name) for name in names]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()


def module_of(model: nn.Module, paths: Mapping[str, str], block: str) -> nn.Module:
    """The module that stands for a block, of the paths of all that have one; BdganError for another block."""
    if block not in paths:
        raise BdganError(f"no module stands for block {block!r}; there is one for {', '.join(paths)}")
    return model.get_submodule(paths[block])


def group_blocks(blocks: Blocks) -> tuple[list[str], list[str], list[str]]:
    """The block names in three groups by resolution: low, mid, high (paper section 3.2).

    High are the two finest resolutions, mid the next third of the rest, low the others: sides up to
    32 | 128 | 512 at 512 pixels, as in the paper, and up to 8 | 16 | 64 at 64 pixels.
    """
    sides = sorted({side for _, side in blocks.values()})
    if len(sides) < 4:
        raise BdganError(f"blocks of {len(sides)} resolutions {sides} came; wanted four or more")
    mid = -(-(len(sides) - 2) // 3)
    limits = sides[-3 - mid], sides[-3], sides[-1]
    low, middle, high = ([name for name, (_, side) in blocks.items() if side <= limit] for limit in limits)
    return low, [name for name in middle if name not in low], [name for name in high if name not in middle]
