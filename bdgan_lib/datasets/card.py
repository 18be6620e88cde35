"""The data card of a data set, `README.md`, and its MLCommons metadata, `croissant.json`.

Both depend on the manifest and the shards alone and hold no dates, so that they can be computed again and
compared. They may be edited, or be texts of the user's: neither is sealed, and only `write_card` replaces
them. Each sha256 that they state must be of this data set.
"""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from bdgan_lib.core.io import holds_text, read_plain, sha256_of, write_atomic
from bdgan_lib.core.types import UNLABELLED, BdganError, Json
from bdgan_lib.datasets.croissant import croissant
from bdgan_lib.datasets.sample_checks import decode_sample
from bdgan_lib.datasets.shards import MANIFEST, ShardedSet
from bdgan_lib.datasets.tar_format import StoredSample

CARD, CROISSANT = "README.md", "croissant.json"
TEXTS = {CARD: b"sha256 of `manifest.json`", CROISSANT: b'"bdgan-'}  # what each holds, edited or not
_DATA_FILES = """configs:
- config_name: default
  data_files:
  - split: train
    path: "*.tar"
"""  # without them `datasets.load_dataset` takes the JSON files beside the shards
_MARKUP = re.compile(r"[\\`*\[\]<>#|{}~$^&@]|(?<![^\W_])_|_(?![^\W_])|:(?=//)|(?<=www)\.", re.IGNORECASE)
_STATED = {  # how each states a sha256 of the data set's files
    CARD: re.compile(rb"sha256 of `manifest\.json`: `([^`]*)`"),
    CROISSANT: re.compile(rb'"sha256"\s*:\s*"([^"]*)"'),
}
_FIGURES, _NUMBER = re.compile(rb"[0-9a-f]{12,}|[\d.,\s]+"), re.compile(rb"\d(?:[\d.,]*\d)?")
_STEERING = re.compile(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


class ShardStatistics:
    """Sums over the samples of a shard, and with `merge` of a set, for its data card.

    A set's are those of its shards in their order, so that its figures are the same however they were added.
    """

    def __init__(self) -> None:
        self.images: Counter[str] = Counter()  # by class name
        self.area: defaultdict[str, float] = defaultdict(
            float
        )  # sum of shares that are not background, by class name
        self.sizes: Counter[str] = Counter()  # images, by height and width
        self.scores: defaultdict[str, float] = defaultdict(
            float
        )  # sum of the records' confidence and divergence
        self.scored: Counter[str] = Counter()  # images with such a score
        self.metadata: defaultdict[str, set[str]] = defaultdict(set)  # versions, devices, licences of records

    def add(self, mask: NDArray[np.uint8], record: Mapping[str, object]) -> None:
        """Count one sample, given its mask [H, W] of label ids and its provenance."""
        name = str(record.get("class_name", f"class {record['class_id']}"))
        self.images[name] += 1
        labelled = int(np.count_nonzero(mask != UNLABELLED))
        self.area[name] += (labelled - int(np.count_nonzero(mask == 0))) / max(1, labelled)
        self.sizes[f"{mask.shape[0]} × {mask.shape[1]}"] += 1
        for key in ("bdgan_lib", "device", "licence"):
            if key in record:
                self.metadata[key].add(_plain(record[key]))
        for key in ("confidence", "divergence"):
            if isinstance(value := record.get(key), (int, float)) and abs(value) < 1e15:
                self.scores[key] += value
                self.scored[key] += 1

    def merge(self, other: "ShardStatistics") -> None:
        """Add the sums of the next shard."""
        for name, sums in vars(other).items():
            total = getattr(self, name)
            for key, value in sums.items():
                total[key] = total[key] | value if name == "metadata" else total[key] + value

    def to_json(self) -> Json:
        """The sums as a JSON object."""
        record = {name: dict(sums) for name, sums in vars(self).items()}
        return cast(
            Json, {**record, "metadata": {key: sorted(texts) for key, texts in self.metadata.items()}}
        )

    @classmethod
    def from_json(cls, record: object) -> "ShardStatistics":
        """The sums of `to_json`.

        Raises:
            BdganError: the object is not one of sums.
        """
        statistics, sums = cls(), cast(dict[str, Any], record)
        try:
            for name, values in vars(statistics).items():
                for key, value in sums[name].items():
                    values[key] = {*map(str, value)} if name == "metadata" else value + 0
        except (TypeError, KeyError, AttributeError) as error:
            raise BdganError(f"expected the sums over a shard, got {record!r:.100}") from error
        return statistics

    @classmethod
    def of_samples(cls, samples: Iterable[StoredSample], manifest: Json) -> "ShardStatistics":
        """The sums over the samples of a shard, with one in memory.

        Args:
            samples: as `stored_samples` reads them.
            manifest: of their set, which they must fit.

        Raises:
            BdganError: a sample is damaged.
        """
        statistics = cls()
        for stored in samples:
            sample, record = decode_sample(stored, manifest)
            statistics.add(sample.mask, record)
        return statistics


def write_card(folder: Path, progress: bool = True) -> None:
    """Write `README.md` and `croissant.json` beside a finished data set's manifest, in place of older ones.

    It reads all shards once, with one sample in memory.

    Raises:
        BdganError: a shard is damaged, or a file of another origin has one of the names; it stays.
    """
    for name, text in TEXTS.items():
        if (path := folder / name).exists() and not holds_text(path, text):
            raise BdganError(f"{path} is of another origin and would be replaced; move it elsewhere")
    data, statistics = ShardedSet(folder), ShardStatistics()
    with tqdm(total=len(data), unit="image", disable=not progress) as bar:
        for shard in data.shards:
            statistics.merge(ShardStatistics.of_samples(data.stored(shard), data.manifest))
            bar.update(shard["count"])
    for name, versions in trust_files(data.folder, data.manifest, statistics).items():
        write_atomic(folder / name, versions[0])


def complete_cards(data: ShardedSet, statistics: ShardStatistics, replaced: str = "") -> list[str]:
    """Write the data card and the Croissant file where they are missing, as `write_card` does.

    Args:
        data: a finished data set.
        statistics: the sums over its shards.
        replaced: sha256 of the manifest that this one replaced; files that were written for it are, too.

    Returns:
        A line for each file that is edited or of another origin, and stays.
    """
    notes = list[str]()
    replaced = replaced if replaced != sha256_of(data.folder / MANIFEST) else ""
    for name, versions in trust_files(data.folder, data.manifest, statistics).items():
        path = data.folder / name
        content = read_plain(path) if path.exists() else b""
        texts = {_FIGURES.sub(b"", version) for version in versions}  # other figures are no edit
        old = replaced and replaced.encode() in content and _FIGURES.sub(b"", content) in texts
        if old or not path.exists():
            write_atomic(path, versions[0])
        elif content not in versions:
            notes.append(edited(path))
    return notes


def states_other_figures(content: bytes, versions: tuple[bytes, ...]) -> bool:
    """Whether the content of a data card or a Croissant file differs from a version in numbers alone."""
    numbers = {_FIGURES.sub(b"", version): _NUMBER.findall(version) for version in versions}
    text = _FIGURES.sub(b"", content)
    return text in numbers and numbers[text] != _NUMBER.findall(content)


def edited(path: Path) -> str:
    """The line about a data card or a Croissant file that is not as `write_card` writes it."""
    remedy = "`bdgan describe` would write it anew" if holds_text(path, TEXTS[path.name]) else "move it"
    return f"{path} is edited or of another origin and stays; {remedy}"


def contradictions(folder: Path, manifest: Json) -> list[str]:
    """A line for the data card and the Croissant file each, if it is there and contradicts the manifest."""
    known: dict[str, Any] = manifest
    digests, lines = {sha256_of(folder / MANIFEST), *(s["sha256"] for s in known["shards"])}, list[str]()
    for name, pattern in _STATED.items():
        if (path := folder / name).is_file():
            try:
                content, wrong = read_plain(path), ""
            except BdganError as error:
                lines.append(str(error))
                continue
            if not {digest.decode("latin-1").lower() for digest in pattern.findall(content)} <= digests:
                wrong = "states the sha256 of files that are not of this data set"
            elif name == CROISSANT:
                try:
                    json.loads(content)
                except (ValueError, RecursionError):
                    wrong = "is not JSON"
            if wrong:
                lines.append(f"{path} {wrong}; move it elsewhere, and run `bdgan describe` to write it anew")
    return lines


def trust_files(folder: Path, manifest: Json, statistics: ShardStatistics) -> dict[str, tuple[bytes, ...]]:
    """The bytes of data card and Croissant file, by file name: as they are written, then older versions.

    Raises:
        BdganError: a value of the manifest or of a record is nested too deeply.
    """
    digest = sha256_of(folder / MANIFEST)
    record = croissant(manifest, digest, _plain(manifest.get("licence", "not stated")))
    cards = (_card(manifest, statistics, *version) for version in ((_DATA_FILES, _escaped), ("", _piped)))
    return {
        CARD: tuple(f"{text}\nsha256 of `{MANIFEST}`: `{digest}`\n".encode() for text in cards),
        CROISSANT: ((json.dumps(record, indent=1, ensure_ascii=False) + "\n").encode(),),
    }


def _card(
    manifest: Mapping[str, Any], statistics: ShardStatistics, data_files: str, escape: Callable[[str], str]
) -> str:
    """The data card, in Markdown, with further entries of its front matter and an escape of table cells."""
    spec, total = manifest.get("spec", {}), max(1, manifest["count"])
    made = {
        "generator, sha256 of its weights": spec.get("generator_sha256"),
        "label head, sha256 of its weights": spec.get("head_sha256"),
        "sampling": spec.get("sampling"),
        "first seed": spec.get("first_seed"),
        "library": statistics.metadata.get("bdgan_lib"),
        "devices": statistics.metadata.get("device"),
        "sha256 of the settings": manifest.get("spec_sha256"),
    }
    counts = {key: n for key, n in (manifest.get("counts") or {}).items() if isinstance(n, int)}
    dropped = {key: n for key, n in counts.items() if key not in ("made", "kept")}
    share = manifest["count"] / max(1, manifest["count"] + sum(dropped.values()))
    licence = manifest.get("licence")
    chain: dict[str, object] = {"code (bdgan_lib)": "Apache-2.0"}
    chain |= licence if isinstance(licence, Mapping) else {"this data set": licence or "not stated"}
    if statistics.metadata.get("licence"):
        chain["as the records say"] = statistics.metadata["licence"]
    labels = manifest.get("labels") or ["background", "foreground, or part k where labels are above 1"]
    facts = {
        "images": f"{manifest['count']:,} in {len(manifest['shards'])} shards",
        "sizes (height × width)": ", ".join(f"{size}: {n:,}" for size, n in sorted(statistics.sizes.items())),
        "classes": len(statistics.images),
        "labels, from 0": labels,
        "share of pixels that are not background, mean": f"{sum(statistics.area.values()) / total:.4f}",
        **({"kept of what was made": f"{share:.4f}"} if counts else {}),
        **{f"dropped: {reason}": f"{n:,}" for reason, n in dropped.items()},
        **{
            f"{key}, mean": f"{statistics.scores[key] / n:.4f}"
            for key, n in sorted(statistics.scored.items())
        },
    }
    table = partial(_table, escape)
    classes = [
        (name, f"{n:,}", f"{statistics.area[name] / n:.4f}") for name, n in sorted(statistics.images.items())
    ]
    return f"""---
license: other
task_categories: [image-segmentation]
tags: [synthetic, webdataset, croissant]
{data_files}---

# A synthetic labelled data set

No picture here was taken and no pixel labelled by hand: a generator drew every image, and a small head on its
features, trained on a few labelled samples per class, labelled every pixel (the method of BigDatasetGAN,
Li et al., CVPR 2022).

## How it was made

{table(("what", "value"), made.items())}
The same settings, versions and device make the same bytes again; each record holds class and seed.

## Figures

{table(("what", "value"), facts.items())}
{table(("class", "images", "share not background"), classes)}
## Limits

- Images show what the generator learnt, with its biases and its mistakes; a class may look wrong or alike.
- Masks are a head's predictions. They are least sure at edges and in thin parts, and no person checked them.
- Objects of one image are not told apart: a mask says what a pixel shows, not whose it is.
- What is trained on it must be tested on real pictures.

## Licences

{table(("of", "licence"), chain.items())}
Whoever passes the data set on passes all of them on.

## How to read it

```python
from bdgan_lib.data.shards import ShardedSet

for sample, provenance in ShardedSet("FOLDER"):  # or any reader of WebDataset: png, mask.png, json
    sample.image, sample.mask  # uint8 [H, W, 3]; uint8 [H, W] label ids, 255 = unlabelled
    print(sample.id, provenance["class_name"])
```

`bdgan validate FOLDER` checks every file, `bdgan export FOLDER --to coco --out OUT` writes it for others.
"""


def _table(escape: Callable[[str], str], head: tuple[str, ...], rows: Any) -> str:
    """A Markdown table; rows with the value None are left out."""
    lines = [head, ("---",) * len(head), *(row for row in rows if row[1] is not None)]
    cells = ([escape(_plain(cell)) for cell in row] for row in lines)
    return "".join(f"| {' | '.join(row)} |\n" for row in cells)


def _plain(value: object) -> str:
    """A value of a manifest or a record, in one line."""
    try:
        if isinstance(value, Mapping):
            return "; ".join(f"{key}: {_plain(one)}" for key, one in value.items() if one is not None)
        if isinstance(value, (list, tuple, set)):
            return ", ".join(map(_plain, sorted(value, key=str) if isinstance(value, set) else value))
        return " ".join(str(value).split())
    except RecursionError as error:
        raise BdganError("a value of the manifest or of a record is nested too deeply") from error


def _piped(cell: str) -> str:
    """How cards were written before `_escaped`."""
    return cell.replace("|", "\\|")


def _escaped(cell: str) -> str:
    """Text that Markdown and HTML show as it is, without characters that steer terminals or directions."""
    return _MARKUP.sub(r"\\\g<0>", _STEERING.sub("", cell))
