"""Files and objects: what is never seen half-written, that shows damage, and that one run holds.

A `Location` is a local path, or a URL of an object store; both have the part of `pathlib.Path` that
is used here. The only floor that knows `obstore`.
"""

from kmeans_dask.files.location import Location, is_within, parse_location
from kmeans_dask.files.object_store import ObjectPath

__all__ = ["Location", "ObjectPath", "is_within", "parse_location"]
