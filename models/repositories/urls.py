"""PostgreSQL URLs as SQLAlchemy wants them."""


def driver_url(url: str) -> str:
    """The same URL, naming the psycopg 3 driver."""
    for scheme in ("postgresql://", "postgres://"):
        if url.startswith(scheme):
            return "postgresql+psycopg://" + url.removeprefix(scheme)
    return url
