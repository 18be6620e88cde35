"""Label heads: small networks that read pixel labels off a frozen generator's features."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
