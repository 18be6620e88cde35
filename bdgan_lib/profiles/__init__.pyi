from .catalogue import PROFILES as PROFILES
from .catalogue import load_profile as load_profile
from .profile import Profile as Profile
