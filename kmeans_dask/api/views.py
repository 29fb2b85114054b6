"""Reports, plots and palettes of jobs, stores and images."""

from __future__ import annotations

from dataclasses import dataclass

from kmeans_dask.api.job_input import AnyPath
from kmeans_dask.errors import UsageError
from kmeans_dask.files import Location, parse_location
from kmeans_dask.files.atomic_files import check_new_file, write_file
from kmeans_dask.files.targets import beginning, check_file, check_folder
from kmeans_dask.job.job_record import read_record
from kmeans_dask.report.before_after import Exhibit, exhibit_image, exhibit_store, plain_name
from kmeans_dask.report.inventory import take_inventory
from kmeans_dask.report.job_page import remake_report
from kmeans_dask.report.store_page import write_store_report
from kmeans_dask.settings import FitSettings
from kmeans_dask.steps.palettes import NamedPalette, convert_palette, read_any_palette
from kmeans_dask.store import Store


@dataclass(frozen=True)
class Plots:
    """Plots that were drawn: their files, and the figures of what they show."""

    files: tuple[Location, ...]
    exhibit: Exhibit


def is_store(path: AnyPath) -> bool:
    """Return whether there is a store at `path`."""
    return Store.is_at(parse_location(path))


def palette(
    source: AnyPath,
    target: AnyPath | None = None,
    *,
    palette_name: str | None = None,
    overwrite: bool = False,
) -> NamedPalette:
    """Return a palette of a store or of a file, and write it to `target`, if that is given.

    palette_name: name of a palette of the store; None for the one fitted last
    overwrite: replace a file that is there

    Raises UsageError and StoreError.
    """
    found = read_any_palette(parse_location(source), palette_name)
    if target is not None:
        file = parse_location(target)
        check_file(file, "FILE")
        with beginning(f"FILE {file}", "name another file"):
            convert_palette(found, file, overwrite=overwrite)
    return found


def report(
    source: AnyPath,
    target: AnyPath | None = None,
    *,
    palette_name: str | None = None,
    overwrite: bool = False,
) -> None:
    """Write the report of a job again into its output, or that of a store to a file.

    source: output of a job, or a store
    target: file for the report of a store; None for `NAME-report.html` in the current folder
    palette_name: name of the palette that the report of a store shows; None for the last one
    overwrite: replace a file that is there

    Raises UsageError and StoreError.
    """
    place = parse_location(source)
    if not is_store(place):
        if target is not None:
            raise UsageError("FILE is for the report of a store: an OUTPUT holds its own")
        remake_report(place, read_record(place))
        return
    place = _named(place.absolute())
    file = parse_location(target or f"{plain_name(place)}-report.html")
    check_file(file, "FILE")
    check_new_file(file, overwrite=overwrite)
    inventory = take_inventory(place, palette_name)
    with beginning(f"FILE {file}", "name another file"):
        write_store_report(file, inventory)


def plot(
    source: AnyPath,
    *,
    colors: int = 16,
    seed: int = 0,
    palette_name: str | None = None,
    output: AnyPath = ".",
    overwrite: bool = False,
) -> Plots:
    """Draw the colour space before and after, and images beside their compressed ones.

    Write `NAME-colours.png` and `NAME-compressed.png`.

    source: image, or store with a palette
    colors, seed: palette entries and seed of the fit to an image
    palette_name: name of the palette of a store; None for the last one
    output: folder to write to
    overwrite: replace files that are there

    Raises UsageError, ImageError and StoreError; UsageError also where Matplotlib is missing.
    """
    from kmeans_dask.report.plots import check_matplotlib, draw_colors, draw_pictures

    check_matplotlib()
    place, folder = _named(parse_location(source)), parse_location(output)
    check_folder(folder, "DIR")
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file: name a folder to write to")
    files = tuple(folder / f"{plain_name(place)}-{what}.png" for what in ("colours", "compressed"))
    for file in files:
        check_new_file(file, "name another folder with --output", overwrite=overwrite)
    if place.is_dir():
        found = exhibit_store(place, palette_name)
    else:
        found = exhibit_image(place, FitSettings(colors, seed=seed))
    for file, png in zip(files, (draw_colors(found), draw_pictures(found)), strict=True):
        with beginning(f"DIR {folder}"):
            write_file(file, png)
    return Plots(files, found)


def _named(path: Location) -> Location:
    """Return `path`, or the path that it leads to where it has no name, such as `..`."""
    return path if path.name.strip(".") else path.resolve()
