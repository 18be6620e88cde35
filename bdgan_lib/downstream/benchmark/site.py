"""Results as one static page: a sortable table per task, the IoU of each label, the best and worst images.

The texts of a result are untrusted: the template escapes them, and the page's content security policy allows
only its embedded style, script and pictures.
"""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from bdgan_lib.core.image_codecs import encode_png
from bdgan_lib.core.io import write_atomic
from bdgan_lib.core.model_files import OTHER_FILE
from bdgan_lib.core.templates import page_template
from bdgan_lib.core.types import UNLABELLED, BdganError
from bdgan_lib.downstream.benchmark.gallery import Example, Gallery
from bdgan_lib.downstream.benchmark.result import Result
from bdgan_lib.visualization.colors import colour_mask, palette

_SIDE = 192  # pixels of a picture at most
_COLOURED = 24  # labels of a picture that have colours
_CSS, _JS = (Path(__file__).with_name(f"page.{kind}").read_text("utf-8") for kind in ("css", "js"))
_PAGE = page_template(Path(__file__).with_name("page.html.j2"))
_TITLE = b"<title>Segmentation benchmark</title>"
_COLUMNS = (("Name", "text"), ("mIoU", "number"), ("95% interval", "number"), ("Date", "text"))


def write_site(results: Sequence[Result], out: Path, galleries: Mapping[int, Gallery] | None = None) -> Path:
    """Write `index.html` into the folder `out`.

    Args:
        results: one or more.
        out: made if missing.
        galleries: by the result's index.

    Returns:
        The page's path.

    Raises:
        BdganError: there are no results, or an index.html is there that is no page of results.
    """
    if not results:
        raise BdganError("no results to show; give one or more files of `bdgan benchmark score`")
    check_page(out)
    text = page(results, galleries or {})
    out.mkdir(parents=True, exist_ok=True)
    write_atomic(out / "index.html", text.encode())
    return out / "index.html"


def check_page(out: Path) -> None:
    """Check that `write_site` would replace nothing but an earlier page of results.

    Raises:
        BdganError: the folder has another index.html.
    """
    if (path := out / "index.html").exists() and _TITLE not in path.read_bytes()[:5_000]:
        raise BdganError(f"{path} is no page of results; {OTHER_FILE}")


def page(results: Sequence[Result], galleries: Mapping[int, Gallery]) -> str:
    """The page's HTML, a function of the arguments alone.

    Results with the same world, task and true labels share a table, the best first.
    """
    groups: dict[tuple[str, str, str], list[int]] = {}
    for i in sorted(range(len(results)), key=lambda i: (-results[i].miou, i)):
        groups.setdefault((results[i].world, results[i].task, results[i].labels_sha256), []).append(i)
    sections = [[_details(results[i], galleries.get(i)) for i in groups[key]] for key in sorted(groups)]
    inline = {"css": Markup(_CSS), "js": Markup(_JS)}
    allowed = {"style": _allowed(_CSS), "script": _allowed(_JS)}
    return _PAGE.render(inline, sections=sections, columns=_COLUMNS, allowed=allowed)


def _details(result: Result, gallery: Gallery | None) -> dict[str, Any]:
    """What the template shows of a result."""
    pictures = []
    if gallery:
        what = "image, " * (gallery.best[0].image is not None) + "true labels, prediction"
        for title, ranked in (("Best", gallery.best), ("Worst", gallery.worst)):
            pictures.append((f"{title}: {what}", [_figure(example, result.labels) for example in ranked]))
    return {
        "result": result,
        "num_labels": len(result.labels) - (len(result.labels) > UNLABELLED),
        "scores": [(label, score) for label, score in zip(result.labels, result.iou) if score is not None],
        "pictures": pictures,
    }


def _figure(example: Example, labels: tuple[str, ...]) -> dict[str, Any]:
    """Pictures of the image, its true labels and the prediction, with a legend of the labels' colours.

    Each image gets its own colours, since it has few of a thousand labels; beyond _COLOURED all are grey.
    """
    values, pixels = np.unique(np.stack([example.target, example.predicted]), return_counts=True)
    common = values[np.argsort(-pixels, kind="stable")][:_COLOURED]
    used = np.array([0, *sorted(common[(common > 0) & (common != UNLABELLED)])])
    colours = np.full(len(labels) + 256, UNLABELLED, np.uint8)
    colours[used] = np.arange(len(used))
    pictures = [] if example.image is None else [(f"image {example.id}", _small(example.image))]
    for what, mask in (("true labels", example.target), ("prediction", example.predicted)):
        pictures.append((f"{what} of {example.id}", _small(colour_mask(colours[mask]), cv2.INTER_NEAREST)))
    legend = [(labels[value], rgb) for value, rgb in zip(used.tolist(), palette(len(used)).tolist())]
    if (colours[values] == UNLABELLED).any():
        legend.append(("unlabelled or another", colour_mask(np.full((1, 1), UNLABELLED, np.uint8))[0, 0]))
    encoded = [(alt, b64encode(encode_png(picture)).decode()) for alt, picture in pictures]
    return {"example": example, "pictures": encoded, "legend": legend}


def _small(picture: NDArray[np.uint8], how: int = cv2.INTER_AREA) -> NDArray[np.uint8]:
    """The picture [H, W, 3], no side above _SIDE pixels."""
    scale = _SIDE / max(picture.shape[:2])
    if scale >= 1:
        return picture
    height, width = (max(1, round(scale * side)) for side in picture.shape[:2])
    return cv2.resize(picture, (width, height), interpolation=how)


def _allowed(inline: str) -> str:
    """The source expression of a content security policy that allows this text and no other."""
    return f"sha256-{b64encode(sha256(inline.encode()).digest()).decode()}"
