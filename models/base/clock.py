"""Time is UTC everywhere, and RFC 3339 with `Z` on the wire."""

from datetime import UTC, datetime


def utc_now() -> datetime:
    """By this machine's clock, for people who look at it. What is stored or compared is the database's
    (`models.repositories.transaction_time`, `models.repositories.database_clock`), what is measured `time.monotonic`'s.
    """
    return datetime.now(UTC)


def rfc3339(moment: datetime) -> str:
    """`2026-01-31T10:00:00.123456Z`. Raises ValueError for a moment without a time zone: its meaning would be a guess."""
    if moment.tzinfo is None:
        raise ValueError("a moment without a time zone has no RFC 3339 form")
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
