"""BigDatasetGAN as a small library: a generator and a few labels become an endless labelled data set."""

__version__ = "0.1.0"
