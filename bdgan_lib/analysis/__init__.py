"""Measures of images and masks."""
