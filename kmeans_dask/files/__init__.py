"""Local files, and objects in object stores: written whole, sealed against damage, and locked.

A `Location` is a local path or a URL of an object store; both have the part of `pathlib.Path` that
is used here. No other package uses `obstore`.
"""

from kmeans_dask.files.location import Location, is_within, parse_location
from kmeans_dask.files.object_path import ObjectPath

__all__ = ["Location", "ObjectPath", "is_within", "parse_location"]
