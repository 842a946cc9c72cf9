"""Logging of every process: one line a record, UTC, to standard error, with the request or workflow that it belongs to."""

import logging
import time

from activities.runtime.context import ContextFilter

LINE = "%(asctime)s.%(msecs)03dZ %(levelname)s %(name)s%(where)s %(message)s"

QUIET = {"httpx": logging.WARNING, "httpcore": logging.WARNING, "temporalio": logging.INFO}
"""Libraries that say too much; at DEBUG the Temporal SDK would print decrypted payloads."""


class _Where(logging.Filter):
    """Joins the identifiers of the record into one bracket, empty when there are none."""

    def filter(self, record: logging.LogRecord) -> bool:
        found = (getattr(record, name, None) for name in ("request_id", "workflow_id", "activity"))
        where = " ".join(str(one) for one in found if one)
        record.where = f" [{where}]" if where else ""
        return True


def configure_logging(level: str) -> None:
    """Replace whatever handlers there are. `level` is debug, info, warning or error."""
    formatter = logging.Formatter(LINE, "%Y-%m-%dT%H:%M:%S")
    formatter.converter = time.gmtime
    handler = logging.StreamHandler()
    handler.setFormatter(formatter)
    handler.addFilter(ContextFilter())
    handler.addFilter(_Where())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for name, quietest in QUIET.items():
        logging.getLogger(name).setLevel(max(quietest, logging.getLogger().level))
