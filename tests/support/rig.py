"""Two or more of mmgraph's own registries and a client that reaches them, for tests of what moves between them."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from mmgraph.clock import Clock, SystemClock
from mmgraph.names import Digest, Registry, Repository
from mmgraph.oci import digest_of
from mmgraph.quirks import Quirk, Quirks
from mmgraph.registry.client import Client
from mmgraph.registry.credentials import Credentials
from mmgraph.server import FaultPlan, MemoryStorage, RegistryServer, Rule


class Rig:
    """A source, destinations and a client; each registry has a storage to look into and a fault plan to spoil it."""

    def __init__(self, servers: Sequence[RegistryServer], plans: Sequence[FaultPlan], client: Client) -> None:
        self.servers = servers
        self.plans = plans
        self.client = client

    def repository(self, server: int, path: str) -> Repository:
        """A repository at one of the servers."""
        return Repository(Registry(self.servers[server].address), path)

    def fault(self, server: int, rule: Rule) -> None:
        """Let a server go wrong from now on."""
        self.plans[server].add(rule)

    def put_blob(self, repository: Repository, content: bytes) -> Digest:
        """Lay a blob into a repository behind the protocol's back."""
        digest = digest_of(content)
        upload = self._storage(repository).upload(repository.path)
        upload.write(content)
        assert upload.commit(digest)
        return digest

    def blob(self, repository: Repository, digest: Digest) -> bytes | None:
        """What a repository holds under ``digest``."""
        storage = self._storage(repository)
        if storage.blob_size(repository.path, digest) is None:
            return None
        with storage.open_blob(repository.path, digest) as stream:
            return stream.read()

    def _storage(self, repository: Repository) -> MemoryStorage:
        for server, storage in zip(self.servers, self._storages, strict=True):
            if server.address == repository.registry:
                return storage
        raise KeyError(repository)

    _storages: list[MemoryStorage]


@asynccontextmanager
async def rig(
    destinations: int = 1,
    *,
    clock: Clock | None = None,
    plans: Sequence[FaultPlan] | None = None,
    jobs: int = 16,
    declared: Mapping[Quirk, Sequence[int]] = {},
) -> AsyncIterator[Rig]:
    """Start a source (server 0) and destinations (from 1), and a client whose retries are not random.

    ``declared`` is what the client is told of servers, by their numbers.
    """
    faults = list(plans or [FaultPlan() for _ in range(destinations + 1)])
    storages = [MemoryStorage() for _ in faults]
    async with AsyncExitStack() as stack:
        servers = [
            await stack.enter_async_context(RegistryServer(storage, faults=fault))
            for storage, fault in zip(storages, faults, strict=True)
        ]
        client = await stack.enter_async_context(
            Client(
                credentials=Credentials({}, None, Path("/nonexistent")),
                clock=clock or SystemClock(),
                jobs=jobs,
                chance=random.Random(1),
                quirks=Quirks(
                    {
                        quirk: [Registry(servers[number].address) for number in numbers]
                        for quirk, numbers in declared.items()
                    }
                ),
            )
        )
        made = Rig(servers, faults, client)
        made._storages = storages
        yield made
