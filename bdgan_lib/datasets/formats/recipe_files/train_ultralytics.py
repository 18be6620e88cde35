"""Trains a segmentation model of Ultralytics on this folder.

    python train.py --epochs 100                           from random weights
    python train.py --epochs 100 --model yolo11n-seg.pt    from Ultralytics' weights, which are downloaded
    python train.py --real DATA --real-times 5             with real data: DATA/images/train, ...

Real labels lie in DATA/labels/train and hold the numbers that data.yaml gives its names. The background is no
class. A hole of a region is joined to its outline by a seam, so that it stays a hole when the polygon is
filled. The format has no unlabelled pixels: images with many are in no list, and few count as background.

Ultralytics asks the network for the font Arial, and trains without it. YOLO_OFFLINE=true keeps it from asking
for more, and YOLO_AUTOINSTALL=false from installing packages.
"""

import argparse
from pathlib import Path

import yaml
from ultralytics import YOLO

HERE = Path(__file__).resolve().parent


def main() -> None:
    """Train; Ultralytics prints the average precision of each class and saves runs/train*/weights/best.pt."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="yolo11n-seg.yaml")
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--size", type=int, default=640, help="pixels of a side, a multiple of 32")
    parser.add_argument("--real", type=Path, help="folder of real data")
    parser.add_argument("--real-times", type=int, default=1)
    parser.add_argument("--device", default=None, help="cpu, 0, ...; the best there is if it is not given")
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()

    data = HERE / "data.yaml"
    settings = yaml.safe_load(data.read_text("utf-8"))
    settings["path"] = str(HERE)
    if args.real:
        pictures = str(args.real.resolve() / "images" / "train")
        if not Path(pictures).is_dir():
            raise SystemExit(f"error: --real expects the folder {pictures}, which does not exist")
        settings["train"] = [settings["train"], *[pictures] * args.real_times]
    data = HERE / "runs" / "data.yaml"
    data.parent.mkdir(exist_ok=True)
    data.write_text(yaml.safe_dump(settings), "utf-8")
    try:
        model = YOLO(args.model, task="segment")
    except Exception as error:  # an unknown name, or no network
        raise SystemExit(f"error: --model {args.model} cannot be loaded: {error}") from None
    model.train(
        data=str(data), epochs=args.epochs, batch=args.batch, imgsz=args.size, device=args.device,
        workers=args.workers, seed=args.seed, project=str(HERE / "runs"), name="train",
    )  # fmt: skip


if __name__ == "__main__":
    main()
