from .assist import overlap as overlap
from .candidates import annotate_candidates as annotate_candidates
from .candidates import choose_candidates as choose_candidates
from .candidates import image_source as image_source
from .photograph_folder import photographs as photographs
from .proposals import Proposer as Proposer
from .session import Session as Session
from .widget import Annotator as Annotator
