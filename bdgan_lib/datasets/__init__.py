"""What lies on the disk: annotations that people make and shards that synthesis makes."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
