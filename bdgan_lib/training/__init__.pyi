from .supervised import FitConfig as FitConfig
from .supervised import fit as fit
from .supervised import predict as predict
from .supervised import seeded as seeded
