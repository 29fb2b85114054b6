"""The forms of a store's documents: what each says, and in how many bytes at most."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Generic, Literal, NotRequired, TypedDict, TypeVar

import msgspec

from kmeans_dask.settings import DecodeRecord, FitSettings
from kmeans_dask.storage.documents import Count, Form, Measure, Name, Positive, Reason

T = TypeVar("T")

MAX_IMAGES = 4096  # in one partition

_SMALL = 1 << 16  # bytes
_EXIF = (1 << 16) * 4 // 3 + 4  # characters of base64
_Density = Annotated[int, msgspec.Meta(ge=0, lt=1 << 31)]
_Digits = Annotated[str, msgspec.Meta(pattern=r"\A[0-9]{1,60}\Z")]
_Sha256 = Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{64}\Z")]
# So that none leads elsewhere: numbers of partitions, and places of documents below a seal.
_PartitionId = Annotated[str, msgspec.Meta(pattern=r"\A[0-9]{6,18}\Z")]
_Document = Annotated[str, msgspec.Meta(pattern=r"\A([a-z]+/)?zarr\.json\Z")]

# `pipeline.plan.Source`: path, name when kept, stem, bytes, time of change, pixels, bytes of memory
# for each of these, digest
SourceRecord = tuple[Name, Name, Name, Count, int, Count, Count, _Sha256 | None]
_Sources = Annotated[tuple[SourceRecord, ...], msgspec.Meta(max_length=MAX_IMAGES)]


class FailureRecord(TypedDict):
    """A file that could not be read."""

    path: Reason  # may be longer than any name that can be read
    reason: Reason


class StoreRecord(TypedDict):
    """Attributes of a whole store."""

    format: str
    format_version: int
    versions: dict[str, str]
    decode: DecodeRecord


class PlanRecord(TypedDict):
    """Fields of `pipeline.plan.Plan`; of a store with what that says of itself."""

    inputs: tuple[Name, ...]
    partitions: dict[_PartitionId, _Sources]
    failures: tuple[FailureRecord, ...]
    skipped: dict[str, Count]
    generation: Count
    settled: Count
    first_free: Count
    partition_pixels: Positive
    attrs: NotRequired[StoreRecord]


class MetadataRecord(TypedDict):
    """Metadata of an image, as `imaging.metadata` keeps them."""

    exif: Annotated[str, msgspec.Meta(max_length=_EXIF)]
    density: tuple[_Density, _Density] | None
    text: list[tuple[str, str]]


class ImageRecord(TypedDict):
    """An image of a partition; its pixels are `offset` and following."""

    path: Name
    kept_as: Name
    stem: Name
    n_bytes: Count
    modified: int
    height: Positive
    width: Positive
    transparent: bool
    translucent: bool
    composited: bool
    indexed: bool
    brightest: Count | None
    digest: _Sha256 | None
    metadata: MetadataRecord | None
    offset: Count


class PartitionRecord(TypedDict):
    """Images of a partition, in order, and those that could not be read."""

    images: Annotated[list[ImageRecord], msgspec.Meta(max_length=MAX_IMAGES)]
    failures: Annotated[list[FailureRecord], msgspec.Meta(max_length=MAX_IMAGES)]


class TotalRecord(TypedDict):
    """Sums over all partitions, and the generation of the plan that they are of."""

    images: Count
    pixels: Count
    n_bytes: Count
    transparent: Count
    translucent: Count
    dim: Count
    failed: Count
    generation: Count


@dataclass(frozen=True, kw_only=True)
class FitRecord:
    """How a palette was fitted, and how well: fields of `pipeline.fit.FitResult`.

    number: the palettes of a store ascend in the order in which they were written
    """

    settings: FitSettings
    distinct_colors: Count
    iterations: Count
    converged: bool
    inertia: Measure
    squared_error: _Digits  # as long as it likes
    history: tuple[Measure, ...]
    generation: Count
    number: Count = 0


class GroupDocument(msgspec.Struct, Generic[T], forbid_unknown_fields=True):
    """The zarr.json of a group."""

    attributes: T
    zarr_format: Literal[3]
    node_type: Literal["group"]


class _Chunks(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    chunk_shape: tuple[Positive, ...]


class _Grid(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: Literal["regular"]
    configuration: _Chunks


class _Separator(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    separator: Literal["/"]


class _Keys(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: Literal["default"]
    configuration: _Separator


class Codec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A codec of an array, as its document has it."""

    name: str
    configuration: dict[str, str | int] = msgspec.field(default_factory=dict)


class ArrayDocument(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The zarr.json of an array."""

    shape: Annotated[tuple[Count, ...], msgspec.Meta(min_length=1, max_length=2)]
    data_type: Literal["uint8", "uint16", "uint32", "int64", "float64"]
    chunk_grid: _Grid
    chunk_key_encoding: _Keys
    fill_value: int | float
    codecs: tuple[Codec, ...]
    zarr_format: Literal[3]
    node_type: Literal["array"]
    attributes: Annotated[dict[str, bool], msgspec.Meta(max_length=0)] = msgspec.field(
        default_factory=dict
    )
    storage_transformers: Annotated[tuple[bool, ...], msgspec.Meta(max_length=0)] = ()

    @property
    def chunks(self) -> tuple[int, ...]:
        """Their shape."""
        return self.chunk_grid.configuration.chunk_shape


SEALS = Form(dict[_Document, _Sha256], _SMALL)
ARRAY = Form(ArrayDocument, _SMALL)
PLAN = Form(PlanRecord, 1 << 31)  # of ten million images
_NO_MORE = Form(GroupDocument[dict[str, bool]], _SMALL)
STORE = Form(GroupDocument[StoreRecord], 1 << 20)
PARTITION = Form(GroupDocument[PartitionRecord], MAX_IMAGES << 16)
TOTAL = Form(GroupDocument[TotalRecord], _SMALL)
PALETTE = Form(GroupDocument[FitRecord], 1 << 26)  # as many fixed colours and iterations as may be
# By the folder that a group is in, or its own name.
FORMS: dict[str, Form[Any]] = {
    "partitions": PARTITION,
    "colors": TOTAL,
    "weighed": _NO_MORE,
    "palettes": PALETTE,
    "copies": PALETTE,
    "indices": _NO_MORE,
}
