from .networks import Classifier as Classifier
from .networks import UNet as UNet
from .pocket import PARTS as PARTS
from .pocket import render as render
