"""Drawn worlds with exact masks, which stand in for photographs, and the networks that judge them."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
