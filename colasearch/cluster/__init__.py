"""Search on many workers and many machines, through Ray. Nothing here imports Ray before a pool is entered."""

from colasearch.cluster.pool import Pool
from colasearch.cluster.progress import PoolStatus

__all__ = ["Pool", "PoolStatus"]
