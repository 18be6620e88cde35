"""Registers this folder with Detectron2 and trains Mask R-CNN on it.

    python train.py --epochs 12                   from an ImageNet backbone, which is downloaded
    python train.py --epochs 12 --weights ""      from random weights
    python train.py --real DATA --real-times 5    with real data: DATA/instances.json and DATA/images

THIS FILE WAS NOT RUN WITH DETECTRON2, which could not be installed where it was written. What `instances`
returns was compared with pycocotools.

Real annotations must use the category ids of this folder's instances.json. The background is no class. A
region is all pixels of a class in an image, as run lengths, which need the mask format "bitmask". Detectron2
can ignore no pixels: images with many unlabelled ones are in no list, and few of them count as background.
"""

import argparse
import json
from pathlib import Path

HERE = Path(__file__).resolve().parent
NAMES = json.loads((HERE / "recipe.json").read_text("utf-8"))["classes"][1:]  # without the background
XYWH_ABS = 1  # detectron2.structures.BoxMode: left, top, width, height in pixels


def instances(folder: Path, split: str | None = None) -> list[dict]:
    """Detectron2's records of the images that train.txt or val.txt lists, or of all if `split` is None.

    Category id k is class k - 1. Crowds, which are the unlabelled pixels, are left out.
    """
    record = json.loads((folder / "instances.json").read_text("utf-8"))
    listed = set((folder / f"{split}.txt").read_text("utf-8").splitlines()) if split else None
    images = {
        image["id"]: {
            "file_name": str(folder / "images" / image["file_name"]),
            "image_id": image["id"],
            "height": image["height"],
            "width": image["width"],
            "annotations": [],
        }
        for image in record["images"]
        if listed is None or image["file_name"] in listed
    }
    for annotation in record["annotations"]:
        if annotation["image_id"] in images and not annotation["iscrowd"]:
            images[annotation["image_id"]]["annotations"].append(
                {
                    "bbox": annotation["bbox"],
                    "bbox_mode": XYWH_ABS,
                    "category_id": annotation["category_id"] - 1,
                    "segmentation": annotation["segmentation"],
                    "iscrowd": 0,
                }
            )
    return list(images.values())


def main() -> None:
    """Train, print the average precision of each class, and save output/model_final.pth."""
    from detectron2 import model_zoo
    from detectron2.config import get_cfg
    from detectron2.data import DatasetCatalog, MetadataCatalog
    from detectron2.engine import DefaultTrainer
    from detectron2.evaluation import COCOEvaluator

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", default="COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_1x.yaml")
    parser.add_argument("--weights", help='a file, or "" for random weights; that of the config if not given')
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--lr", type=float, default=0.005)
    parser.add_argument("--real", type=Path, help="folder of real data")
    parser.add_argument("--real-times", type=int, default=1)
    parser.add_argument("--device", default="cuda")
    args = parser.parse_args()

    if args.real and not (args.real / "instances.json").is_file():
        raise SystemExit(f"error: --real expects {args.real / 'instances.json'}, which does not exist")
    train = instances(HERE, "train") + (instances(args.real) * args.real_times if args.real else [])
    for name, records in (("synthetic_train", train), ("synthetic_val", instances(HERE, "val"))):
        DatasetCatalog.register(name, lambda records=records: records)
        MetadataCatalog.get(name).set(thing_classes=NAMES)
    cfg = get_cfg()
    cfg.merge_from_file(model_zoo.get_config_file(args.config))
    cfg.DATASETS.TRAIN, cfg.DATASETS.TEST = ("synthetic_train",), ("synthetic_val",)
    cfg.INPUT.MASK_FORMAT = "bitmask"
    cfg.MODEL.ROI_HEADS.NUM_CLASSES = len(NAMES)
    cfg.MODEL.DEVICE = args.device
    if args.weights is not None:
        cfg.MODEL.WEIGHTS = args.weights
    cfg.SOLVER.IMS_PER_BATCH, cfg.SOLVER.BASE_LR = args.batch, args.lr
    cfg.SOLVER.MAX_ITER = max(1, args.epochs * len(train) // args.batch)
    cfg.SOLVER.STEPS = (cfg.SOLVER.MAX_ITER * 3 // 4,)
    cfg.OUTPUT_DIR = str(HERE / "output")
    Path(cfg.OUTPUT_DIR).mkdir(exist_ok=True)

    trainer = DefaultTrainer(cfg)
    trainer.resume_or_load(resume=False)
    trainer.train()
    trainer.test(cfg, trainer.model, [COCOEvaluator("synthetic_val", output_dir=cfg.OUTPUT_DIR)])


if __name__ == "__main__":
    main()
