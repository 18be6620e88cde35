"""The page of a label head or a generator on the Hub, in Markdown, with the entries that the Hub reads."""

from pathlib import Path
from typing import Any, cast

from bdgan_lib.core.model_files import read_json
from bdgan_lib.hub.names import Kind

_LOAD = {
    "head": """from bdgan_lib.hub import from_hub

head = from_hub("{repo}", revision="COMMIT")  # a full commit, so that it never changes
masks = head.predict(generator.sample(class_ids, seeds, sampling))  # [B, H, W] uint8""",
    "model": """from bdgan_lib.hub import from_hub

profile = from_hub("{repo}", revision="COMMIT")  # a full commit, so that it never changes
sample = profile.generator().sample(class_ids, seeds, profile.sampling)  # images [B, 3, H, W] in [-1, 1]""",
}


def model_card(folder: Path, kind: Kind, repo: str) -> bytes:
    """The README.md of a repository: what it holds, how to load it, and what was measured.

    It depends on the files and the name alone, so that the same folder gives the same bytes.

    Args:
        folder: of the head or the generator.
        kind: which of them it is.
        repo: the repository's name.
    """
    title, tags, facts, numbers = (_head if kind == "head" else _generator)(folder)
    metrics = ""
    if numbers:
        rows = "".join(f"| {name} | {value:.4g} |\n" for name, value in numbers.items())
        metrics = f"\n## Measured\n\n| what | value |\n|---|---|\n{rows}"
    table = "".join(f"| {name} | {' '.join(str(value).split())} |\n" for name, value in facts.items())
    return f"""---
library_name: bdgan_lib
license: other
tags: [{", ".join(("bdgan_lib", "safetensors", "synthetic-data", *tags))}]
---

# {title}

Weights are safetensors, the rest is JSON; nothing here runs code.

| what | value |
|---|---|
{table}{metrics}
## How to load it

`pip install 'bdgan-lib[hub]'`, then

```python
{_LOAD[kind].format(repo=repo)}
```

`bdgan pull {repo} --out FOLDER` fetches the files.

## Licence

The code is Apache-2.0. The weights learnt from data and generators with licences of their own, which hold
for them as well.
""".encode()


def _head(folder: Path) -> tuple[str, tuple[str, ...], dict[str, object], dict[str, float]]:
    record = cast(dict[str, Any], read_json(folder / "head.json"))
    config, architecture = record["config"], record["config"]["architecture"]
    facts = {
        "labels, from 0": _code(config["labels"]),
        "classes of the generator": config["num_classes"],
        "features it reads": _code(
            f"{name} {channels}x{side}x{side}" for name, channels, side in config["blocks"]
        ),
        "variant": architecture["variant"],
        "members of the ensemble": architecture["members"],
        "sha256 of the weights": _code([record["sha256"]]),
    }
    return "A label head", ("image-segmentation",), facts, {}


def _generator(folder: Path) -> tuple[str, tuple[str, ...], dict[str, object], dict[str, float]]:
    model = cast(dict[str, Any], read_json(folder / "model.json"))
    report = read_json(folder / "report.json") if (folder / "report.json").exists() else {}
    facts = {
        "kind": model["kind"],
        "side of the images, in pixels": model["side"],
        "classes": _code(model["classes"]),
    }
    numbers = {name: float(v) for name, v in report.items() if isinstance(v, int | float)}
    return "A class-conditional generator", ("image-generation", str(model["kind"])), facts, numbers


def _code(values: object) -> str:
    """Values as Markdown shows them whatever they hold."""
    texts = [str(value).replace("`", "'").replace("|", "/") for value in cast(Any, values)]
    return ", ".join(f"`{text}`" for text in texts)
