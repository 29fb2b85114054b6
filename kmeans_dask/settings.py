"""Settings of a job, with their limits and defaults."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Annotated, Literal

import msgspec

from kmeans_dask.errors import UsageError
from kmeans_dask.files.documents import Positive
from kmeans_dask.option_checks import Flag, Limits, brief, check_options
from kmeans_dask.text import bytes_of

MAX_COLORS = 256  # an indexed image holds no more
MAX_TOKENS = 1 << 16
INITS = ("k-means++", "random")
SPACES = ("rgb", "oklab")
WEIGHTS = ("pixels", "images")
SCOPES = ("shared", "folder", "image", "auto")
FORMATS = ("png", "webp", "gif")
MAX_EFFORT = 9
MAX_LOSSY = 10_000  # beyond it, an image is hardly more than one colour
MAX_PIXELS = 89_478_485  # of one image; Pillow's own limit: a quarter of a gibibyte as RGB
PARTITION_PIXELS = 1 << 24  # takes about a second to decode: many for each worker, none too small
CHUNK_COLORS = 1 << 22  # a Lloyd step over so many takes about as long as a round over a cluster
PROCESS_BYTES = 340 << 20  # bytes of any worker: Python, libraries, kernels, lookup tables, buffers
WORKER_TIMEOUT = 60.0  # seconds
IMAGE_SECONDS = 120.0  # a hundred times what the largest image takes
MAX_WHITE = (1 << 16) - 1
_Sample = Annotated[int, msgspec.Meta(ge=1, le=MAX_WHITE)]
Lossy = float | Literal["auto"]  # the error that a bit is worth; or as much as a target allows
White = int | Literal["auto"] | None  # the sample that becomes white; None for full scale
TOL = 1e-4
MAX_ITER = 300
_ENDLESS = 1 << 62
# `tol` of a palette for one image, or some: the last 0.2 % of inertia cost half of the time.
PRIVATE_TOL = 1e-3
_STARTED_ONCE = 32  # colours; a fit of fewer is started several times, in the time that leaves
COARSE_COLORS = 1 << 11  # colours, at most, among which the start of a fit is searched for
Color = tuple[int, int, int]
_COLORS = f"2 to {MAX_COLORS}, or up to {MAX_TOKENS} with the command tokenize"
_TOTAL_SIZE = "a size of all images, such as 20MB, or of a pixel, such as 0.3B/pixel"
_FIXED = "colours (r, g, b), 0 to 255"


@dataclass(frozen=True)
class FitSettings:
    """Settings for fitting a palette. Raises UsageError where a value is out of range.

    colors: number of palette entries, one of them transparent where images are
    seed: seed of the first start; each further start has the next number
    init: way to choose the first centroids, one of `INITS`
    max_iter: most iterations of a start; None for `MAX_ITER`, or for no limit where `tol` is 0
    tol: stop when the centroids' squared shift is at most this part of the colours' variance
    n_init: number of starts of plain k-means, of which the best is kept; None for one start, which
        breathing k-means searches for, where there are at most `MAX_COLORS` colours to find among
        more than `COARSE_COLORS`, and else for more starts with fewer colours
    space: colour space in which distances are measured, one of `SPACES`
    weight: whether all pixels or all images count the same in a fit, one of `WEIGHTS`
    fixed: colours (r, g, b), 0 to 255, that the palette has in any case
    min_psnr: PSNR in dB to reach; None for as much as `colors` give
    fewest: whether `min_psnr` is reached with the fewest colours; else all `colors` are used, and
        lossy indices take what is left
    max_error: largest error of a pixel, the root mean square over its channels, 0 to 255; colours
        that would be farther off get entries of their own; None for no limit
    pinned: colours (r, g, b, alpha) that the palette has as well, so that `max_error` is kept
    chunk_colors: distinct colours of a chunk; with more, each iteration runs one task per chunk
    """

    colors: Annotated[int, Limits(_COLORS, 2, MAX_TOKENS)] = MAX_COLORS
    _: KW_ONLY
    seed: Annotated[int, Limits("0 or more", 0)] = 0
    init: str = INITS[0]
    max_iter: Annotated[int | None, Limits("1 or more", 1)] = None
    tol: Annotated[float, Limits("0 (to the fixed point) or more", 0)] = TOL
    n_init: Annotated[int | None, Limits("1 or more", 1)] = None
    space: str = SPACES[0]
    weight: str = WEIGHTS[0]
    fixed: Annotated[Sequence[Color], Limits(_FIXED, 0, 255, option="--fixed-colors")] = ()
    min_psnr: Annotated[float | None, Limits("more than 0 dB", above=0)] = None
    fewest: Flag = True
    max_error: Annotated[float | None, Limits("0 to 255", 0, 255)] = None
    pinned: Annotated[Sequence[tuple[int, ...]], Limits("colours, 0 to 255", 0, 255)] = ()
    chunk_colors: Annotated[int, Limits("1 or more", 1, option="chunk_colors")] = CHUNK_COLORS

    def __post_init__(self) -> None:
        check_options(self)
        check_choice("--init", self.init, INITS)
        check_choice("--color-space", self.space, SPACES)
        check_choice("--weight", self.weight, WEIGHTS)
        if len(set(self.fixed)) < len(self.fixed):
            raise UsageError("--fixed-colors names a colour twice: leave one out")
        if len(self.fixed) > self.colors:
            raise UsageError(
                f"--fixed-colors names {len(self.fixed)} colours, --colors only {self.colors}: "
                "raise it"
            )

    @property
    def n_kept(self) -> int:
        """Return the number of colours that stay where they are in a fit, which come first."""
        return len(self.fixed) + len(self.pinned)

    @property
    def most_iterations(self) -> int:
        """Return `max_iter`, or its default: `MAX_ITER`, or in effect no limit where `tol` is 0."""
        return self.max_iter or (MAX_ITER if self.tol else _ENDLESS)

    def searches(self, k: int, n_colors: int) -> bool:
        """Return whether the start of a fit of `k` colours to `n_colors` is searched for.

        A search takes longer than it saves where there are few colours to fit to.
        """
        return self.n_init is None and k <= MAX_COLORS and n_colors > COARSE_COLORS

    def seeds(self, k: int, n_colors: int) -> range:
        """Return the seeds of the runs of k-means of which the best is kept."""
        several = self.tries(k)
        return several[:1] if self.searches(k, n_colors) else several

    def tries(self, k: int) -> range:
        """Return the seeds of the plain starts, or of the searches, of a fit of `k` colours."""
        n = self.n_init or max(1, _STARTED_ONCE // max(k, 1))
        return range(self.seed, self.seed + n)


class DecodeRecord(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Record in a store of those `DecodeSettings` on which the content of the store depends."""

    max_pixels: Positive
    flat: bool
    keep_metadata: bool
    white: _Sample | Literal["auto"] | None


@dataclass(frozen=True)
class DecodeSettings:
    """Settings for reading images. Raises UsageError where a value is out of range.

    max_pixels: most pixels of one image; a larger image is refused
    flat: composite partly transparent pixels over white
    keep_metadata: read EXIF, pixel density and text
    white: the sample of a file that becomes white; "auto" for the one that the file names, or else
        for the largest of the fewest bits that hold all samples; None for full scale (65535 for 16
        bits); plain images of 8 bits ignore it
    seconds: most seconds that one image may take
    """

    max_pixels: Annotated[int, Limits("1 or more", 1)] = MAX_PIXELS
    _: KW_ONLY
    flat: bool = False
    keep_metadata: Flag = False
    white: Annotated[White, Limits(f"1 to {MAX_WHITE}, or 'auto'", 1, MAX_WHITE)] = None
    seconds: Annotated[float, Limits("more than 0 seconds", above=0, option="--image-timeout")] = (
        IMAGE_SECONDS
    )

    def __post_init__(self) -> None:
        check_options(self)

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
    dither: strength of Floyd-Steinberg dithering, 0 (none) to 1
    lossy: squared error, of 8-bit levels summed over channels, that a bit less is worth; 0 for the
        nearest entry for each pixel, whatever its bits; "auto" for as much as the targets allow
    min_ssimulacra2: SSIMULACRA2 score that each image reaches; None for no such target
    total_size: bytes that all images together may take, as a number or as "20MB" or "0.3B/pixel";
        None for no limit
    colors_weight: as `lossy`, for the choice of the number of colours of an image's own palette;
        None for all colours
    always: write an image even where the input file is smaller
    keep_metadata: keep EXIF, pixel density and text
    """

    format: str = FORMATS[0]
    _: KW_ONLY
    effort: Annotated[int, Limits(f"0 to {MAX_EFFORT}", 0, MAX_EFFORT)] = 3
    dither: Annotated[float, Limits("0 (none) to 1", 0, 1)] = 0.0
    lossy: Annotated[Lossy, Limits(f"0 (none) to {MAX_LOSSY:,}, or 'auto'", 0, MAX_LOSSY)] = 0.0
    min_ssimulacra2: Annotated[float | None, Limits("at most 99", most=99)] = None
    total_size: Annotated[int | str | None, Limits(_TOTAL_SIZE, 1)] = None
    colors_weight: float | None = None
    always: Flag = False
    keep_metadata: Flag = False

    def __post_init__(self) -> None:
        check_options(self)
        check_choice("--format", self.format, FORMATS)
        if self.total_size is not None:
            self.most_bytes(1)
        if self.min_ssimulacra2 is not None and self.lossy != "auto":
            raise UsageError(
                "--min-ssimulacra2 is reached by lossy indices: leave --lossy out, or choose auto"
            )
        if self.dither and self.total_size is not None:
            raise UsageError(
                "--dither and --total-size exclude each other: dithering adds noise, which takes "
                "bits"
            )
        if self.dither and self.lossy:
            raise UsageError(
                "--dither and --lossy exclude each other: dithering adds noise, which takes bits"
            )
        if self.keep_metadata and self.format == "gif":
            raise UsageError(f"--keep-metadata: --format {self.format} holds none; choose another")

    def most_bytes(self, n_pixels: int) -> int:
        """Return the bytes that `total_size` allows images of so many pixels.

        Raises UsageError where it is no size.
        """
        if not isinstance(self.total_size, str):
            return self.total_size or 0
        try:
            return bytes_of(self.total_size, n_pixels)
        except ValueError:
            raise UsageError(
                f"--total-size is {brief(self.total_size)}: choose {_TOTAL_SIZE}"
            ) from None

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
        raise UsageError(f"--colors is {fit.colors}: choose {_COLORS}")
    if encode.lossy == "auto" and fit.min_psnr is None and encode.min_ssimulacra2 is None:
        raise UsageError(
            "--lossy auto takes what a target leaves: add --min-psnr or --min-ssimulacra2"
        )
    if encode.total_size is not None and (
        fit.min_psnr is not None or encode.min_ssimulacra2 is not None
    ):
        raise UsageError(
            "--total-size limits the bytes, and --min-psnr or --min-ssimulacra2 the quality: "
            "choose one of them"
        )
    for option, value in (("--min-psnr", fit.min_psnr), ("--max-error", fit.max_error)):
        if value is not None and encode.dither:
            raise UsageError(f"{option} and --dither exclude each other: dithering adds error")


@dataclass(frozen=True)
class Targets:
    """Quality that an image has to reach to be written with its palette; None for no such target.

    min_psnr: in dB
    max_error: largest error of a pixel, the root mean square over its channels, 0 to 255
    min_ssimulacra2: SSIMULACRA2 score
    """

    min_psnr: float | None = None
    max_error: float | None = None
    min_ssimulacra2: float | None = None

    @classmethod
    def of(cls, fit: FitSettings, encode: EncodeSettings) -> Targets:
        """Return the targets of a job."""
        return cls(fit.min_psnr, fit.max_error, encode.min_ssimulacra2)


def check_choice(option: str, value: object, choices: tuple[str, ...]) -> None:
    """Raise UsageError where `value` is none of `choices`."""
    if not isinstance(value, str) or value not in choices:
        raise UsageError(
            f"{option} is {brief(value)}: choose {', '.join(choices[:-1])} or {choices[-1]}"
        )
