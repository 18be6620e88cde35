from . import curves as curves
from . import tables as tables
from .figure_data import FigureData as FigureData
from .write import caption as caption
from .write import chosen as chosen
