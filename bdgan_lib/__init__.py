"""BigDatasetGAN as a small library: a generator and a few labels become an endless labelled data set."""

from bdgan_lib.core.malloc import keep_freed_memory

__version__ = "0.1.0"

keep_freed_memory()
