"""Settings of a job that compresses a collection."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from kmeans_dask.color.palette import Palette
from kmeans_dask.errors import UsageError
from kmeans_dask.images.palette_files import hexes_of
from kmeans_dask.job.fit_result import plain_settings
from kmeans_dask.job.work_folder import asked_for
from kmeans_dask.settings import (
    MAX_COLORS,
    SCOPES,
    DecodeSettings,
    EncodeSettings,
    FitSettings,
    check_choice,
    check_together,
)


@dataclass(frozen=True)
class JobSettings:
    """Settings of a job: how to decode images, fit palettes and encode images.

    scope: which images share a palette, one of `settings.SCOPES`
    palette: palette for all images, in place of a fit; None for a fit

    Raises UsageError where one setting excludes another.
    """

    fit: FitSettings
    encode: EncodeSettings
    decode: DecodeSettings
    scope: str = SCOPES[0]
    palette: Palette | None = None

    def __post_init__(self) -> None:
        check_together(self.fit, self.encode)
        check_scope(self.scope)
        if self.scope == "auto" and self.fit.min_psnr is None and self.fit.max_error is None:
            raise UsageError("--palette auto needs a target: add --min-psnr or --max-error")
        if self.palette:
            check_palette(self.palette, self.encode)

    @property
    def is_shared(self) -> bool:
        """Return whether one palette is fitted to the whole collection."""
        return self.scope in ("shared", "auto") and self.palette is None

    def as_asked(self) -> dict[str, Any]:
        """Return all settings that the result depends on, for `work_folder.open_work_folder`."""
        return asked_for(
            "compress",
            palette=self.scope,
            palette_file=hexes_of(self.palette.entries) if self.palette else None,
            fit=plain_settings(self.fit),
            encode=self.encode,
            decode=self.decode.of_result,
        )


def check_scope(scope: object) -> None:
    """Raise UsageError where `scope` is none of `settings.SCOPES`."""
    if isinstance(scope, str) and "." in scope:  # as the name of a file has
        raise UsageError(
            f"--palette is {scope!r}, a file: name it with --palette-file, or in Python "
            "give Palette.load(...)"
        )
    check_choice("--palette", scope, SCOPES)


def check_palette(palette: Palette, settings: EncodeSettings) -> None:
    """Raise UsageError where the format of `settings` cannot hold the palette."""
    if len(palette) > MAX_COLORS:
        raise UsageError(
            f"the palette has {len(palette)} entries, an image holds {MAX_COLORS}: fit fewer "
            "--colors, or use the command tokenize"
        )
    if palette.alphas is not None and settings.flat:
        raise UsageError(
            f"the palette has partial transparency, which --format {settings.format} does not "
            "hold: choose png or webp"
        )
