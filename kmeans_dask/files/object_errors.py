"""Errors of requests to object stores: each has a message of one line, which can hold no secret.

A server's own message can name keys, so that of such a message only the status code is passed on.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from kmeans_dask.errors import UnreachableError, UsageError
from kmeans_dask.files.retries import TransientError

_RETRYABLE_STATUS = re.compile("408|429|5(?!01|05)..")  # status codes of failures that may pass
# Words in errors that no retry removes.
_PERMANENT_FAILURES = ("credential", "certificate", "without location")
# Words in errors about responses that no object store gives, unless a response was cut off.
_FOREIGN_RESPONSES = (
    *("invalid list response", "invalid DeleteObjects response", "non-partial response"),
    *("ETag Header missing", "Last-Modified Header missing", "Content-Range header not present"),
)
_CREDENTIALS_URL = re.compile(r"https?://(169\.254\.|metadata\.google\.)\S*")
_WEB_PAGE = re.compile("<!doctype html|<html", re.IGNORECASE)
_STATUS = re.compile(r"status code: (\d{3}[ \w-]*)")


@contextmanager
def translated_errors(url: str, bucket_url: str, check_store: Callable[[], None]) -> Iterator[None]:
    """Turn errors of obstore in the block into an OSError, UsageError or UnreachableError.

    Each has a message of one line about `url`, which is in the bucket at `bucket_url`. Where a
    retry may succeed, the error is a TransientError. The original error is dropped, as a server's
    own message can name keys.

    check_store: raises UnreachableError where a web page answers in place of the store
    """
    from obstore import exceptions

    try:
        yield
    except FileNotFoundError as error:
        if error.errno:
            raise  # it is not from obstore
        if _WEB_PAGE.search(str(error)):
            raise web_page_error(url) from None
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), url) from None
    except (exceptions.AlreadyExistsError, exceptions.PreconditionError):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), url) from None
    except exceptions.PermissionDeniedError:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), url) from None
    except exceptions.InvalidPathError as error:
        raise UsageError(
            f"{url} has an object whose name cannot be read, {_invalid_name(error)}: names have "
            "no empty parts, no . or .. as a part, and no control characters"
        ) from None
    except exceptions.BaseError as error:
        raise _translate(error, url, bucket_url, check_store) from None
    except ValueError as error:
        if not str(error).startswith("Could not parse path"):
            raise
        raise OSError(errno.EINVAL, "no object can have such a name", url) from None


def web_page_error(url: str) -> UnreachableError:
    """Return the error for a web page that answers in place of the object store."""
    return UnreachableError(
        f"{url}: a web page answers, and no object store: log in to this network, or set the "
        "right address (AWS_ENDPOINT_URL)"
    )


def missing_bucket_error(bucket_url: str) -> UsageError:
    """Return the error for a bucket that does not exist."""
    return UsageError(f"{bucket_url} does not exist: make the bucket first")


def incomplete_body_error(url: str) -> TransientError:
    """Return the error for a response that has fewer bytes than were asked for."""
    return TransientError(f"{url}: the object store does not send all of it")


def changed_object_error(url: str) -> OSError:
    """Return the error for an object that another one has replaced while it was read."""
    return OSError(errno.ESTALE, "it has changed while it was read", url)


def describe_error(error: Exception) -> str:
    """Return the reason of an error of obstore in one line.

    A server's own message can name keys, so that only its status is passed on.
    """
    from obstore import exceptions

    if isinstance(error, exceptions.UnauthenticatedError):
        return "the credentials are refused, or there are none"
    message = _message_without_urls(error)
    status = _STATUS.search(message)
    if status and "of credentials" not in message:
        return f"the object store answers {status[1].strip()}"
    if "without LOCATION" in message:
        return "its bucket is in another region: set AWS_REGION"
    if "certificate" in message.lower():
        return "the certificate of the object store is not one to trust"
    if "credential" in message.lower():
        return "there are no credentials in the environment, see docs/storage.md"
    if any(words in message for words in _FOREIGN_RESPONSES):
        return "what answers is not the language of an object store"
    return "the object store does not answer"


def _translate(
    error: Exception, url: str, bucket_url: str, check_store: Callable[[], None]
) -> Exception:
    """Return the error to raise for an `error` of obstore, with a message of one line.

    It is a TransientError where a retry may succeed. Raises UnreachableError where the error comes
    of a web page that answers for the store.
    """
    from obstore import exceptions

    message = _message_without_urls(error)
    status = _STATUS.search(message)
    code = status[1][:3] if status else ""
    kind: type[UnreachableError] = TransientError
    if code and not _RETRYABLE_STATUS.fullmatch(code):
        if code == "416":
            return changed_object_error(url)
        if code.startswith("3") or _WEB_PAGE.search(message):
            return web_page_error(url)
        if code == "404":
            return missing_bucket_error(bucket_url)
        kind = UnreachableError
    elif not code and (
        isinstance(error, _permanent_errors(exceptions))
        or any(words in message.lower() for words in _PERMANENT_FAILURES)
    ):
        kind = UnreachableError
    elif any(words in message for words in _FOREIGN_RESPONSES):
        with suppress(OSError):
            check_store()
    return kind(f"{url}: {describe_error(error)}")


def _permanent_errors(exceptions: Any) -> tuple[type[Exception], ...]:
    return (
        exceptions.UnauthenticatedError,
        exceptions.NotSupportedError,
        exceptions.UnknownConfigurationKeyError,
    )


def _message_without_urls(error: Exception) -> str:
    """Return the message of an error without URLs, as names of objects in them can be any words.

    The URL of a machine's own server of credentials is replaced by "of credentials".
    """
    return re.sub(r"https?://\S+", "", _CREDENTIALS_URL.sub("of credentials", str(error)))


def _invalid_name(error: Exception) -> str:
    """Return the name, in quotes, that an error is about."""
    name = re.search(r'[Pp]ath ("[^"]*")', str(error))
    return repr(name[1].strip('"')) if name else "which is not said"
