from .file_logs import open_log as open_log
from .supervised import FitConfig as FitConfig
from .supervised import fit as fit
from .supervised import predict as predict
from .supervised import seeded as seeded
