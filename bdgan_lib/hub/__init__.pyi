from .load import from_hub as from_hub
from .pull import pull as pull
from .push import push as push
