"""Errors that a user can act on: each message is one line that says what to do."""

from __future__ import annotations


class KMeansDaskError(Exception):
    """Base of every error this package raises on purpose.

    resumable: whether the work that was done is kept, so that the same call with `resume` continues
    """

    resumable: bool = False


class UsageError(KMeansDaskError):
    """The request cannot be carried out as it was made; nothing was written."""


class ImageError(KMeansDaskError):
    """An image cannot be read; the message is the reason, and the rest of the job continues."""


class NoImageError(ImageError):
    """A file is an image neither by its content nor by its name; a search of a folder skips it."""


class StoreError(KMeansDaskError):
    """A store is missing, unfinished, damaged, or not in the format of this version."""


class JobError(KMeansDaskError):
    """A running job has failed; what it has written is unfinished."""


class ClusterError(JobError):
    """The cluster is lost, has no workers, or has lost a task too often."""


class UnreachableError(JobError):
    """An object store cannot be reached for now; what is in it may be whole."""
