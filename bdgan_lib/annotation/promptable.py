"""Click to segment with a promptable model: a callable, or SAM's ONNX export (Kirillov et al. 2023)."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from bdgan_lib.annotation.assist import Box, Mask
from bdgan_lib.annotation.click_scores import Floats, obeying
from bdgan_lib.annotation.segmenters import Click, Clicks, checked_clicks, checked_image
from bdgan_lib.core.types import BdganError

Model = Callable[[NDArray[np.uint8], Floats, Floats, Box | None], NDArray[Any]]
_MEAN = np.array([123.675, 116.28, 103.53], np.float32)  # SAM's
_DEVIATION = np.array([58.395, 57.12, 57.375], np.float32)


class PromptableSegmenter:
    """Any model of image [H, W, 3], points [N, 2], labels [N] (1 object, 0 background) and box or None.

    It returns a mask [H, W] of booleans or logits, above 0 on the object.
    """

    name = "promptable"

    def __init__(self, model: Model) -> None:
        self._model = model

    def start(self, id: str, image: NDArray[np.uint8]) -> Clicks:
        """As `Segmenter.start`; any id will do. A model with a method `start` gets the image first."""
        image = checked_image(image)
        begin = getattr(self._model, "start", None)
        return _ModelClicks(begin(image) if begin else self._model, image)


class _ModelClicks:
    """One image's clicks for `PromptableSegmenter`."""

    def __init__(self, model: Model, image: NDArray[np.uint8]) -> None:
        self._model, self._image = model, image

    def predict(self, points: Sequence[Click], box: Box | None = None) -> tuple[Mask, Floats]:
        """As `Clicks.predict`."""
        height, width = self._image.shape[:2]
        pixels, limits = checked_clicks(points, box, height, width)
        if box is None and not any(pixels.values()):
            return np.zeros((height, width), bool), np.ones((height, width), np.float32)
        places = np.array([(x + 0.5, y + 0.5) for y, x in pixels], np.float32).reshape(-1, 2)
        labels = np.array(list(pixels.values()), np.float32)
        answer = np.asarray(self._model(self._image, places, labels, None if box is None else limits))
        if answer.shape != (height, width):
            raise BdganError(
                f"expected a mask [{height}, {width}] from the model, got {list(answer.shape)}; resize it"
            )
        score = np.where(answer, 2, -2) if answer.dtype == bool else np.nan_to_num(answer)
        return obeying(score.astype(np.float32), pixels, limits)


class SamOnnx:
    """SAM's image encoder and mask decoder as ONNX files, to be given to `PromptableSegmenter`.

    The decoder has the inputs of SAM's published export: image_embeddings, point_coords, point_labels,
    mask_input, has_mask_input, orig_im_size. The encoder takes a normalised image [1, 3, S, S].
    """

    def __init__(self, encoder: str | Path, decoder: str | Path) -> None:
        """Load the files.

        Raises:
            BdganError: onnxruntime is not installed, or a file is missing or lacks an input.
        """
        try:
            import onnxruntime
        except ImportError as error:
            raise BdganError('ONNX models need onnxruntime; run pip install "bdgan-lib[segment]"') from error
        for path in (encoder, decoder):
            if not Path(path).is_file():
                raise BdganError(f"no ONNX file at {path}; export the encoder and the decoder first")
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        self._encoder, self._decoder = (
            onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
            for path in (encoder, decoder)
        )
        expected = {"image_embeddings", "point_coords", "point_labels"}
        expected |= {"mask_input", "has_mask_input", "orig_im_size"}
        if missing := expected - {entry.name for entry in self._decoder.get_inputs()}:
            raise BdganError(
                f"{decoder} lacks the inputs {', '.join(sorted(missing))}; export it as SAM does"
            )
        self._input = self._encoder.get_inputs()[0]
        side = self._input.shape[-1]
        self._side = side if isinstance(side, int) else 1024

    def start(self, image: NDArray[np.uint8]) -> Model:
        """Encode an image and return the model of its clicks."""
        height, width = image.shape[:2]
        scale = self._side / max(height, width)
        size = max(1, int(width * scale + 0.5)), max(1, int(height * scale + 0.5))
        padded = np.zeros((self._side, self._side, 3), np.float32)
        resized = cv2.resize(image, size, interpolation=cv2.INTER_LINEAR)
        padded[: size[1], : size[0]] = (resized - _MEAN) / _DEVIATION
        (embedding, *_) = self._encoder.run(None, {self._input.name: padded.transpose(2, 0, 1)[None]})

        def model(_: NDArray[np.uint8], places: Floats, labels: Floats, box: Box | None) -> NDArray[Any]:
            if box is None:  # the export asks for a padding point where there is no box
                corners, kinds = [[0.0, 0.0]], [-1]
            else:
                corners, kinds = [[box[0], box[1]], [box[2], box[3]]], [2, 3]
            inputs = {
                "image_embeddings": embedding,
                "point_coords": np.concatenate([places, np.array(corners, np.float32)])[None]
                * np.float32(scale),
                "point_labels": np.concatenate([labels, np.array(kinds, np.float32)])[None],
                "mask_input": np.zeros((1, 1, self._side // 4, self._side // 4), np.float32),
                "has_mask_input": np.zeros(1, np.float32),
                "orig_im_size": np.array([height, width], np.float32),
            }
            masks, scores, *_ = self._decoder.run(None, inputs)
            best: NDArray[Any] = masks[0, int(np.argmax(scores[0]))]
            return best

        return model
