"""What may be done with instances and their catalogue."""

from typing import Final

from models.domain.identity.grants import Grants, Permission


class FleetPermission(Permission):
    INSTANCES_READ = "instances:read"
    INSTANCES_WRITE = "instances:write"  # deploy, reinstall, terminate, archive: they spend or destroy
    MODELS_READ = "models:read"
    CATALOG_READ = "catalog:read"


FAMILY: Final = Grants(
    viewer=frozenset({FleetPermission.INSTANCES_READ, FleetPermission.MODELS_READ, FleetPermission.CATALOG_READ}),
    admin=frozenset({FleetPermission.INSTANCES_WRITE}),
)
