"""A registry after the OCI distribution-spec, over memory or a directory; knows nothing of plans."""

from mmgraph.server.app import RegistryServer, serve
from mmgraph.server.auth import Auth, Basic, Bearer
from mmgraph.server.faults import (
    Cut,
    Delay,
    Drop,
    FaultPlan,
    Flip,
    Headers,
    Quirks,
    Redirect,
    Refuse,
    Rule,
    Stall,
)
from mmgraph.server.layout import LayoutStorage
from mmgraph.server.log import Extra, Kind, Request, RequestLog
from mmgraph.server.storage import MemoryStorage, Storage

__all__ = [
    "Auth",
    "Basic",
    "Bearer",
    "Cut",
    "Delay",
    "Drop",
    "Extra",
    "FaultPlan",
    "Flip",
    "Headers",
    "Kind",
    "LayoutStorage",
    "MemoryStorage",
    "Quirks",
    "Redirect",
    "Refuse",
    "RegistryServer",
    "Request",
    "RequestLog",
    "Rule",
    "Stall",
    "Storage",
    "serve",
]
