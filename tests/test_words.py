"""Tests that what people read of this project is plain English, which stands alone.

A docstring is read in an editor's hover, without the definition above it: so it begins with its
subject or its verb, and is a sentence that ends. The field has words for most ideas: the list below
names paraphrases that were once used in their place.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

import kmeans_dask

ROOT = Path(kmeans_dask.__file__).parents[1]
PACKAGE = ROOT / "kmeans_dask"
ROOMS = sorted(path for path in PACKAGE.iterdir() if path.is_dir() and path.name != "__pycache__")
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *ROOT.glob("*/README.md")])

# Openings of docstrings that need the definition above or beside them.
OPENINGS = re.compile(
    r"(The same|Of|What|Whether|As|With|Where|That|Which|From|To|In|For|By|How|If|When|Also|It|Its|"
    r"Their|They|One task|The last task|All of|None of|Likewise)\b"
)
# A paraphrase, and the word to use in its place.
PARAPHRASES = {
    r"(go|goes|gone|going) on with": "resume, continue",
    r"at work": "running",
    r"in the clear": "unencrypted",
    r"hangs? (on|together)": "depends on",
    r"tak(e|es|en|ing) up": "open",
    r"taken at (its|their) word": "trusted",
    r"as good as not there": "ignored",
    r"(is|are|was|were|be) said": "given",
    r"the said": "this",
    r"whatever (is|was) said": "given",
    r"mended?": "repair",
    r"scattered seeding": "k-means||",
    r"gathered up": "merged",
}
PARAPHRASE = {re.compile(rf"\b{words}\b", re.I): better for words, better in PARAPHRASES.items()}


def docstrings(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield the line and the text of each docstring."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node)
            if text:
                yield getattr(node, "lineno", 1), text


def opening_faults(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield the line and first line of each docstring that does not stand alone."""
    for line, text in docstrings(tree):
        first = text.split("\n\n", maxsplit=1)[0]
        if OPENINGS.match(first) or not re.search(r"[.:!]$|::$", first.rstrip()):
            yield line, first.splitlines()[0]


def prose(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the line and the text of each comment and string of a Python file."""
    for token in tokenize.generate_tokens(io.StringIO(path.read_text()).readline):
        if token.type in (tokenize.COMMENT, tokenize.STRING):
            yield token.start[0], token.string


def paraphrase_faults(pieces: Iterator[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    """Yield the line of each paraphrase, with the words to use in its place."""
    for line, text in pieces:
        for pattern, better in PARAPHRASE.items():
            for found in pattern.finditer(" ".join(text.split())):
                yield line, f"{found[0]!r}: say {better}"


def faults_in(files: list[Path]) -> list[str]:
    """Return all faults of Python files, each as a line with its place."""
    found = []
    for path in files:
        tree = ast.parse(path.read_text())
        for line, what in (*opening_faults(tree), *paraphrase_faults(prose(path))):
            found.append(f"{path.relative_to(ROOT)}:{line}: {what}")
    return found


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: room.name)
def test_a_room_speaks_plain_english(room: Path) -> None:
    assert not faults_in(sorted(room.rglob("*.py")))


def test_the_top_level_speaks_plain_english() -> None:
    assert not faults_in(sorted(PACKAGE.glob("*.py")))


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_documents_use_the_words_of_the_field(path: Path) -> None:
    text = path.read_text()
    lines = enumerate(text.splitlines(), 1)
    assert not list(paraphrase_faults(iter(lines)))


@pytest.mark.parametrize(
    "source",
    [
        'def f():\n    """The same of a passing store."""',
        'def f():\n    """Whether it is done."""',
        'def f():\n    """Return the sum, and no more"""',
        'class A:\n    """What a task holds."""',
    ],
)
def test_a_fragment_is_found(source: str) -> None:
    assert list(opening_faults(ast.parse(source)))


def test_a_sentence_is_none() -> None:
    assert not list(opening_faults(ast.parse('def f():\n    """Return the sum."""')))


def test_a_paraphrase_is_found() -> None:
    assert list(paraphrase_faults(iter([(1, "# a job that is gone on\n with")])))
