"""Values in words."""

from __future__ import annotations


def printable(text: str) -> str:
    r"""`text` with what a terminal would act on, or could not show, escaped.

    >>> print(printable("a\x1b[31m\nb.png"))
    a\x1b[31m\nb.png
    """
    if text.isprintable():  # as nearly all are
        return text
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text
    )


def size(n_bytes: int) -> str:
    """Bytes with a decimal prefix.

    >>> size(95_566), size(12)
    ('95.6 kB', '12 B')
    """
    value, prefixes = float(n_bytes), iter(("B", "kB", "MB", "GB", "TB"))
    prefix = next(prefixes)
    while value >= 999.95 and prefix != "TB":
        value, prefix = value / 1000, next(prefixes)
    return f"{value:.0f} {prefix}" if prefix == "B" else f"{value:.1f} {prefix}"


def decibels(value: float | None) -> str:
    """A PSNR; None means that nothing was lost."""
    return "nothing lost" if value is None else f"{value:.2f} dB"
