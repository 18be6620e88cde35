"""What goes to the Hub, and in which of its repositories, without a heavy import."""

from typing import Literal, TypeAlias, get_args

Kind: TypeAlias = Literal["set", "head", "model"]
KINDS: tuple[Kind, ...] = get_args(Kind)
REPO_TYPES: dict[Kind, str] = {"set": "dataset", "head": "model", "model": "model"}  # the Hub's words
MAIN = "main"  # the branch where nothing else is said
