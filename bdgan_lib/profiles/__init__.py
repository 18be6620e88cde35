"""Profiles: a world of classes with its generator, class scorer and annotations, behind one dataclass."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
