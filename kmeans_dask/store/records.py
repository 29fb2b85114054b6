"""Forms of the documents in a store: the fields of each, and the bytes that it may have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Generic, Literal, TypeVar

import msgspec

from kmeans_dask.files.documents import Count, Form, Measure, Name, Positive, Reason
from kmeans_dask.settings import DecodeRecord, FitSettings

T = TypeVar("T")

MAX_IMAGES = 4096  # of one partition

_SMALL = 1 << 16  # bytes
_EXIF = 1 << 16  # bytes
_Density = Annotated[int, msgspec.Meta(ge=0, lt=1 << 31)]
_Digits = Annotated[str, msgspec.Meta(pattern=r"\A[0-9]{1,60}\Z")]
_Sha256 = Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{64}\Z")]
# Names that become paths, limited so that none leads out of the store: ids of partitions, and
# paths of documents below a group.
_PartitionId = Annotated[str, msgspec.Meta(pattern=r"\A[0-9]{6,18}\Z")]
_Document = Annotated[str, msgspec.Meta(pattern=r"\A([a-z]+/)?zarr\.json\Z")]

# Fields of `plan.plan.Source`, in order: path, kept_as, stem, n_bytes, modified, n_pixels,
# pixel_bytes, digest.
SourceRecord = tuple[Name, Name, Name, Count, int, Count, Count, _Sha256 | None]
_Sources = Annotated[tuple[SourceRecord, ...], msgspec.Meta(max_length=MAX_IMAGES)]

# Fields of a record are written in the order that they have here.


@dataclass(frozen=True)
class Failure:
    """Failure: a file or folder of the input that is left out, and the reason in one line."""

    path: Reason  # a path that is too long to be read is no Name
    reason: Reason


class StoreRecord(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Attributes of a store's root group."""

    format: str
    format_version: int
    versions: dict[str, str]
    decode: DecodeRecord


class PlanRecord(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Fields of `plan.plan.Plan` and, in a store's plan, a copy of the store's attributes."""

    inputs: tuple[Name, ...]
    partitions: dict[_PartitionId, _Sources]
    failures: tuple[Failure, ...]
    skipped: dict[str, Count]
    generation: Count
    settled: Count
    first_free: Count
    partition_pixels: Positive
    attrs: StoreRecord | msgspec.UnsetType = msgspec.UNSET


class MetadataRecord(msgspec.Struct, frozen=True, kw_only=True):
    """Fields of `images.metadata.Metadata`; EXIF is in base64, as msgspec writes bytes."""

    exif: Annotated[bytes, msgspec.Meta(max_length=_EXIF)]
    density: tuple[_Density, _Density] | None
    text: tuple[tuple[str, str], ...]


class ImageRecord(msgspec.Struct, frozen=True, kw_only=True):
    """Image of a partition; `offset` is the index of its first pixel in the partition."""

    path: Name
    kept_as: Name
    stem: Name
    n_bytes: Count
    modified: int
    digest: _Sha256 | None
    height: Positive
    width: Positive
    transparent: bool
    translucent: bool
    composited: bool
    brightest: Count | None
    indexed: bool
    metadata: MetadataRecord | None
    offset: Count


class PartitionRecord(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Images of a partition, in order, and the files that could not be read."""

    images: Annotated[list[ImageRecord], msgspec.Meta(max_length=MAX_IMAGES)]
    failures: Annotated[list[Failure], msgspec.Meta(max_length=MAX_IMAGES)]


class TotalRecord(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Totals over all partitions, and the generation of the plan that the totals belong to."""

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
    """Settings and results of the fit of a palette: fields of `job.fit_result.FitResult`.

    number: the serial number of the palette in its store; the palette written last has the highest
    """

    settings: FitSettings
    distinct_colors: Count
    iterations: Count
    converged: bool
    inertia: Measure
    squared_error: _Digits  # decimal digits: the number may exceed 64 bits
    history: tuple[Measure, ...]
    generation: Count
    number: Count = 0


class GroupDocument(msgspec.Struct, Generic[T], forbid_unknown_fields=True):
    """Content of the zarr.json of a group."""

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
    """Codec of an array, in the form that its zarr.json has."""

    name: str
    configuration: dict[str, str | int] = msgspec.field(default_factory=dict)


class ArrayDocument(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Content of the zarr.json of an array."""

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
        """Return the shape of a chunk."""
        return self.chunk_grid.configuration.chunk_shape


SEALS = Form(dict[_Document, _Sha256], _SMALL)
ARRAY = Form(ArrayDocument, _SMALL)
PLAN = Form(PlanRecord, 1 << 31)  # bytes: enough for ten million images
_NO_MORE = Form(GroupDocument[dict[str, bool]], _SMALL)
STORE = Form(GroupDocument[StoreRecord], 1 << 20)
PARTITION = Form(GroupDocument[PartitionRecord], MAX_IMAGES << 16)
TOTAL = Form(GroupDocument[TotalRecord], _SMALL)
PALETTE = Form(GroupDocument[FitRecord], 1 << 26)  # bytes: for the most colours and iterations
# Forms by the name of the folder that a group is in, or by the group's own name.
FORMS: dict[str, Form[Any]] = {
    "partitions": PARTITION,
    "colors": TOTAL,
    "weighed": _NO_MORE,
    "palettes": PALETTE,
    "copies": PALETTE,
    "indices": _NO_MORE,
}
