"""Data sets, label heads and generators on the Hugging Face Hub: sent there, and fetched at one commit."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
