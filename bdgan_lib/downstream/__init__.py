"""Use of the labelled data: segmentation networks trained and scored on it."""
