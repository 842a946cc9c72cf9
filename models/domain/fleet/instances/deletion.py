"""Why an instance's machine went, or never came: `deletion_reason` of its row."""

from typing import Final

NOTHING_CREATED: Final = "nothing_created"
"""The provider refused the create itself, so there is nothing to look for."""

NO_PROVIDER_RESOURCE: Final = "no_provider_resource"
START_FAILED: Final = "provider_start_failed_cleanup"
START_TIMEOUT: Final = "provider_start_timeout_cleanup"
PROVIDER_DELETED: Final = "provider_deleted"
UNAVAILABLE: Final = "unavailable"
USER_REQUEST: Final = "user_request"
