"""Drawn worlds with exact masks, that stand in for photographs, and networks that label or classify them."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
