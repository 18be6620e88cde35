"""Trains a network of segmentation_models_pytorch on this folder.

    python train.py --epochs 20                                     from random weights, nothing is downloaded
    python train.py --epochs 20 --encoder-weights imagenet          from the encoder's ImageNet weights
    python train.py --arch Segformer --encoder mit_b0               or any other pair that the library has
    python train.py --real DATA --real-times 5                      with real data: DATA/VOCdevkit/VOC2012

Real masks must hold the numbers of the classes that recipe.json lists. 0, the background, is a
class like the others; 255 is unlabelled, and neither the losses nor the scores count it.
"""

import argparse
from pathlib import Path

import segmentation_models_pytorch as smp
import torch
from voc_data import HERE, IGNORE, NAMES, WORKERS, count, image_size, loader, print_scores


def main() -> None:
    """Train, print scores after each epoch, and save the network for `smp.from_pretrained`."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--arch", default="Unet")
    parser.add_argument("--encoder", default="resnet18")
    parser.add_argument("--encoder-weights", default=None, help="imagenet, ...; none if it is not given")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--size", type=int, default=0, help="a multiple of 32; 0: as the first image")
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--real", type=Path, help="folder with VOCdevkit/VOC2012 of real data")
    parser.add_argument("--real-times", type=int, default=1)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--workers", type=int, default=WORKERS, help="processes that read images")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()

    torch.manual_seed(args.seed)
    try:
        model = smp.create_model(args.arch, args.encoder, args.encoder_weights, classes=len(NAMES))
    except Exception as error:  # an unknown name, or no network
        raise SystemExit(f"error: --arch, --encoder or --encoder-weights: {error}") from None
    model.to(args.device)
    size = args.size or image_size(multiple=32)
    train = loader("train", size, args.batch, args.workers, args.real, args.real_times)
    val = loader("val", size, args.batch, args.workers)
    # its mean is over all pixels, so that a batch without labels has the loss 0, not NaN
    entropy = smp.losses.SoftCrossEntropyLoss(ignore_index=IGNORE, smooth_factor=0.0)
    dice = smp.losses.DiceLoss("multiclass", ignore_index=IGNORE)
    optimizer = torch.optim.AdamW(model.parameters(), args.lr)
    schedule = torch.optim.lr_scheduler.PolynomialLR(optimizer, args.epochs * len(train), power=0.9)
    for epoch in range(1, args.epochs + 1):
        model.train()
        for step, (images, masks) in enumerate(train, 1):
            logits, masks = model(images.to(args.device)), masks.to(args.device)  # [B, classes, H, W]
            loss = entropy(logits, masks) + dice(logits, masks)
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
                count(counts, model(images.to(args.device)).argmax(1).cpu(), masks)
        print_scores(counts)
        model.save_pretrained(HERE / "model")


if __name__ == "__main__":
    main()
