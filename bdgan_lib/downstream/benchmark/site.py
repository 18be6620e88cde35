"""Results as one static page: a table per task to sort, the IoU of each label, the best and worst images.

Every text of a result is someone else's: it is escaped, and the page's policy lets nothing run or load but
its own style, its own script and the pictures it carries.
"""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from hashlib import sha256
from html import escape
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from bdgan_lib.core.image_codecs import encode_png
from bdgan_lib.core.io import write_atomic
from bdgan_lib.core.types import UNLABELLED, BdganError
from bdgan_lib.downstream.benchmark.gallery import Example, Gallery
from bdgan_lib.downstream.benchmark.result import Result
from bdgan_lib.visualization.colors import colour_mask, palette

_SIDE = 192  # pixels of a picture at most
_COLOURED = 24  # labels of a picture that have colours
_CSS, _JS = (Path(__file__).with_name(f"page.{kind}").read_text("utf-8") for kind in ("css", "js"))
_COLUMNS = (("Name", "text"), ("mIoU", "number"), ("95% interval", "number"), ("Date", "text"))


def write_site(results: Sequence[Result], out: Path, galleries: Mapping[int, Gallery] | None = None) -> Path:
    """Write `index.html` into the folder `out`; galleries by the result's index. Returns the page's path."""
    if not results:
        raise BdganError("no results to show; give one or more files of `bdgan benchmark score`")
    text = page(results, galleries or {})
    out.mkdir(parents=True, exist_ok=True)
    write_atomic(out / "index.html", text.encode())
    return out / "index.html"


def page(results: Sequence[Result], galleries: Mapping[int, Gallery]) -> str:
    """The page's HTML: a function of its arguments, the best result first.

    Results stand in one table where world, task and true labels are equal.
    """
    groups: dict[tuple[str, str, str], list[int]] = {}
    for i in sorted(range(len(results)), key=lambda i: (-results[i].miou, i)):
        groups.setdefault((results[i].world, results[i].task, results[i].labels_sha256), []).append(i)
    sections = "".join(_section(n, groups[key], results, galleries) for n, key in enumerate(sorted(groups)))
    policy = (
        f"default-src 'none'; img-src data:; style-src {_allowed(_CSS)}; script-src {_allowed(_JS)}; "
        "base-uri 'none'; form-action 'none'"
    )
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Segmentation benchmark</title>
<style>{_CSS}</style>
</head>
<body>
<main>
<h1>Segmentation benchmark</h1>
<p class="note">mIoU is the mean over the labels that occur, the background among them; the interval is a
bootstrap over images. Only results on the same images and labels stand in one table.</p>
{sections}</main>
<script>{_JS}</script>
</body>
</html>
"""


def _section(
    number: int, members: list[int], results: Sequence[Result], galleries: Mapping[int, Gallery]
) -> str:
    first = results[members[0]]
    heads = "".join(
        f'<th scope="col" data-kind="{kind}" aria-sort="{"descending" if name == "mIoU" else "none"}">'
        f'<button type="button">{name}</button></th>'
        for name, kind in _COLUMNS
    )
    rows = "".join(_row(results[i]) for i in members)
    count = len(first.labels) - (len(first.labels) > UNLABELLED)
    details = "".join(_details(results[i], galleries.get(i)) for i in members)
    return f"""<section aria-labelledby="task{number}">
<h2 id="task{number}">{_text(first.world)}: {_text(first.task)}</h2>
<p class="note">{count:,} labels, {first.images:,} images; sha256 of the true labels
{first.labels_sha256[:12]}</p>
<div class="scroll" role="region" tabindex="0" aria-labelledby="task{number}">
<table class="sortable"><thead><tr>{heads}</tr></thead>
<tbody>
{rows}</tbody></table>
</div>
{details}</section>
"""


def _row(result: Result) -> str:
    low, high = result.interval
    cells = (
        (f"{result.miou!r}", f"{result.miou:.3f}"),
        (f"{low!r}", f"{low:.3f} to {high:.3f}"),
        (result.date, result.date),
    )
    name = f'<th scope="row" data-value="{escape(result.name)}">{_text(result.name)}</th>'
    values = "".join(f'<td data-value="{escape(value)}">{_text(text)}</td>' for value, text in cells)
    return f"<tr>{name}{values}</tr>\n"


def _details(result: Result, gallery: Gallery | None) -> str:
    pictures = ""
    if gallery:
        with_images = gallery.best[0].image is not None
        pictures = "".join(
            f'<h3>{title}: {"image, " * with_images}true labels, prediction</h3>\n<div class="figures">'
            f"{''.join(_figure(example, result.labels) for example in chosen)}</div>\n"
            for title, chosen in (("Best", gallery.best), ("Worst", gallery.worst))
        )
    holds = "IoU of each label" + ", images" * bool(gallery)
    return f"""<details><summary>{_text(result.name)}: {holds}</summary>
{_bars(result)}
<p class="note">sha256 of the predictions {result.predictions_sha256[:12]}; scored by bdgan_lib
{_text(result.version)}</p>
{pictures}</details>
"""


def _bars(result: Result) -> str:
    """IoU of the labels that occur, as horizontal bars; the same in words for who cannot see them."""
    scores = [(label, score) for label, score in zip(result.labels, result.iou) if score is not None]
    words = ", ".join(f"{label} {score:.3f}" for label, score in scores)
    rows = "".join(
        f'<svg y="{20 * n}" width="115" height="20"><text y="14">{escape(label)}</text></svg>'
        f'<rect class="full" x="120" y="{20 * n + 3}" width="170" height="14"/>'
        f'<rect class="part" x="120" y="{20 * n + 3}" width="{170 * score:.1f}" height="14"/>'
        f'<text x="298" y="{20 * n + 14}">{score:.3f}</text>'
        for n, (label, score) in enumerate(scores)
    )
    return (
        f'<svg class="bars" role="img" aria-label="IoU of each label: {escape(words)}" '
        f'viewBox="0 0 335 {20 * len(scores)}">{rows}</svg>'
    )


def _figure(example: Example, labels: tuple[str, ...]) -> str:
    """Image, true labels and prediction side by side, and which colour is which label.

    Colours are given per image, since it has few of a thousand labels; beyond _COLOURED all are grey.
    """
    values, pixels = np.unique(np.stack([example.target, example.predicted]), return_counts=True)
    common = values[np.argsort(-pixels, kind="stable")][:_COLOURED]
    used = np.array([0, *sorted(common[(common > 0) & (common != UNLABELLED)])])
    colours = np.full(len(labels) + 256, UNLABELLED, np.uint8)
    colours[used] = np.arange(len(used))
    pictures = [] if example.image is None else [(f"image {example.id}", _small(example.image))]
    for what, mask in (("true labels", example.target), ("prediction", example.predicted)):
        pictures.append((f"{what} of {example.id}", _small(colour_mask(colours[mask]), cv2.INTER_NEAREST)))
    shown = "\n".join(f'<img alt="{escape(alt)}" src="{_data(picture)}">' for alt, picture in pictures)
    keys = [(labels[value], rgb) for value, rgb in zip(used.tolist(), palette(len(used)).tolist())]
    if (colours[values] == UNLABELLED).any():
        keys.append(("unlabelled or another", colour_mask(np.full((1, 1), UNLABELLED, np.uint8))[0, 0]))
    chips = "".join(
        '<li><svg viewBox="0 0 1 1" aria-hidden="true"><rect width="1" height="1" '
        f'fill="rgb({r},{g},{b})"/></svg>{_text(label)}</li>'
        for label, (r, g, b) in keys
    )
    caption = f"{_text(example.id)}: mIoU {example.miou:.3f}"
    return f'<figure>{shown}\n<figcaption>{caption}<ul class="keys">{chips}</ul></figcaption></figure>\n'


def _small(picture: NDArray[np.uint8], how: int = cv2.INTER_AREA) -> NDArray[np.uint8]:
    """The picture [H, W, 3], no side above _SIDE pixels."""
    scale = _SIDE / max(picture.shape[:2])
    if scale >= 1:
        return picture
    height, width = (max(1, round(scale * side)) for side in picture.shape[:2])
    return cv2.resize(picture, (width, height), interpolation=how)


def _data(picture: NDArray[np.uint8]) -> str:
    return f"data:image/png;base64,{b64encode(encode_png(picture)).decode()}"


def _allowed(inline: str) -> str:
    return f"'sha256-{b64encode(sha256(inline.encode()).digest()).decode()}'"


def _text(text: str) -> str:
    """For the page's text: escaped, and its writing direction kept to itself."""
    return f"<bdi>{escape(text)}</bdi>"
