from .inline import describe_figures as describe_figures
from .report import record_cached as record_cached
from .report import record_metric as record_metric
from .setup import set_up as set_up
from .sliders import show_sliders as show_sliders
