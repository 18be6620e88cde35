"""The names of other tools' formats, in the order of the modules that write them.

Commands list them without importing those modules.
"""

SET_FORMATS = ("coco", "coco-panoptic", "voc", "hf", "yolo-seg", "folder")  # of data sets: `export.EXPORTS`
ANNOTATION_FORMATS = ("coco", "labelme", "cvat", "label-studio", "png")  # of labels: `exchange.FORMATS`
RECIPES = {  # of tools that train on a data set -> the format that the tool reads: `recipes.RecipeWriter`
    "ultralytics": "yolo-seg",
    "mmseg": "voc",
    "detectron2": "coco",
    "torchvision": "voc",
    "smp": "voc",
    "hf-trainer": "hf",
}
