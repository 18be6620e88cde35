"""Hugging Face: parquet with its features, images as their stored bytes."""

import json
from itertools import islice
from pathlib import Path

from bdgan_lib.core.types import BdganError
from bdgan_lib.datasets.formats.set_items import ExportReport, SetItems

ROWS = 5_000  # per file
GROUP = 100  # rows in memory, and in a parquet row group


def write_set(source: SetItems, folder: Path) -> ExportReport:
    """Write `data/train-00000-of-0000N.parquet`: id, image, mask (label ids), class, provenance (JSON).

    Nothing is lost.

    Raises:
        BdganError: the package `datasets` is missing.
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
        from datasets import ClassLabel, Features, Image, Value
    except ImportError as error:
        raise BdganError(f"{error}; hf needs it: pip install 'bdgan-lib[export]'") from error
    schema = Features(
        {
            "id": Value("string"),
            "image": Image(),
            "mask": Image(),
            "class": ClassLabel(names=source.classes),
            "provenance": Value("string"),
        }
    ).arrow_schema
    rows = (
        {
            "id": item.id,
            "image": {"bytes": item.stored.image, "path": item.stored.image_name},
            "mask": {"bytes": item.stored.mask, "path": f"{item.id}.mask.png"},
            "class": item.record["class_id"],
            "provenance": json.dumps(item.record, sort_keys=True, ensure_ascii=False),
        }
        for item in source
    )
    (folder / "data").mkdir()
    report, files = ExportReport(), max(1, -(-len(source.data) // ROWS))
    for k in range(files):
        part = islice(rows, ROWS)
        with pq.ParquetWriter(folder / "data" / f"train-{k:05d}-of-{files:05d}.parquet", schema) as writer:
            while group := list(islice(part, GROUP)):
                writer.write_table(pa.Table.from_pylist(group, schema))
                report.images += len(group)
    return report
