"""Which authorities are trusted in calls to other machines, where the environment says so."""

import os
import ssl
from collections.abc import Mapping
from pathlib import Path

FILE, FOLDER = "SSL_CERT_FILE", "SSL_CERT_DIR"


class UnusableCertificates(ValueError):
    """One line, with the variable."""


def chosen_authorities(environ: Mapping[str, str] = os.environ) -> ssl.SSLContext | None:
    """Those of `SSL_CERT_FILE` and `SSL_CERT_DIR`; None where neither is set. Raises UnusableCertificates."""
    file, folder = environ.get(FILE), environ.get(FOLDER)
    if not file and not folder:
        return None
    if folder and not any(Path(one).is_dir() for one in folder.split(os.pathsep)):
        raise UnusableCertificates(f"{FOLDER} names no folder that exists: {folder}")
    try:
        return ssl.create_default_context(cafile=file or None, capath=folder or None)
    except ssl.SSLError:
        raise UnusableCertificates(f"{FILE} names a file that holds no certificate: {file}") from None
    except OSError as error:
        raise UnusableCertificates(f"{FILE} names a file that cannot be read ({error.strerror}): {file}") from None


def no_authorities() -> ssl.SSLContext:
    """For clients that want a context for calls without TLS: it is made at once, and trusts nobody."""
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def is_about_certificates(error: BaseException | None) -> bool:
    """Whether a connection failed because nobody who is trusted vouches for the other end, whatever a library calls it."""
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return True
        error = error.__cause__ or error.__context__
    return False
