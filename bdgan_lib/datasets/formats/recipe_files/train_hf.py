"""Trains a SegFormer with the Trainer of Hugging Face's transformers on this folder.

    python train.py --epochs 20                          a small SegFormer from random weights; no download
    python train.py --epochs 20 --model nvidia/mit-b0    from a checkpoint of the Hub, or a folder
    python train.py --real DATA --real-times 5           with real data: DATA/images/x.png, DATA/masks/x.png

Real masks must hold the numbers of the classes that recipe.json lists. 0, the background, is a class like the
others, so labels are not reduced; 255 is unlabelled, and neither the loss nor the scores count it.
"""

import argparse
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset, Image, concatenate_datasets, load_dataset
from transformers import (
    AutoModelForSemanticSegmentation,
    EvalPrediction,
    SegformerConfig,
    SegformerForSemanticSegmentation,
    SegformerImageProcessor,
    Trainer,
    TrainingArguments,
)

HERE = Path(__file__).parent
ABOUT = json.loads((HERE / "recipe.json").read_text("utf-8"))
NAMES = ABOUT["classes"]
FOREGROUND = ABOUT[
    "foreground_masks"
]  # whether a stored mask is 0 and 1 alone, so that 1 is the image's class
IGNORE = 255


def numbers(mask: object, class_id: int | None) -> np.ndarray:
    """The numbers of the classes [H, W] in a stored mask; one of a real image has no class and holds them."""
    ids = np.array(mask)
    return np.where(ids == 1, class_id + 1, ids) if FOREGROUND and class_id is not None else ids


def synthetic(split: str) -> Dataset:
    """The images that train.txt or val.txt lists."""
    data = load_dataset("parquet", data_files=str(HERE / "data" / "*.parquet"), split="train")
    ids = set((HERE / f"{split}.txt").read_text("utf-8").split("\n"))
    return data.select([i for i, id in enumerate(data["id"]) if id in ids])


def real(folder: Path) -> Dataset:
    """The pictures of `folder`/images that have labels; the loss of a batch without any would be NaN."""
    masks = sorted((folder / "masks").glob("*.png"))
    if not masks:
        raise SystemExit(f"error: --real expects masks, but {folder / 'masks'} holds no .png")
    files = {"image": [str(folder / "images" / m.name) for m in masks], "mask": [str(m) for m in masks]}
    data = Dataset.from_dict(files).cast_column("image", Image()).cast_column("mask", Image())
    return data.filter(lambda row: (np.array(row["mask"]) != IGNORE).any())


def scores(evaluation: EvalPrediction) -> dict[str, float]:
    """The intersection over union of each class that there is, and their mean."""
    predicted, labels, classes = evaluation.predictions, evaluation.label_ids, len(NAMES)
    known = labels != IGNORE
    pairs = np.bincount(classes * labels[known].astype(int) + predicted[known], minlength=classes**2)
    counts = pairs.reshape(classes, classes)
    hits, union = counts.diagonal(), counts.sum(0) + counts.sum(1) - counts.diagonal()
    ious = {f"iou {NAMES[k]}": float(hits[k] / union[k]) for k in np.flatnonzero(union)}
    return {**ious, "mIoU": float(np.mean([*ious.values()]))}


def main() -> None:
    """Train, print scores after each epoch, and save the network for `from_pretrained`."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", help="name or folder of a checkpoint")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--size", type=int, default=0, help="pixels of a side; 0: as the first image")
    parser.add_argument("--lr", type=float, default=0.0, help="0: 1e-3 from random weights, else 6e-5")
    parser.add_argument("--real", type=Path, help="folder of real data")
    parser.add_argument("--real-times", type=int, default=1)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--workers", type=int, default=0, help="processes that read images, on Linux")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()

    torch.manual_seed(args.seed)
    names = {"id2label": dict(enumerate(NAMES)), "label2id": {name: k for k, name in enumerate(NAMES)}}
    if args.model:
        try:
            model = AutoModelForSemanticSegmentation.from_pretrained(
                args.model, ignore_mismatched_sizes=True, semantic_loss_ignore_index=IGNORE, **names
            )
        except Exception as error:  # no such folder or name, or no network
            raise SystemExit(
                f"error: --model {args.model} cannot be loaded: {' '.join(str(error).split())}"
            ) from None
    else:
        small = SegformerConfig(
            depths=[1, 1, 1, 1], hidden_sizes=[16, 32, 64, 128], num_attention_heads=[1, 1, 2, 4],
            decoder_hidden_size=64, semantic_loss_ignore_index=IGNORE, **names,
        )  # fmt: skip
        model = SegformerForSemanticSegmentation(small)
    train, val = synthetic("train"), synthetic("val")
    size = args.size or max(train[0]["image"].size)
    processor = SegformerImageProcessor(size={"height": size, "width": size}, do_reduce_labels=False)
    if args.real:
        train = concatenate_datasets([train, *[real(args.real)] * args.real_times])

    def tensors(batch: dict[str, list[Any]], flip: bool = False) -> dict[str, Any]:
        images = [np.array(image.convert("RGB")) for image in batch["image"]]
        masks = [numbers(*pair) for pair in zip(batch["mask"], batch.get("class", [None] * len(images)))]
        sides = [random.choice((1, -1)) if flip else 1 for _ in images]
        images = [np.ascontiguousarray(image[:, ::side]) for image, side in zip(images, sides)]
        masks = [np.ascontiguousarray(mask[:, ::side]) for mask, side in zip(masks, sides)]
        return processor(images, segmentation_maps=masks, return_tensors="pt")

    def predicted(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.interpolate(logits, labels.shape[-2:], mode="bilinear").argmax(1)

    arguments = TrainingArguments(
        str(HERE / "checkpoints"), num_train_epochs=args.epochs, seed=args.seed, report_to="none",
        learning_rate=args.lr or (6e-5 if args.model else 1e-3), remove_unused_columns=False,
        per_device_train_batch_size=args.batch, per_device_eval_batch_size=args.batch, logging_steps=0.05,
        eval_strategy="epoch", save_strategy="epoch", save_total_limit=1, use_cpu=args.device == "cpu",
        dataloader_num_workers=args.workers,
    )  # fmt: skip
    trainer = Trainer(
        model, arguments, eval_dataset=val.with_transform(tensors), compute_metrics=scores,
        train_dataset=train.with_transform(lambda batch: tensors(batch, flip=True)),
        preprocess_logits_for_metrics=predicted,
    )  # fmt: skip
    trainer.train()
    trainer.save_model(str(HERE / "model"))
    processor.save_pretrained(str(HERE / "model"))


if __name__ == "__main__":
    main()
