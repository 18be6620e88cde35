"""BigDatasetGAN as a small library: a generator and a few labels become an endless labelled data set.

Importing the package changes nothing and imports neither torch nor numpy: the names in `__init__.pyi` come
with their modules at first use. What each room holds stands in docs/architecture.md.
"""

import lazy_loader

__version__ = "0.1.0"
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
