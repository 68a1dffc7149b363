"""A registry after the OCI distribution-spec, over memory or a directory. Knows nothing of plans and clients."""

from mmgraph.server.app import RegistryServer, serve
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
    "Request",
    "RequestLog",
    "RegistryServer",
    "Rule",
    "Stall",
    "Storage",
    "serve",
]
