"""COCO average precision of boxes and masks, computed in memory with pycocotools."""

import contextlib
import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bdgan_lib.core.labelled_arrays import Detected
from bdgan_lib.core.types import BdganError


@dataclass(frozen=True, eq=False)
class Detections:
    """A detector's predictions for one image."""

    boxes: NDArray[np.float32]  # [N, 4] left, top, right, bottom in pixels
    class_ids: NDArray[np.int64]  # [N], from 0
    scores: NDArray[np.float32]  # [N], larger = surer
    masks: NDArray[np.bool_] | None = None  # [N, H, W]


class AveragePrecision:
    """Collects predictions image by image and computes the average precision; keeps masks as run lengths.

    `ignored` objects are COCO's crowds: a detection inside one counts as neither right nor wrong. That is
    slightly milder than VOC's rule for difficult objects, which compares the whole boxes.
    """

    def __init__(self, num_classes: int, masks: bool) -> None:
        self.num_classes, self.masks = num_classes, masks
        self._images: list[dict[str, int]] = []
        self._targets: list[dict[str, Any]] = []
        self._predictions: list[dict[str, Any]] = []

    def add(self, target: Detected, predictions: Detections) -> None:
        """Add one image.

        Raises:
            BdganError: a class id is out of range, masks are missing, or boxes and scores differ in number.
        """
        image_id = len(self._images) + 1
        height, width = target.image.shape[:2]
        self._images.append({"id": image_id, "height": height, "width": width})
        target_annotations = self._annotations(image_id, target)
        for annotation, ignored in zip(target_annotations, target.ignored.tolist(), strict=True):
            annotation["iscrowd"] = int(ignored)
        self._targets += target_annotations
        prediction_annotations = self._annotations(image_id, predictions)
        if len(predictions.scores) != len(prediction_annotations):
            raise BdganError(
                f"expected a score for each box, got {len(prediction_annotations)} boxes and "
                f"{len(predictions.scores)} scores"
            )
        for annotation, score in zip(prediction_annotations, predictions.scores.tolist(), strict=True):
            annotation |= {"score": score, "iscrowd": 0}
        self._predictions += prediction_annotations

    def scores(self) -> dict[str, float]:
        """Means over classes: "ap_box" (IoU 0.5, 0.55, ... 0.95), "ap50_box", "ap75_box"; "ap_mask" ...

        In [0, 1]; NaN if there are no target objects.
        """
        from pycocotools.cocoeval import COCOeval

        scores: dict[str, float] = {}
        with contextlib.redirect_stdout(io.StringIO()):  # it prints its progress
            targets, predicted = self._coco(self._targets), self._coco(self._predictions)
            for kind, name in (("bbox", "box"), ("segm", "mask"))[: 1 + self.masks]:
                evaluation = COCOeval(targets, predicted, kind)
                evaluation.evaluate()
                evaluation.accumulate()
                # [IoU, recall, class]: objects of all sizes, at most 100 detections per image
                precision = evaluation.eval["precision"][..., 0, -1]
                for key, rows in (("ap", slice(None)), ("ap50", slice(0, 1)), ("ap75", slice(5, 6))):
                    known = precision[rows][precision[rows] > -1]  # -1: no target object of that class
                    scores[f"{key}_{name}"] = float(known.mean()) if len(known) else float("nan")
        return scores

    def _annotations(self, image_id: int, objects: Detected | Detections) -> list[dict[str, Any]]:
        from pycocotools.mask import encode

        boxes, class_ids, masks = objects.boxes, objects.class_ids, objects.masks
        strangers = class_ids[(class_ids < 0) | (class_ids >= self.num_classes)]
        if len(strangers):
            raise BdganError(f"expected class 0 to {self.num_classes - 1}, got {strangers[0]}")
        if self.masks and masks is None:
            raise BdganError(f"image {image_id} has no masks; score its boxes alone (masks=False)")
        annotations = []
        for i, (left, top, right, bottom) in enumerate(boxes.tolist()):
            box = [left, top, right - left, bottom - top]
            annotation: dict[str, Any] = {"image_id": image_id, "category_id": int(class_ids[i]), "bbox": box}
            annotation["area"] = box[2] * box[3]
            if self.masks and masks is not None:
                packed = encode(np.asfortranarray(masks[i], np.uint8))
                annotation |= {"segmentation": packed, "area": int(masks[i].sum())}
            annotations.append(annotation)
        return annotations

    def _coco(self, annotations: list[dict[str, Any]]) -> Any:
        from pycocotools.coco import COCO

        coco = COCO()
        numbered = [{**a, "id": id} for id, a in enumerate(annotations, 1)]  # 0 would mean "no match"
        categories = [{"id": k, "name": str(k)} for k in range(self.num_classes)]
        coco.dataset = {"images": self._images, "annotations": numbered, "categories": categories}
        coco.createIndex()
        return coco
