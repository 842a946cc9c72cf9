"""Typed search attributes for operators in the Temporal UI. Visibility lags: no list and no decision is made from them."""

from typing import Final
from uuid import UUID

from temporalio.common import SearchAttributeKey, SearchAttributePair, TypedSearchAttributes

ORG_ID: Final = SearchAttributeKey.for_keyword("OrgId")
SURFACE: Final = SearchAttributeKey.for_keyword("Surface")
RESOURCE_KIND: Final = SearchAttributeKey.for_keyword("ResourceKind")
RESOURCE_ID: Final = SearchAttributeKey.for_keyword("ResourceId")
PROVIDER: Final = SearchAttributeKey.for_keyword("Provider")

ALL: Final = (ORG_ID, SURFACE, RESOURCE_KIND, RESOURCE_ID, PROVIDER)
"""What the server must know before the first start; `quarterdeck up` and the compose file register them."""


def search_attributes(
    *, resource_kind: str, resource_id: str, surface: str, org_id: UUID | None = None, provider: str | None = None
) -> TypedSearchAttributes:
    """The attributes to start a workflow with. What belongs to the installation has no organization."""
    given = {RESOURCE_KIND: resource_kind, RESOURCE_ID: resource_id, SURFACE: surface, PROVIDER: provider}
    pairs = [SearchAttributePair(key, value) for key, value in given.items() if value is not None]
    if org_id is not None:
        pairs.append(SearchAttributePair(ORG_ID, str(org_id)))
    return TypedSearchAttributes(pairs)
