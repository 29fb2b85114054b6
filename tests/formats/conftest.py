"""Fixtures that the tests of this room share with those of images."""

from tests.images.conftest import photograph

__all__ = ["photograph"]
