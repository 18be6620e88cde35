"""Experiments: many small trainings, each result on disk as soon as it is there, one JSON in the end."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
