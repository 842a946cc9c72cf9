"""Every router of the API, in the order in which their routes are tried. `system` is included by the application itself."""

from fastapi import APIRouter

from api.inference import routes as inference
from api.routers import (
    action_logs,
    api_keys,
    auth,
    catalog,
    events,
    instance_metrics,
    instances,
    model_catalog,
    node_agents,
    operation_commands,
    operations,
    payload_codec,
)

ROUTERS: tuple[APIRouter, ...] = (
    node_agents.router,  # heartbeats are by far the most frequent; then what people look at
    instances.router,
    instance_metrics.router,
    auth.router,
    api_keys.router,
    operations.router,
    operation_commands.router,
    events.router,
    catalog.router,
    model_catalog.router,
    action_logs.router,
    payload_codec.router,
    inference.router,
)
