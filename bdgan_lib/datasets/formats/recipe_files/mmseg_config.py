"""MMSegmentation's configuration for this folder.

    mim train mmsegmentation FOLDER/config.py     or python tools/train.py FOLDER/config.py
    BDGAN_REAL=DATA BDGAN_REAL_TIMES=5            before it: mixes in real data, DATA/VOCdevkit/VOC2012
    BDGAN_EPOCHS=50                               before it

It was tried with mmsegmentation 1.2.2 and mmcv-lite 2.1.0 on a CPU, on images of 64 x 64. It inherits from
no other file and downloads nothing. To train a network of yours, put its `model` in place of the one below,
and give its heads `num_classes` and `ignore_index`.

Real masks must hold the numbers of the classes that recipe.json lists. 0, the background, is a class like the
others, so `reduce_zero_label` is off. 255 is unlabelled: neither the loss nor the scores count it.
"""

_base_ = []  # makes mmengine run this file as Python, not as lazy imports

import json
import os
import pathlib

folder = "{{ fileDirname }}"  # mmengine puts this file's folder here
about = json.loads(pathlib.Path(folder, "recipe.json").read_text("utf-8"))
real, times = os.environ.get("BDGAN_REAL"), int(os.environ.get("BDGAN_REAL_TIMES", 1))
epochs = int(os.environ.get("BDGAN_EPOCHS", 50))

ignore_index, reduce_zero_label = 255, False
metainfo = dict(classes=tuple(about["classes"]), palette=about["palette"])
num_classes = len(about["classes"])
size = tuple(about["image_size"])  # width, height

train_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="LoadAnnotations", reduce_zero_label=reduce_zero_label, imdecode_backend="pillow"),
    dict(type="RandomResize", scale=size, ratio_range=(0.75, 1.5), keep_ratio=True),
    dict(type="RandomCrop", crop_size=size[::-1]),
    dict(type="RandomFlip", prob=0.5),
    dict(type="PackSegInputs"),
]
test_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(type="Resize", scale=size, keep_ratio=False),
    dict(type="LoadAnnotations", reduce_zero_label=reduce_zero_label, imdecode_backend="pillow"),
    dict(type="PackSegInputs"),
]
layout = dict(
    type="BaseSegDataset",
    data_prefix=dict(img_path="JPEGImages", seg_map_path="SegmentationClass"),
    img_suffix=".jpg",
    seg_map_suffix=".png",
    metainfo=metainfo,
    ignore_index=ignore_index,
    reduce_zero_label=reduce_zero_label,
)
voc, lists = "VOCdevkit/VOC2012", "ImageSets/Segmentation"
train = dict(layout, ann_file=f"{lists}/train.txt", pipeline=train_pipeline)
val = dict(layout, ann_file=f"{lists}/val.txt", pipeline=test_pipeline, data_root=f"{folder}/{voc}")
if real and not pathlib.Path(real, voc, lists, "train.txt").is_file():
    raise SystemExit(f"error: BDGAN_REAL expects {real}/{voc}/{lists}/train.txt, which does not exist")
roots = [f"{folder}/{voc}"] + ([f"{real}/{voc}"] * times if real else [])
train_dataloader = dict(
    batch_size=16,
    num_workers=2,
    persistent_workers=True,
    drop_last=True,
    sampler=dict(type="DefaultSampler", shuffle=True),
    dataset=dict(type="ConcatDataset", datasets=[dict(train, data_root=root) for root in roots]),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=val,
)
test_dataloader = val_dataloader
val_evaluator = test_evaluator = dict(type="IoUMetric", iou_metrics=["mIoU"], ignore_index=ignore_index)

model = dict(
    type="EncoderDecoder",
    data_preprocessor=dict(
        type="SegDataPreProcessor",
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        size=size[::-1],
        pad_val=0,
        seg_pad_val=ignore_index,
    ),
    backbone=dict(
        type="MixVisionTransformer",  # SegFormer's smallest, from random weights
        in_channels=3,
        embed_dims=32,
        num_stages=4,
        num_layers=[2, 2, 2, 2],
        num_heads=[1, 2, 5, 8],
        patch_sizes=[7, 3, 3, 3],
        sr_ratios=[8, 4, 2, 1],
        out_indices=(0, 1, 2, 3),
        mlp_ratio=4,
        qkv_bias=True,
        drop_path_rate=0.1,
    ),
    decode_head=dict(
        type="SegformerHead",
        in_channels=[32, 64, 160, 256],
        in_index=[0, 1, 2, 3],
        channels=128,
        dropout_ratio=0.1,
        num_classes=num_classes,
        norm_cfg=dict(type="BN", requires_grad=True),
        align_corners=False,
        ignore_index=ignore_index,
        loss_decode=dict(type="CrossEntropyLoss", use_sigmoid=False, avg_non_ignore=True),
    ),
    train_cfg=dict(),
    test_cfg=dict(mode="whole"),
)
optim_wrapper = dict(type="OptimWrapper", optimizer=dict(type="AdamW", lr=3e-4, weight_decay=0.01))
param_scheduler = [dict(type="PolyLR", power=1.0, begin=0, end=epochs, convert_to_iter_based=True)]
train_cfg = dict(type="EpochBasedTrainLoop", max_epochs=epochs, val_interval=1)
val_cfg, test_cfg = dict(type="ValLoop"), dict(type="TestLoop")
default_scope, work_dir = "mmseg", f"{folder}/work_dir"
log_processor = dict(by_epoch=True)
default_hooks = dict(
    logger=dict(type="LoggerHook", interval=10),
    checkpoint=dict(type="CheckpointHook", by_epoch=True, interval=1, max_keep_ckpts=1),
)
