"""Trains a segmentation network of torchvision on this folder.

    python train.py --epochs 20                          from random weights, nothing is downloaded
    python train.py --epochs 20 --pretrained             from an ImageNet backbone, which is downloaded
    python train.py --real DATA --real-times 5           with real data: DATA/VOCdevkit/VOC2012

Real masks must hold the numbers of the classes that recipe.json lists. 0, the background, is a
class like the others; 255 is unlabelled, and neither the loss nor the scores count it.
"""

import argparse
from pathlib import Path

import torch
from torch.nn.functional import cross_entropy
from torchvision.models import get_model
from voc_data import HERE, IGNORE, NAMES, WORKERS, count, image_size, loader, print_scores


def main() -> None:
    """Train, print scores after each epoch, and save the weights."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="deeplabv3_mobilenet_v3_large", help="or fcn_resnet50, ...")
    parser.add_argument("--pretrained", action="store_true")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--size", type=int, default=0, help="pixels of a side; 0: as the first image")
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--real", type=Path, help="folder with VOCdevkit/VOC2012 of real data")
    parser.add_argument("--real-times", type=int, default=1)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--workers", type=int, default=WORKERS, help="processes that read images")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()

    torch.manual_seed(args.seed)
    backbone = "DEFAULT" if args.pretrained else None  # torchvision downloads unless it is None
    try:
        model = get_model(args.model, weights=None, weights_backbone=backbone, num_classes=len(NAMES))
    except Exception as error:  # an unknown name, or no network
        raise SystemExit(f"error: --model or --pretrained: {error}") from None
    model.to(args.device)
    size = args.size or image_size()
    train = loader("train", size, args.batch, args.workers, args.real, args.real_times)
    val = loader("val", size, args.batch, args.workers)
    optimizer = torch.optim.AdamW(model.parameters(), args.lr)
    steps = args.epochs * len(train)
    schedule = torch.optim.lr_scheduler.PolynomialLR(optimizer, steps, power=0.9)
    for epoch in range(1, args.epochs + 1):
        model.train()
        for step, (images, masks) in enumerate(train, 1):
            masks = masks.to(args.device)
            logits = model(images.to(args.device))["out"]  # [B, classes, H, W]
            # the mean over labelled pixels; `reduction="mean"` is NaN in a batch that has none
            loss = cross_entropy(logits, masks, ignore_index=IGNORE, reduction="sum")
            loss = loss / (masks != IGNORE).sum().clamp(min=1)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            if step % max(1, len(train) // 5) == 0:
                print(f"epoch {epoch}/{args.epochs} step {step}/{len(train)} loss {loss.item():.4f}")
        model.eval()
        counts = torch.zeros(len(NAMES), len(NAMES), dtype=torch.int64)
        with torch.inference_mode():
            for images, masks in val:
                count(counts, model(images.to(args.device))["out"].argmax(1).cpu(), masks)
        print_scores(counts)
        torch.save({"model": args.model, "names": NAMES, "weights": model.state_dict()}, HERE / "model.pt")


if __name__ == "__main__":
    main()
