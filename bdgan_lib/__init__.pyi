from .annotation.session import Session as Session
from .annotation.widget import Annotator as Annotator
from .core.sampling import Sampling as Sampling
from .core.types import BdganError as BdganError
from .datasets.annotation_store import AnnotationStore as AnnotationStore
from .datasets.formats.export import export_set as export_set
from .datasets.shards import ShardedSet as ShardedSet
from .datasets.validate import validate as validate
from .generators.custom import CustomGenerator as CustomGenerator
from .heads.files import load_head as load_head
from .heads.files import save_head as save_head
from .heads.training import train_head as train_head
from .profiles import load_profile as load_profile
from .synthesis.filters import Models as Models
from .synthesis.job import synthesize as synthesize
from .synthesis.spec import SynthesisSpec as SynthesisSpec
from .workspace import Workspace as Workspace

__version__: str
