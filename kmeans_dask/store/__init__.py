"""The pixels and colours of a collection, in Zarr."""

from kmeans_dask.store.partition import Partition, PartitionWriter, Piece, join_pieces
from kmeans_dask.store.store import FORMAT_VERSION, Store, StoredPalette

__all__ = [
    "FORMAT_VERSION",
    "Partition",
    "PartitionWriter",
    "Piece",
    "Store",
    "StoredPalette",
    "join_pieces",
]
