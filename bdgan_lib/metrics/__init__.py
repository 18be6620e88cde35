"""Scores of masks, boxes and images, and how sure they are."""
