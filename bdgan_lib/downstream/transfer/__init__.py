"""Transfer to detection and segmentation elsewhere: readers of the data sets, and the recipes."""
