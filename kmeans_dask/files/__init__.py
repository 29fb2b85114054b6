"""Files and objects: what is never seen half-written, that shows damage, and that one run holds.

A `Place` is a local path, or a URL of an object store; both have the part of `pathlib.Path` that
is used here. The only floor that knows `obstore`.
"""

from kmeans_dask.files.location import Place, is_within, place_of
from kmeans_dask.files.object_store import Remote

__all__ = ["Place", "Remote", "is_within", "place_of"]
