"""`ShardedSet` under the address that every data card names: cards are sealed, so the address stays."""

from bdgan_lib.datasets.shards import ShardedSet

__all__ = ["ShardedSet"]
