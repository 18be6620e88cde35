"""`python read_with_fiftyone.py FOLDER OUT`: our COCO export, read by FiftyOne's own importer, as arrays.

It needs no database. OUT is an npz with every object's image, label, pixels and whether it is a crowd.
"""

import os
import sys
from pathlib import Path

os.environ["FIFTYONE_DO_NOT_TRACK"] = "true"
import fiftyone.utils.coco as coco
import numpy as np

folder, out = sys.argv[1:]
importer = coco.COCODetectionDatasetImporter(
    data_path=f"{folder}/images", labels_path=f"{folder}/instances.json", label_types="segmentations"
)
importer.setup()
files, labels, masks, crowds = [], [], [], []
for path, metadata, objects in importer:
    size = (metadata.width, metadata.height)
    objects = objects["segmentations"] if isinstance(objects, dict) else objects
    for detection in objects.detections if objects else []:
        files.append(Path(path).name)
        labels.append(detection.label)
        masks.append(detection.to_segmentation(frame_size=size, target=255).mask > 0)
        crowds.append(bool(detection.get_attribute_value("iscrowd", False)))
np.savez(out, files=files, labels=labels, masks=masks, crowds=crowds, images=len(importer))
