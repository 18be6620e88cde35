"""Class-conditional generators behind one protocol: latents from seeds, images and features from latents."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
