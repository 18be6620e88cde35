"""torchvision's Faster and Mask R-CNN on our backbones, with a feature pyramid (Ren 2015, He 2017)."""

from collections import OrderedDict
from dataclasses import dataclass
from functools import partial

from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN, MaskRCNN
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.models.detection.transform import GeneralizedRCNNTransform
from torchvision.ops import FeaturePyramidNetwork, MultiScaleRoIAlign
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

from bdgan_lib.core.precision import autocast
from bdgan_lib.core.types import BdganError
from bdgan_lib.downstream.backbones import Backbone


@dataclass(frozen=True)
class DetectorConfig:
    """Sizes of the detector; the defaults suit images of 96 x 96."""

    num_classes: int = 12  # without the background
    masks: bool = True  # Mask R-CNN; else Faster R-CNN
    anchors: tuple[int, ...] = (20, 32, 52)  # pixels, one per level; paper: 32, 64, 128, 256, 512
    finest_stride: int = 4  # of the pyramid's levels; one extra anchor adds a coarser level
    short_side: int | None = None  # pixels; None = no resizing; paper: 800, the long side at most 1333
    width: int = 48  # channels of the pyramid and of the mask head; paper: 256
    hidden: int = 128  # of the box head; paper: 1024
    normalised: bool = True  # batch norm in the box head, which trains far faster; paper: none
    box_pool: int = 5  # bins per side of a region; paper: 7
    mask_pool: int = 10  # paper: 14; masks have twice as many
    mask_layers: int = 2  # paper: 4
    canonical: int = 128  # pixels; regions of this size are pooled at stride 16; paper: 224
    proposals: int = 60  # per image, of 4 times as many before NMS; paper: 1000 of 2000
    anchors_taught: int = 64  # sampled per image for the loss; paper: 256
    regions_taught: int = 24  # sampled per image for the loss; paper: 512
    most: int = 20  # detections per image; paper: 100


POCKET_DETECTOR = DetectorConfig()
PAPER_DETECTOR = DetectorConfig(
    num_classes=80, anchors=(32, 64, 128, 256, 512), short_side=800, width=256, hidden=1024,
    normalised=False, box_pool=7, mask_pool=14, mask_layers=4, canonical=224, proposals=1000,
    anchors_taught=256, regions_taught=512, most=100,
)  # fmt: skip


def detector(backbone: Backbone, config: DetectorConfig) -> FasterRCNN:
    """A torchvision detector on the backbone (used itself, not copied); all other weights are new.

    It takes lists of images [3, H, W] in [-1, 1]; label 0 is the background, so class id k is label k + 1.

    Raises:
        BdganError: the number of anchors is neither that of the levels nor one more.
    """
    levels = sum(stride >= config.finest_stride for stride in backbone.strides)
    if len(config.anchors) not in (levels, levels + 1):
        raise BdganError(
            f"expected as many anchors as levels ({levels}), or one more, got {len(config.anchors)}"
        )
    kind = MaskRCNN if config.masks else FasterRCNN
    names = [str(k) for k in range(levels)]
    align = partial(MultiScaleRoIAlign, names, sampling_ratio=2, canonical_scale=config.canonical)
    sizes, ratios = tuple((size,) for size in config.anchors), ((0.5, 1.0, 2.0),) * len(config.anchors)
    more = {}
    if config.masks:
        width = config.width
        more = {
            "mask_roi_pool": align(config.mask_pool),
            "mask_head": MaskRCNNHeads(width, (width,) * config.mask_layers, 1),
            "mask_predictor": MaskRCNNPredictor(width, width, config.num_classes + 1),
        }
    network = kind(
        _Pyramid(backbone, config),
        rpn_anchor_generator=AnchorGenerator(sizes, ratios),
        box_roi_pool=align(config.box_pool),
        box_head=_box_head(config.width * config.box_pool**2, config),
        box_predictor=FastRCNNPredictor(config.hidden, config.num_classes + 1),
        image_mean=[0.0] * 3,  # the backbone standardises the images itself
        image_std=[1.0] * 3,
        min_size=config.short_side or 1,
        max_size=1333,
        rpn_pre_nms_top_n_train=4 * config.proposals,
        rpn_pre_nms_top_n_test=4 * config.proposals,
        rpn_post_nms_top_n_train=config.proposals,
        rpn_post_nms_top_n_test=config.proposals,
        rpn_batch_size_per_image=config.anchors_taught,
        box_batch_size_per_image=config.regions_taught,
        box_detections_per_img=config.most,
        **more,
    )
    if config.short_side is None:
        network.transform = _WithoutResize(1, 1, [0.0] * 3, [1.0] * 3)
    return network


def _box_head(inputs: int, config: DetectorConfig) -> nn.Module:
    """Two linear layers on region features: [R, C, P, P] -> [R, hidden]."""
    if not config.normalised:
        return TwoMLPHead(inputs, config.hidden)
    layers: list[nn.Module] = [nn.Flatten()]
    for width in (inputs, config.hidden):
        layers += [nn.Linear(width, config.hidden, bias=False), nn.BatchNorm1d(config.hidden), nn.ReLU()]
    return nn.Sequential(*layers)


class _WithoutResize(GeneralizedRCNNTransform):
    """Never resizes images; torchvision's `_skip_resize` works in training only."""

    def resize(
        self, image: Tensor, target: dict[str, Tensor] | None = None
    ) -> tuple[Tensor, dict[str, Tensor] | None]:
        """Return both unchanged."""
        return image, target


class _Pyramid(nn.Module):
    """Images -> maps of one width, "0" the finest: torchvision's interface for a detector's backbone."""

    def __init__(self, backbone: Backbone, config: DetectorConfig) -> None:
        super().__init__()
        self.backbone, self.out_channels = backbone, config.width
        self.first = next(k for k, s in enumerate(backbone.strides) if s >= config.finest_stride)
        channels = list(backbone.channels[self.first :])
        extra = LastLevelMaxPool() if len(config.anchors) > len(channels) else None
        self.pyramid = FeaturePyramidNetwork(channels, config.width, extra)

    def forward(self, images: Tensor) -> "OrderedDict[str, Tensor]":
        with autocast(images.device):
            maps = self.backbone(images)[self.first :]
            levels = self.pyramid(OrderedDict((str(k), m) for k, m in enumerate(maps)))
        return OrderedDict((str(k), m.float()) for k, m in enumerate(levels.values()))
