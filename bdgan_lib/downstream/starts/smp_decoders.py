"""Decoders of segmentation-models-pytorch on any trunk.

Its networks expect maps at 1/4, 1/8, 1/16 and 1/32 of the image. Any four maps, each half as large as the one
before, are those of some image; logits are resized to the real one afterwards.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from bdgan_lib.core.types import BdganError
from bdgan_lib.downstream.backbones import Trunk

DECODERS = (
    "Unet", "UnetPlusPlus", "MAnet", "Linknet", "FPN", "PSPNet", "PAN", "DeepLabV3", "DeepLabV3Plus",
    "UPerNet", "Segformer",
)  # fmt: skip
_NAME = "a trunk of bdgan_lib"
_DEPTH = 5  # levels: 1/2 to 1/32


class SmpHead(nn.Module):
    """A decoder and its segmentation head: four maps, fine to coarse -> logits.

    Args:
        name: as in smp, such as "UPerNet".
        trunk: what it reads; decoders with dilation refine its coarse maps in place.
        num_labels: of the logits.

    Raises:
        BdganError: smp is missing or has no such decoder.
    """

    def __init__(self, name: str, trunk: Trunk, num_labels: int) -> None:
        super().__init__()
        try:
            import segmentation_models_pytorch as smp
        except ImportError as error:
            raise BdganError("smp's decoders are not installed; pip install 'bdgan-lib[timm]'") from error
        if name not in DECODERS:
            raise BdganError(f"expected a decoder smp:NAME of {', '.join(DECODERS)}, got smp:{name}")
        with _registered(smp.encoders.encoders, trunk):
            model = getattr(smp, name)(encoder_name=_NAME, encoder_weights=None, classes=num_labels)
        self.name, self.depth = name, len(model.encoder.out_channels) - 1
        self.decoder, self.out = model.decoder, model.segmentation_head

    def forward(self, maps: list[Tensor]) -> Tensor:
        """Logits [B, num_labels, h, w]; h and w are up to four times those of the finest map."""
        finest = maps[0]
        batch, _, height, width = finest.shape
        whole = finest.new_empty(batch, 3, 4 * height, 4 * width)  # decoders ask for its size alone
        half = finest.new_empty(batch, 0, 2 * height, 2 * width)
        try:
            return self.out(self.decoder([whole, half, *maps][: self.depth + 1]))
        except (RuntimeError, ValueError) as error:  # torch's, of maps without an inner pixel
            if "too small" in str(error) or "more than 1 value per channel" in str(error):
                raise BdganError(
                    f"smp:{self.name} needs larger images or, in training, more of them in a batch "
                    f"({error}); choose smp:Unet or smp:FPN, which take any"
                ) from error
            raise


@contextmanager
def _registered(encoders: dict[str, Any], trunk: Trunk) -> Iterator[None]:
    """The trunk as one of smp's encoders, of which it asks the numbers of channels."""
    from segmentation_models_pytorch.encoders._base import EncoderMixin

    class Encoder(nn.Module, EncoderMixin):
        def __init__(self, depth: int, output_stride: int, channels: list[int]) -> None:
            super().__init__()
            self._depth, self._in_channels, self._output_stride = depth, 3, output_stride
            self._out_channels = channels

        def make_dilated(self, output_stride: int) -> None:
            trunk.dilate(trunk.strides[-1] * output_stride // 32)

    encoders[_NAME] = {"encoder": Encoder, "params": {"channels": [3, 0, *trunk.channels]}}
    try:
        yield
    finally:
        del encoders[_NAME]
