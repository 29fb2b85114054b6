"""Settings of a job, with their limits and defaults."""

from __future__ import annotations

import math
from dataclasses import KW_ONLY, dataclass
from typing import Annotated, Literal

import msgspec

from kmeans_dask.errors import UsageError
from kmeans_dask.files.documents import Positive

MAX_COLORS = 256  # an indexed image holds no more
MAX_TOKENS = 1 << 16
INITS = ("k-means++", "random")
SPACES = ("rgb", "oklab")
WEIGHTS = ("pixels", "images")
SCOPES = ("shared", "folder", "image", "auto")
FORMATS = ("png", "webp", "gif")
MAX_EFFORT = 9
MAX_PIXELS = 89_478_485  # of one image; Pillow's own limit: a quarter of a gibibyte as RGB
PARTITION_PIXELS = 1 << 24  # takes about a second to decode: many for each worker, none too small
CHUNK_COLORS = 1 << 22  # a Lloyd step over so many takes about as long as a round over a cluster
PROCESS_BYTES = 340 << 20  # bytes of any worker: Python, libraries, kernels, lookup tables, buffers
WORKER_TIMEOUT = 60.0  # seconds
IMAGE_SECONDS = 120.0  # a hundred times what the largest image takes
MAX_WHITE = (1 << 16) - 1
_Sample = Annotated[int, msgspec.Meta(ge=1, le=MAX_WHITE)]
White = int | Literal["auto"] | None  # the sample that becomes white; None for full scale
TOL = 1e-4
MAX_ITER = 300
_ENDLESS = 1 << 62
# `tol` of a palette for one image, or some: the last 0.2 % of inertia cost half of the time.
PRIVATE_TOL = 1e-3
_STARTED_ONCE = 32  # colours; a fit of fewer has more starts, which take about as long


@dataclass(frozen=True)
class FitSettings:
    """Settings for fitting a palette. Raises UsageError where a value is out of range.

    colors: number of palette entries, one of them transparent where images are
    seed: seed of the first start; each further start has the next number
    init: way to choose the first centroids, one of `INITS`
    max_iter: most iterations of a start; None for `MAX_ITER`, or for no limit where `tol` is 0
    tol: stop when the centroids' squared shift is at most this part of the colours' variance
    n_init: number of starts, of which the best is kept; None for more with fewer colours
    space: colour space in which distances are measured, one of `SPACES`
    weight: whether all pixels or all images count the same in a fit, one of `WEIGHTS`
    fixed: colours (r, g, b), 0 to 255, that the palette has in any case
    min_psnr: PSNR in dB to reach with the fewest colours; None to use all `colors`
    chunk_colors: distinct colours of a chunk; with more, each iteration runs one task per chunk
    """

    colors: int = MAX_COLORS
    _: KW_ONLY
    seed: int = 0
    init: str = INITS[0]
    max_iter: int | None = None
    tol: float = TOL
    n_init: int | None = None
    space: str = SPACES[0]
    weight: str = WEIGHTS[0]
    fixed: tuple[tuple[int, int, int], ...] = ()
    min_psnr: float | None = None
    chunk_colors: int = CHUNK_COLORS

    def __post_init__(self) -> None:
        if not 2 <= self.colors <= MAX_TOKENS:
            raise UsageError(f"--colors is {self.colors}: choose 2 to {MAX_COLORS}, {_BUT_TOKENS}")
        if self.seed < 0:
            raise UsageError(f"--seed is {self.seed}: choose 0 or more")
        check_choice("--init", self.init, INITS)
        check_choice("--color-space", self.space, SPACES)
        check_choice("--weight", self.weight, WEIGHTS)
        if self.max_iter is not None and self.max_iter < 1:
            raise UsageError(f"--max-iter is {self.max_iter}: choose 1 or more")
        if not 0 <= self.tol < math.inf:
            raise UsageError(f"--tol is {self.tol}: choose 0 (to the fixed point) or more")
        if self.n_init is not None and self.n_init < 1:
            raise UsageError(f"--n-init is {self.n_init}: choose 1 or more")
        if self.min_psnr is not None and not 0 < self.min_psnr < math.inf:
            raise UsageError(f"--min-psnr is {self.min_psnr}: choose more than 0 dB")
        if self.chunk_colors < 1:
            raise UsageError(f"chunk_colors is {self.chunk_colors}: choose 1 or more")
        if any(len(color) != 3 or isinstance(color, str) for color in self.fixed):
            raise UsageError(
                f"fixed colours are {list(self.fixed)}: write each as (r, g, b), 0 to 255"
            )
        if any(not 0 <= value <= 255 for color in self.fixed for value in color):
            raise UsageError("--fixed-colors names no colour of 8 bits: choose values of 0 to 255")
        if len(set(self.fixed)) < len(self.fixed):
            raise UsageError("--fixed-colors names a colour twice: leave one out")
        if len(self.fixed) > self.colors:
            raise UsageError(
                f"--fixed-colors names {len(self.fixed)} colours, --colors only {self.colors}: "
                "raise it"
            )

    @property
    def most_iterations(self) -> int:
        """Return `max_iter`, or its default: `MAX_ITER`, or in effect no limit where `tol` is 0."""
        return self.max_iter or (MAX_ITER if self.tol else _ENDLESS)

    def seeds(self, k: int) -> range:
        """Return the seeds of the starts of a fit of `k` colours."""
        starts = self.n_init or max(1, _STARTED_ONCE // max(k, 1))
        return range(self.seed, self.seed + starts)


class DecodeRecord(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Record in a store of those `DecodeSettings` on which the content of the store depends."""

    max_pixels: Positive
    flat: bool
    keep_metadata: bool
    white: _Sample | Literal["auto"] | None


@dataclass(frozen=True)
class DecodeSettings:
    """Settings for reading images.

    max_pixels: most pixels of one image; a larger image is refused
    flat: composite partly transparent pixels over white
    keep_metadata: read EXIF, pixel density and text
    white: the sample of a file that becomes white; "auto" for the one that the file names, or else
        for the largest of the fewest bits that hold all samples; None for full scale (65535 for 16
        bits); plain images of 8 bits ignore it
    seconds: most seconds that one image may take
    """

    max_pixels: int = MAX_PIXELS
    _: KW_ONLY
    flat: bool = False
    keep_metadata: bool = False
    white: White = None
    seconds: float = IMAGE_SECONDS

    @property
    def of_result(self) -> DecodeRecord:
        """Return the settings on which the decoded pixels and metadata depend."""
        return DecodeRecord(
            max_pixels=self.max_pixels,
            flat=self.flat,
            keep_metadata=self.keep_metadata,
            white=self.white,
        )

    @classmethod
    def of_record(cls, record: DecodeRecord) -> DecodeSettings:
        """Return the settings of a record, with the default time limit."""
        return cls(**msgspec.structs.asdict(record))


@dataclass(frozen=True)
class EncodeSettings:
    """Settings for writing images. Raises UsageError where a value is out of range.

    format: one of `FORMATS`
    effort: 0 to `MAX_EFFORT`; more takes more time, for fewer bytes
    dither: part of a pixel's error that is passed on to its neighbours, 0 to 1
    always: write an image even where the input file is smaller
    keep_metadata: keep EXIF, pixel density and text
    """

    format: str = FORMATS[0]
    _: KW_ONLY
    effort: int = 3
    dither: float = 0.0
    always: bool = False
    keep_metadata: bool = False

    def __post_init__(self) -> None:
        check_choice("--format", self.format, FORMATS)
        if not 0 <= self.effort <= MAX_EFFORT:
            raise UsageError(f"--effort is {self.effort}: choose 0 to {MAX_EFFORT}")
        if not 0 <= self.dither <= 1:
            raise UsageError(f"--dither is {self.dither}: choose 0 (none) to 1")
        if self.keep_metadata and self.format == "gif":
            raise UsageError(f"--keep-metadata: --format {self.format} holds none; choose another")

    @property
    def suffix(self) -> str:
        """Return the suffix of the files that are written."""
        return f".{self.format}"

    @property
    def flat(self) -> bool:
        """Return whether the format holds no partial transparency."""
        return self.format == "gif"


def check_together(fit: FitSettings, encode: EncodeSettings) -> None:
    """Raise UsageError where settings for the fit and for writing exclude each other."""
    if fit.colors > MAX_COLORS:
        raise UsageError(f"--colors is {fit.colors}: choose 2 to {MAX_COLORS}, {_BUT_TOKENS}")
    if fit.min_psnr is not None and encode.dither:
        raise UsageError("--min-psnr and --dither exclude each other: dithering adds error")


_BUT_TOKENS = f"or up to {MAX_TOKENS} with the command tokenize"


def check_choice(option: str, value: str, choices: tuple[str, ...]) -> None:
    """Raise UsageError where `value` is none of `choices`."""
    if value not in choices:
        raise UsageError(
            f"{option} is {value!r}: choose {', '.join(choices[:-1])} or {choices[-1]}"
        )
