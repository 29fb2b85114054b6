"""Store of the pixels, colours and palettes of a collection of images, in Zarr."""

from kmeans_dask.store.memory_partition import MemoryPartition, PixelSink, PixelSource
from kmeans_dask.store.partition import Partition, PartitionWriter, Piece, join_pieces
from kmeans_dask.store.store import FORMAT_VERSION, Store, StoredPalette

__all__ = [
    "FORMAT_VERSION",
    "MemoryPartition",
    "Partition",
    "PartitionWriter",
    "Piece",
    "PixelSink",
    "PixelSource",
    "Store",
    "StoredPalette",
    "join_pieces",
]
