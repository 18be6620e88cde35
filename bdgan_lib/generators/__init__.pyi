from .base import Generator as Generator
from .base import ImageEncoder as ImageEncoder
from .class_scorer import NetworkScorer as NetworkScorer
from .custom import CustomGenerator as CustomGenerator
from .hooks import capture_features as capture_features
from .hooks import group_blocks as group_blocks
from .latents import latents_from_seeds as latents_from_seeds
