"""Label Studio: a list of tasks, in which each region is a brush's mask in run lengths of its own kind."""

import json
import math
import re
from collections.abc import Hashable, Iterable, Iterator
from itertools import cycle
from pathlib import Path
from typing import Any
from urllib.parse import unquote
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

import numpy as np
from numpy.typing import NDArray

from bdgan_lib.core import rle
from bdgan_lib.core.io import require_new_path, write_atomic
from bdgan_lib.core.model_files import read_json_list
from bdgan_lib.core.types import BdganError
from bdgan_lib.core.validation import (
    NameOf,
    checked_points,
    collect_errors,
    pairing_name,
    shared_names,
    stem_of,
    unpaired,
)
from bdgan_lib.datasets.formats.coco import fill_polygons
from bdgan_lib.datasets.formats.shapes import (
    BACKGROUND,
    CHECK_FORMAT,
    PICTURES,
    Canvas,
    LabelledImage,
    checked_size,
)

FILE, CONFIG = "tasks.json", "label_config.xml"
_NO_OBJECT = (
    "no-object-"  # the ids of our regions that are of no object begin with it; Label Studio keeps them
)
_OBJECT = re.compile(r"object (\d{1,9})")  # a region's note
_TAGS = {"choices", "taxonomy", "text", "rating", "number", "datetime", "ranker"}  # no regions
_GEOMETRY = ("rle", "points", "x", "y", "width", "height", "radiusX", "radiusY", "rotation")
# what Label Studio puts before the name of a file that it serves
_SERVED = re.compile(r"(https?://[^/?#]+)?/data/(upload/\d+/([0-9a-f]{8}-)?|local-files/\?d=)")
_RUN_BITS = (3, 4, 8, 16)  # how many bits a run's length may take


def write_annotations(items: Iterable[LabelledImage], folder: Path) -> None:
    """Write `folder/tasks.json` to import, and `label_config.xml` for the project's labelling interface.

    Every pixel keeps its label. A region's object is its note, "object 3". Images are named as Label Studio's
    local files, with the folder as document root.
    """
    path, config = require_new_path(folder / FILE), require_new_path(folder / CONFIG)
    tasks, names = list[dict[str, Any]](), dict[str, None]()
    for item in items:
        height, width = item.mask.shape
        names |= dict.fromkeys(label for label in item.labels if label != BACKGROUND)
        results = list[dict[str, Any]]()
        for label, instance, pixels in item.regions():
            names[label] = None
            result: dict[str, Any] = {
                "id": f"region-{len(results)}" if instance else f"{_NO_OBJECT}{len(results)}",
                "type": "brushlabels",
                "from_name": "brush",
                "to_name": "image",
                "origin": "manual",
                "original_width": width,
                "original_height": height,
                "image_rotation": 0,
                "value": {"format": "rle", "rle": encode_brush(pixels), "brushlabels": [label]},
            }
            results.append(result | ({"meta": {"text": [f"object {instance}"]}} if instance else {}))
        image = f"/data/local-files/?d={PICTURES}/{item.name}.png"
        data = {"image": image, "width": width, "height": height}
        tasks.append({"data": data, "annotations": [{"result": results}]})
    write_atomic(path, json.dumps(tasks).encode())
    write_atomic(config, _label_config(names))


def read_annotations(path: Path, losses: list[str], name_of: NameOf = stem_of) -> Iterator[LabelledImage]:
    """Read the images of what Label Studio exports as JSON or JSON-MIN.

    Of several annotations of a task the newest is read that was not cancelled. Brushes, polygons, rectangles
    and ellipses are read, outlines filled as pycocotools does; other regions are left out. A region is a
    separate object unless its note gives a number, or it is as `write_annotations` wrote it.

    Args:
        path: the file; or its folder, with `tasks.json` or with a `project-*.json` as Label Studio names it.
        losses: receives a line for everything that is lost.
        name_of: see `pairing_name`.

    Raises:
        BdganError: the file is missing or no list of tasks, or a folder holds several.
    """
    file = _file(path) if path.is_dir() else path
    before, taken = len(losses), set[str]()
    tasks = _tasks(read_json_list(file, CHECK_FORMAT), losses)
    # regions that may be of an image without any
    untied = any(line.startswith("task at") for line in losses[before:])
    untied |= any(
        unpaired(_file_name(data), name_of) and _may_hold(annotations) for data, annotations in tasks
    )
    shared = shared_names((_file_name(data) for data, _ in tasks), name_of)
    for i, (data, annotations) in enumerate(tasks):
        item = None
        with collect_errors(f"task at {i} ({_file_name(data)!r:.100})", losses):
            name = pairing_name(_file_name(data), taken, name_of)
            item = _image(name, data, annotations, file.parent, losses, name not in shared, untied)
        if item:
            yield item


def encode_brush(mask: NDArray[np.bool_]) -> list[int]:
    """Label Studio's bytes of a mask [H, W]: run lengths of its RGBA values, row by row, as bits."""
    bits = [f"{4 * mask.size:032b}{8 - 1:05b}", *(f"{n - 1:04b}" for n in _RUN_BITS)]
    for value, pixels in zip(cycle((0, 255)), rle.runs(mask.T)):
        left = 4 * pixels
        while left:
            run = min(left, 2 ** _RUN_BITS[-1])
            kind = next(k for k, n in enumerate(_RUN_BITS) if run <= 2**n)
            bits.append(f"1{kind:02b}{run - 1:0{_RUN_BITS[kind]}b}{value:08b}")
            left -= run
    text = "".join(bits)
    text += "0" * (8 - len(text) % 8)
    return list(int(text, 2).to_bytes(len(text) // 8, "big"))


def decode_brush(numbers: Iterable[int], height: int, width: int) -> NDArray[np.bool_]:
    """The mask [height, width] of Label Studio's bytes: where its alpha is above 0.

    Raises:
        BdganError: they are not the RGBA values of such a mask.
    """
    data, at = bytes(numbers), 0
    padded = np.frombuffer(data + b"\0", np.uint8).astype(np.uint16)

    def skip(count: int) -> int:
        nonlocal at
        at += count
        if at > 8 * len(data):
            raise BdganError("run lengths end in the middle of a number; the mask is damaged")
        return at

    def number(count: int) -> int:
        end = skip(count)
        return int.from_bytes(data[(end - count) // 8 : (end + 7) // 8], "big") >> -end % 8 & (1 << count) - 1

    def values(count: int) -> NDArray[np.uint8]:
        first, shift = divmod(skip(8 * count) - 8 * count, 8)
        part = padded[first : first + count + 1]
        return (part[:-1] << shift | part[1:] >> (8 - shift)).astype(np.uint8)  # the lower eight bits

    length, word = number(32), number(5) + 1
    if (length, word) != (4 * height * width, 8):
        raise BdganError(
            f"expected run lengths of 4 x {height * width} values of 8 bits, got {length} of {word} bits"
        )
    sizes, done = [number(4) + 1 for _ in range(4)], 0
    rgba = np.zeros(length, np.uint8)
    while done < length:
        repeated, run = number(1), number(sizes[number(2)]) + 1
        if done + run > length:
            raise BdganError("run lengths go beyond the image; the mask is damaged")
        rgba[done : done + run] = number(8) if repeated else values(run)
        done += run
    alpha: NDArray[np.bool_] = rgba[3::4].reshape(height, width) > 0
    return alpha


def _label_config(names: Iterable[str]) -> bytes:
    view = Element("View")
    SubElement(view, "Image", name="image", value="$image", zoom="true", zoomControl="true")
    for shape in ("Brush", "Polygon", "Rectangle", "Ellipse"):
        control = SubElement(view, f"{shape}Labels", name=shape.lower(), toName="image")
        for name in names:
            SubElement(control, "Label", value=name)
    ElementTree.indent(view)
    return ElementTree.tostring(view, "unicode").encode() + b"\n"


def _file(folder: Path) -> Path:
    """The file that Label Studio exported into a folder, under the name that it gives; else `tasks.json`."""
    exports = sorted(file for file in folder.glob("project-*.json") if file.is_file())
    if len(exports) > 1:
        raise BdganError(
            f"expected one file of Label Studio in {folder}, got {exports[0].name} and {exports[1].name}; "
            "remove the old ones"
        )
    return exports[0] if exports else folder / FILE


def _tasks(entries: list[Any], losses: list[str]) -> list[tuple[dict[str, Any], list[Any]]]:
    """The data and the annotations of each task; in JSON-MIN each annotation is an entry with the data."""
    tasks = list[tuple[dict[str, Any], list[Any]]]()
    by_id: dict[Hashable, list[Any]] = {}
    flat = False
    for i, entry in enumerate(entries):
        with collect_errors(f"task at {i}", losses):
            if isinstance(entry.get("data"), dict):
                annotations = entry["annotations"] if "annotations" in entry else entry["completions"]
                tasks.append((entry["data"], list(annotations)))
                continue
            flat = True
            lists = [value for value in entry.values() if isinstance(value, list)]
            result = [part for value in lists for part in value if isinstance(part, dict)]
            id, annotated = entry.get("id"), entry["annotation_id"] is not None
            if id is None or id not in by_id:
                tasks.append((entry, []))
                by_id[id] = tasks[-1][1]
            by_id[id] += [{**entry, "result": result}] * annotated
    if flat:
        losses.append("JSON-MIN does not hold which object a region is of; each is an object of its own")
    return tasks


def _file_name(data: dict[str, Any]) -> object:
    """The file that a task's data name: its `image`, else the only value that ends as a picture does."""
    pictures = [
        value for value in data.values()
        if isinstance(value, str) and re.search(r"\.(png|jpe?g|webp|tiff?|bmp)$", value, re.I)
    ]  # fmt: skip
    image = data.get("image") or (pictures[0] if len(pictures) == 1 else None)
    served = _SERVED.match(image) if isinstance(image, str) else None
    return unquote(served.string[served.end() :]) if served else image


def _image(
    name: str,
    data: dict[str, Any],
    annotations: list[Any],
    folder: Path,
    losses: list[str],
    whole: bool,
    untied: bool,
) -> LabelledImage:
    """The labels of a task's image.

    Args:
        name: of the image.
        data: the task's.
        annotations: of the task.
        folder: of the file.
        losses: receives a line for everything that is lost.
        whole: whether no other task is of an image of this name.
        untied: whether the file has regions of an unknown image.
    """
    live = [a for a in annotations if not (a.get("was_cancelled") or a.get("skipped"))]
    if not live:
        count = f"{len(annotations)} cancelled" if annotations else "no"
        raise BdganError(f"{name}: expected an annotation, got {count}; submit one (a prediction is none)")
    times = [str(a.get("updated_at") or a.get("created_at") or "") for a in live]
    newest = max(range(len(live)), key=lambda k: (times[k], k))
    if len(live) > 1:
        losses.append(
            f"{name}: of {len(live)} annotations the newest is read, {times[newest] or 'the last'!s:.40}"
        )
    regions = [{**part, **(part.get("value") or {})} for part in live[newest]["result"]]
    sizes = [(r.get("original_height"), r.get("original_width")) for r in regions if _is_region(r)]
    if not sizes:
        sides = data.get("height"), data.get("width")
        sizes = [sides if all(type(side) is int for side in sides) else (None, None)]
    if strange := [size for size in sizes if size != sizes[0]]:
        raise BdganError(f"expected regions of one size, got {sizes[0]!r:.60} and {strange[0]!r:.60}")
    canvas = Canvas(name, checked_size(name, sizes[0], folder), losses)
    canvas.whole = whole and not (untied and not any(map(_is_region, regions)))
    # a project may have labels in a control apart: then the shape stands there a second time, with its label
    labelled = {_shape(region) for region in regions if _labels(region)}
    for i, region in enumerate(regions):
        if not _is_region(region):
            kind = region.get("type") or next(iter(_TAGS & region.keys()), "tag")
            losses.append(f"{name}: a {kind!r:.20} at {i} is no region; it is left out")
        elif _labels(region) or _shape(region) not in labelled:
            with canvas.shape(f"region at {i}"):
                canvas.paint(_label(region), _object(region), _pixels(region, canvas.height, canvas.width))
    return canvas.finished()


def _may_hold(annotations: list[Any]) -> bool:
    """Whether a task's annotations hold a region, or cannot be read."""
    lists = [a.get("result") if isinstance(a, dict) else None for a in annotations]
    return any(not isinstance(results, list) or results for results in lists)


def _is_region(result: dict[str, Any]) -> bool:
    """Whether a result is a region, and not what is said of one or of the whole image."""
    return bool(_labels(result)) or not (result.get("type") == "relation" or _TAGS & result.keys())


def _labels(region: dict[str, Any]) -> list[Any]:
    """Its labels, of all its controls."""
    lists = [value for key, value in region.items() if key.endswith("labels")]
    return list(dict.fromkeys(label for labels in lists for label in labels))


def _shape(region: dict[str, Any]) -> str:
    return json.dumps([region.get(key) for key in _GEOMETRY])


def _label(region: dict[str, Any]) -> object:
    labels = _labels(region)
    if len(labels) != 1:
        raise BdganError(f"expected one label, got {labels!r:.100}")
    return labels[0]


def _object(region: dict[str, Any]) -> int | None:
    if str(region.get("id")).startswith(_NO_OBJECT):
        return 0
    notes = (region.get("meta") or {}).get("text") or []
    for note in [notes] if isinstance(notes, str) else notes:
        if match := _OBJECT.fullmatch(note):
            return int(match[1])
    return None


def _pixels(region: dict[str, Any], height: int, width: int) -> NDArray[np.bool_]:
    if region.get("image_rotation") or region.get("item_index"):
        raise BdganError("it is drawn on a turned image, or on another one of the task")
    if "rle" in region:
        return decode_brush(region["rle"], height, width)
    percent = np.array([width, height]) / 100
    if "points" in region:
        if region.get("closed") is False:
            raise BdganError("its outline is open")
        ring = checked_points(region["points"], 100, 100) * percent
    elif {"radiusX", "radiusY"} <= region.keys():
        turn = np.linspace(0, 2 * math.pi, 360, endpoint=False)
        radii = np.array([region["radiusX"], region["radiusY"]], float) * percent
        ring = _turned(np.stack([np.cos(turn), np.sin(turn)], 1) * radii, region, percent)
    elif {"width", "height"} <= region.keys():
        sides = np.array([region["width"], region["height"]], float) * percent
        ring = _turned(np.array([[0, 0], [1, 0], [1, 1], [0, 1]]) * sides, region, percent)
    else:
        raise BdganError(f"a {region.get('type', 'region')!r:.20} has no area that is read")
    return fill_polygons([ring.ravel()], height, width)


def _turned(
    ring: NDArray[np.float64], region: dict[str, Any], percent: NDArray[np.float64]
) -> NDArray[np.float64]:
    """A ring about the region's point (x, y), turned clockwise."""
    angle = math.radians(region.get("rotation") or 0)
    cos, sin = math.cos(angle), math.sin(angle)
    turned: NDArray[np.float64] = ring @ [[cos, sin], [-sin, cos]]
    return turned + np.array([region["x"], region["y"]], float) * percent
