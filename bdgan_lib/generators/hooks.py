"""Features of a frozen network: recording them by block, and grouping the blocks by resolution."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from difflib import get_close_matches

from torch import Tensor, nn

from bdgan_lib.core.types import BdganError

Blocks = Mapping[str, tuple[int, int]]  # block name -> (channels, side in pixels), coarse to fine


@contextmanager
def capture_features(model: nn.Module, names: Sequence[str]) -> Iterator[dict[str, Tensor]]:
    """Collect the outputs of named submodules while the context is open.

        with capture_features(model, ["generator.layers.0"]) as outputs:
            model(z, y, 1.0)
        outputs["generator.layers.0"]  # [B, C, H, W], detached

    If a module runs several times, its last output is kept. The hooks are removed when the context closes,
    even after an error.

    Raises:
        BdganError: the model lacks a name (the closest names are listed), or, when the model is called, a
            module does not return a single tensor.
    """
    modules = dict(model.named_modules())
    for name in names:
        if name not in modules:
            like = ", ".join(get_close_matches(name, modules, 5, 0.0))
            raise BdganError(f"no block {name!r} in {type(model).__name__}; names like it: {like}")
    outputs: dict[str, Tensor] = {}

    def keep_output(name: str) -> Callable[[nn.Module, object, object], None]:
        def hook(_module: nn.Module, _inputs: object, output: object) -> None:
            if not isinstance(output, Tensor):
                raise BdganError(
                    f"block {name!r} gives a {type(output).__name__}; name a module in it that gives a tensor"
                )
            outputs[name] = output.detach()

        return hook

    hooks = [modules[name].register_forward_hook(keep_output(name)) for name in names]
    try:
        yield outputs
    finally:
        for hook in hooks:
            hook.remove()


def module_of(model: nn.Module, paths: Mapping[str, str], block: str) -> nn.Module:
    """The module that gives a block's features, by the paths of all blocks that have one.

    Raises:
        BdganError: no module gives this block.
    """
    if block not in paths:
        raise BdganError(f"no module stands for block {block!r}; there is one for {', '.join(paths)}")
    return model.get_submodule(paths[block])


def group_blocks(blocks: Blocks) -> tuple[list[str], list[str], list[str]]:
    """The block names in three groups by resolution: low, mid, high (paper section 3.2).

    High are the two finest resolutions, mid the next third of the rest, low the others: sides up to
    32 | 128 | 512 at 512 pixels, as in the paper, and up to 8 | 16 | 64 at 64 pixels.

    Raises:
        BdganError: there are fewer than four resolutions.
    """
    sides = sorted({side for _, side in blocks.values()})
    if len(sides) < 4:
        raise BdganError(
            f"expected blocks of four or more resolutions, got {len(sides)} resolutions: {sides}"
        )
    mid = -(-(len(sides) - 2) // 3)
    limits = sides[-3 - mid], sides[-3], sides[-1]
    low, middle, high = ([name for name, (_, side) in blocks.items() if side <= limit] for limit in limits)
    return low, [name for name in middle if name not in low], [name for name in high if name not in middle]
