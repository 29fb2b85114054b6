"""Input of a job: the images to find, how they are decoded, and the plan that is made of them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Any

from kmeans_dask.errors import UsageError
from kmeans_dask.files import Location, ObjectPath, parse_location
from kmeans_dask.files.retries import images_within
from kmeans_dask.images import inspector
from kmeans_dask.job.progress import Progress
from kmeans_dask.option_checks import Flag, Limits, check_options
from kmeans_dask.plan.plan import Plan, Search, Source, make_plan
from kmeans_dask.settings import PARTITION_PIXELS, DecodeSettings

AnyPath = str | os.PathLike[str] | ObjectPath  # a local path, or the URL of an object store
AnyPaths = AnyPath | Sequence[AnyPath]


@dataclass(frozen=True, kw_only=True)
class Input:
    """Images to find and to decode, and how. Raises UsageError where a value is out of range."""

    paths: tuple[Location, ...]
    search: Search
    decode: DecodeSettings
    partition_pixels: Annotated[int, Limits("1 or more", 1)] = PARTITION_PIXELS
    checksum: Flag = False

    def __post_init__(self) -> None:
        check_options(self)

    @classmethod
    def of(
        cls,
        inputs: AnyPaths,
        decode: DecodeSettings,
        *,
        include: str | Sequence[str] = (),
        exclude: str | Sequence[str] = (),
        partition_pixels: int = PARTITION_PIXELS,
        checksum: bool = False,
    ) -> Input:
        """Return the input at paths, one or several, searched by patterns, one or several.

        Raises UsageError where there is no path, or a value is out of range.
        """
        given: Any = inputs
        is_one = isinstance(given, str | os.PathLike) or not isinstance(given, Iterable)
        paths = tuple(map(parse_location, [given] if is_one else given))
        if not paths:
            raise UsageError("no input is given: name images, or folders of images")
        search = Search(*([each] if isinstance(each, str) else each for each in (include, exclude)))
        return cls(
            paths=paths,
            search=search,
            decode=decode,
            partition_pixels=partition_pixels,
            checksum=checksum,
        )

    def plan(self, progress: Progress, known: Mapping[str, Source] | None = None) -> Plan:
        """Return the plan of the images that are found; finding them is a step of the job.

        known: images of an earlier plan, by path, whose headers need not be read again

        Raises UsageError where no image is found.
        """
        progress.start("plan")
        plan = make_plan(
            self.paths,
            partition_pixels=self.partition_pixels,
            max_pixels=self.decode.max_pixels,
            seconds=self.decode.seconds,
            search=self.search,
            known=known,
            hashed=self.checksum,
        )
        progress.finish()
        return plan

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Have the inspector ready in the block, and apply the time limit of an image to reads."""
        inspector.start()
        with images_within(self.decode.seconds):
            yield
