"""Every experiment by its name on the command line."""

from collections.abc import Callable
from typing import Any

from bdgan_lib.experiments import (
    analysis,
    annotation_clicks,
    downstream,
    frozen_features,
    label_head,
    label_queue,
    transfer,
)

Run = Callable[..., Any]

ANYWHERE: dict[str, Run] = {  # they train networks on images, and take `device` and `workers`
    "budget": downstream.budget,
    "table2": downstream.table2,
    "set-size": downstream.set_size,
    "backbone": downstream.backbone,
    "labels-per-class": downstream.labels_per_class,
    "filter": downstream.filtering,
    "filter-share": downstream.filter_share,
    "online": downstream.online,
    "gap": downstream.gap,
    "pretraining": transfer.pretraining,
    "transfer": transfer.run,
}
FRESH_SEEDS = {*ANYWHERE, "frozen-features"} - {"pretraining"}  # they repeat over seeds and take `seeds_from`
EXPERIMENTS: dict[str, Run] = {
    "analysis": analysis.run,
    "annotation-clicks": annotation_clicks.run,
    "label-head": label_head.run,
    "label-queue": label_queue.run,
    "frozen-features": frozen_features.run,
    **ANYWHERE,
}
TRAINING = {*EXPERIMENTS} - {"analysis"}  # they train networks, and take `logs`
