"""The data card of a data set, `README.md`, and its MLCommons metadata, `croissant.json`.

Both depend on the manifest and the shards alone and hold no dates, so that `validate` can compute them again.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from bdgan_lib.core.io import sha256_of, write_atomic
from bdgan_lib.core.types import UNLABELLED, Json
from bdgan_lib.datasets.croissant import croissant
from bdgan_lib.datasets.shards import MANIFEST, ShardedSet
from bdgan_lib.datasets.tar_format import stored_samples

CARD, CROISSANT = "README.md", "croissant.json"


class SetStatistics:
    """Counts over the samples of a set, for its data card."""

    def __init__(self) -> None:
        self.images: Counter[str] = Counter()  # by class name
        self.area: defaultdict[str, float] = defaultdict(float)  # sum of shares that are not background
        self.sizes: Counter[str] = Counter()
        self.metadata: defaultdict[str, set[str]] = defaultdict(set)  # versions, devices, licences of records
        self.sums: defaultdict[str, list[float]] = defaultdict(list)  # [sum, count] of the records' scores

    def add(self, mask: NDArray[np.uint8], record: Mapping[str, object]) -> None:
        """Count one sample, given its mask [H, W] of label ids and its provenance."""
        name = str(record.get("class_name", f"class {record['class_id']}"))
        self.images[name] += 1
        labelled = int((mask != UNLABELLED).sum())
        self.area[name] += int(((mask > 0) & (mask != UNLABELLED)).sum()) / max(1, labelled)
        self.sizes[f"{mask.shape[0]} × {mask.shape[1]}"] += 1
        for key in ("bdgan_lib", "device", "licence"):
            if key in record:
                self.metadata[key].add(_plain(record[key]))
        for key in ("confidence", "divergence"):
            if isinstance(value := record.get(key), (int, float)):
                total = self.sums[key] or [0.0, 0.0]
                self.sums[key] = [total[0] + value, total[1] + 1]


def write_card(folder: Path, progress: bool = True) -> None:
    """Write `README.md` and `croissant.json` beside a finished data set's manifest, in place of older ones.

    It reads all shards once, with one sample in memory.

    Raises:
        BdganError: a shard is damaged.
    """
    data, statistics = ShardedSet(folder), SetStatistics()
    with tqdm(total=len(data), unit="image", disable=not progress, mininterval=1.0) as bar:
        for shard in data.shards:
            for stored in stored_samples(data.verified(shard)):
                statistics.add(*stored.labels())
                bar.update()
    for name, text in trust_files(data.folder, data.manifest, statistics).items():
        write_atomic(data.folder / name, text)


def trust_files(folder: Path, manifest: Json, statistics: SetStatistics) -> dict[str, bytes]:
    """The bytes of data card and Croissant file, by file name."""
    digest, text = sha256_of(folder / MANIFEST), _card(manifest, statistics)
    record = croissant(manifest, digest, _plain(manifest.get("licence", "not stated")))
    return {
        CARD: f"{text}\nsha256 of `{MANIFEST}`: `{digest}`\n".encode(),
        CROISSANT: (json.dumps(record, indent=1, ensure_ascii=False) + "\n").encode(),
    }


def _card(manifest: Mapping[str, Any], statistics: SetStatistics) -> str:
    """The data card, in Markdown."""
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
        **{f"{key}, mean": f"{value / n:.4f}" for key, (value, n) in sorted(statistics.sums.items())},
    }
    classes = [
        (name, f"{n:,}", f"{statistics.area[name] / n:.4f}") for name, n in sorted(statistics.images.items())
    ]
    return f"""---
license: other
task_categories: [image-segmentation]
tags: [synthetic, webdataset, croissant]
---

# A synthetic labelled data set

No picture here was taken and no pixel labelled by hand: a generator drew every image, and a small head on its
features, trained on a few labelled samples per class, labelled every pixel (the method of BigDatasetGAN,
Li et al., CVPR 2022).

## How it was made

{_table(("what", "value"), made.items())}
The same settings, versions and device make the same bytes again; each record holds class and seed.

## Figures

{_table(("what", "value"), facts.items())}
{_table(("class", "images", "share not background"), classes)}
## Limits

- Images show what the generator learnt, with its biases and its mistakes; a class may look wrong or alike.
- Masks are a head's predictions. They are least sure at edges and in thin parts, and no person checked them.
- Objects of one image are not told apart: a mask says what a pixel shows, not whose it is.
- What is trained on it must be tested on real pictures.

## Licences

{_table(("of", "licence"), chain.items())}
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


def _table(head: tuple[str, ...], rows: Any) -> str:
    """A Markdown table; rows with the value None are left out."""
    lines = [head, ("---",) * len(head), *(row for row in rows if row[1] is not None)]
    cells = ([_plain(cell).replace("|", "\\|") for cell in row] for row in lines)
    return "".join(f"| {' | '.join(row)} |\n" for row in cells)


def _plain(value: object) -> str:
    """A value of a manifest or a record, in one line."""
    if isinstance(value, Mapping):
        return "; ".join(f"{key}: {_plain(one)}" for key, one in value.items() if one is not None)
    if isinstance(value, (list, tuple, set)):
        return ", ".join(map(_plain, sorted(value, key=str) if isinstance(value, set) else value))
    return " ".join(str(value).split())
