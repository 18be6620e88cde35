from .filters import Models as Models
from .filters import calibrate_filters as calibrate_filters
from .job import synthesize as synthesize
from .label_real import center_square as center_square
from .label_real import label_images as label_images
from .online import OnlineSynthesis as OnlineSynthesis
from .spec import Filters as Filters
from .spec import SynthesisSpec as SynthesisSpec
