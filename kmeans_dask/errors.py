"""Errors that a user can act on: each message is one line that says what to do."""

from __future__ import annotations


class KMeansDaskError(Exception):
    """Base of every error this package raises on purpose."""


class UsageError(KMeansDaskError):
    """The request cannot be carried out as it was made; nothing was written."""


class ImageError(KMeansDaskError):
    """One image cannot be read; the message is the reason, the rest of the job goes on."""


class NoImageError(ImageError):
    """A file is no image by its content, nor by its name; a search of a folder skips it."""


class StoreError(KMeansDaskError):
    """A store is missing, unfinished, or not one of ours."""


class JobError(KMeansDaskError):
    """A running job broke off; what it has written is unfinished."""


class ClusterError(JobError):
    """The cluster went away, has no workers, or lost the work too often."""


class UnreachableError(JobError):
    """What is in an object store cannot be reached for now; it may be whole."""
