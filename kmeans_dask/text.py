"""Values as text: escaped names, words of a shell, sizes, decibels and durations."""

from __future__ import annotations

import os
import re
import shlex

_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?|\.[0-9]+) *([kmgt]?)(i?)b?( */ *pixel)?", re.IGNORECASE)


def printable(text: str) -> str:
    r"""Return `text` with every unprintable character escaped, such as those that steer a terminal.

    >>> print(printable("a\x1b[31m\nb.png"))
    a\x1b[31m\nb.png
    """
    if text.isprintable():  # quick for nearly all texts
        return text
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text
    )


def shell_word(text: str) -> str:
    r"""Return `text` as one word of a command for a shell, safe to be shown and pasted.

    A text with unprintable characters is written with escapes, as bash, zsh and ksh read them.

    >>> print(shell_word("a.png"), shell_word("it's $HOME"), shell_word("a\x1b\n.png"))
    a.png 'it'"'"'s $HOME' $'a\x1b\x0a.png'
    """
    if text.isprintable():
        return shlex.quote(text)
    shown = (
        chr(byte) if 32 <= byte < 127 and chr(byte) not in "'\\" else f"\\x{byte:02x}"
        for byte in os.fsencode(text)
    )
    return f"$'{''.join(shown)}'"


def size(n_bytes: int) -> str:
    """Return a number of bytes with a decimal prefix.

    >>> size(95_566), size(12)
    ('95.6 kB', '12 B')
    """
    value, prefixes = float(n_bytes), iter(("B", "kB", "MB", "GB", "TB"))
    prefix = next(prefixes)
    while value >= 999.95 and prefix != "TB":
        value, prefix = value / 1000, next(prefixes)
    return f"{value:.0f} {prefix}" if prefix == "B" else f"{value:.1f} {prefix}"


def bytes_of(text: str, n_pixels: int) -> int:
    """Return the number of bytes that a text such as "20MB" or "0.3B/pixel" stands for.

    n_pixels: number that a size for each pixel is multiplied by

    Raises ValueError where the text is no size.

    >>> bytes_of("20MB", 100), bytes_of("1.5 KiB", 100), bytes_of("0.3B/pixel", 100)
    (20000000, 1536, 30)
    """
    found = _SIZE.fullmatch(text.strip())
    if not found:
        raise ValueError("not a number with a unit")
    number, prefix, is_binary, of_pixel = found.groups()
    base = 1024 if is_binary else 1000
    power = " KMGT".index(prefix.upper()) if prefix else 0
    value = float(number) * base**power * (n_pixels if of_pixel else 1)
    return int(value)


def decibels(value: float | None) -> str:
    """Return a PSNR in words; None means that nothing was lost."""
    return "nothing lost" if value is None else f"{value:.2f} dB"


def duration(seconds: float) -> str:
    """Return a time as text, in units that suit its length.

    >>> [duration(s) for s in (0.234, 9.96, 59.6, 61, 7260, 3e6)]
    ['0.2 s', '10 s', '1 min 00 s', '1 min 01 s', '2 h 01 min', '833 h 20 min']
    """
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600:,} h {whole % 3600 // 60:02} min"
