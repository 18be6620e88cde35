"""`python read_with_label_studio.py FOLDER OUT`: our tasks, checked and decoded by Label Studio's own SDK.

OUT is an npz with, for every region, its file, label and opacity [height, width].
"""

import json
import sys
from pathlib import Path

import numpy as np
from label_studio_sdk.converter import brush
from label_studio_sdk.label_interface import LabelInterface

folder, out = map(Path, sys.argv[1:])
interface = LabelInterface((folder / "label_config.xml").read_text("utf-8"))
interface.validate()
files, labels, opacity = [], [], []
for task in json.loads((folder / "tasks.json").read_text("utf-8")):
    assert interface.validate_task({"data": task["data"]})
    for annotation in task["annotations"]:
        assert interface.validate_annotation(annotation)
        for region in annotation["result"]:
            assert interface.validate_region(region)
            rgba = brush.decode_rle(region["value"]["rle"])
            size = region["original_height"], region["original_width"]
            files.append(task["data"]["image"])
            labels += region["value"]["brushlabels"]
            opacity.append(rgba.reshape(*size, 4)[..., 3])
np.savez(out, files=files, labels=labels, opacity=opacity)
