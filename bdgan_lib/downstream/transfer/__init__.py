"""Transfer to detection and segmentation: readers of the published data sets, and the recipes."""
