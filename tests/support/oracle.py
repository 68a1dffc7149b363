"""An independent reader: walks and hashes all that the tags of a registry need. Shares no code with mmgraph.

It trusts neither HEAD nor any header: a thing is there when its bytes are, through the repository that
needs it.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any, Final
from urllib.parse import urljoin

import aiohttp

Closure = tuple[str, dict[str, int]]
"""The root's digest, and the size of everything that belongs to it by digest, the root included."""

_ACCEPT: Final = ", ".join(
    (
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.oci.image.manifest.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.docker.distribution.manifest.v2+json",
    )
)


class OracleError(AssertionError):
    """Something is missing at the registry, or is not what its digest says."""


async def walk(address: str, repositories: list[str] | None = None) -> dict[str, dict[str, Closure]]:
    """Return the closure of every tag by repository, each byte of it read and proven.

    ``address`` is ``host:port`` or starts with a scheme; without ``repositories`` the catalog lists them.
    Layers with ``urls`` live elsewhere and are left out. Whatever is missing or wrong raises ``OracleError``.
    """
    base = address if "://" in address else f"http://{address}"
    async with aiohttp.ClientSession(auto_decompress=False) as session:
        walker = _Walker(session, base)
        if repositories is None:
            repositories = await walker.listed("/v2/_catalog?n=1000", "repositories")
        found: dict[str, dict[str, Closure]] = {}
        for repository in repositories:
            tags = await walker.listed(f"/v2/{repository}/tags/list?n=1000", "tags")
            found[repository] = {tag: await walker.closure(repository, tag) for tag in tags}
        return found


async def tags(address: str, repository: str) -> dict[str, str]:
    """Return the digest of the bytes behind each tag of ``repository``; no tags where it is absent."""
    base = address if "://" in address else f"http://{address}"
    async with aiohttp.ClientSession(auto_decompress=False) as session:
        walker = _Walker(session, base)
        names = await walker.listed(f"/v2/{repository}/tags/list?n=1000", "tags", absent_is_empty=True)
        return {name: _digest(await walker.document(repository, name), "sha256") for name in names}


class _Walker:
    def __init__(self, session: aiohttp.ClientSession, base: str) -> None:
        self._session = session
        self._base = base
        self._proven: dict[tuple[str, str], int] = {}

    async def listed(self, path: str, key: str, *, absent_is_empty: bool = False) -> list[str]:
        names: list[str] = []
        url: str | None = urljoin(self._base, path)
        while url is not None:
            async with self._session.get(url) as answer:
                if answer.status == 404 and absent_is_empty:
                    return []
                if answer.status != 200:
                    raise OracleError(f"GET {url}: {answer.status}")
                names += (await answer.json())[key] or []
                following = answer.links.get("next")
                url = str(following["url"]) if following else None
        return names

    async def closure(self, repository: str, tag: str) -> Closure:
        raw = await self.document(repository, tag)
        root = _digest(raw, "sha256")
        sizes = {root: len(raw)}
        await self._members(repository, raw, sizes)
        return root, sizes

    async def _members(self, repository: str, raw: bytes, sizes: dict[str, int]) -> None:
        body: dict[str, Any] = json.loads(raw)
        for entry in body.get("manifests", ()):
            child = await self.document(repository, entry["digest"])
            _check(child, entry, f"{repository}@{entry['digest']}")
            sizes[entry["digest"]] = len(child)
            await self._members(repository, child, sizes)
        if "manifests" in body:
            return
        for entry in (body["config"], *body["layers"]):
            if not entry.get("urls"):
                await self._blob(repository, entry)
                sizes[entry["digest"]] = entry["size"]

    async def document(self, repository: str, name: str) -> bytes:
        url = f"{self._base}/v2/{repository}/manifests/{name}"
        async with self._session.get(url, headers={"Accept": _ACCEPT}) as answer:
            raw = await answer.read()
            if answer.status != 200:
                raise OracleError(f"GET {url}: {answer.status} {raw[:200]!r}")
            declared = json.loads(raw).get("mediaType", answer.content_type)
            if declared != answer.content_type:
                raise OracleError(f"GET {url}: served as {answer.content_type}, says {declared}")
            return raw

    async def _blob(self, repository: str, entry: dict[str, Any]) -> None:
        key = repository, entry["digest"]
        if key not in self._proven:
            url = f"{self._base}/v2/{repository}/blobs/{entry['digest']}"
            async with self._session.get(url) as answer:
                if answer.status != 200:
                    raise OracleError(f"GET {url}: {answer.status}")
                hasher = hashlib.new(entry["digest"].partition(":")[0])
                self._proven[key] = 0
                async for chunk in answer.content.iter_any():
                    hasher.update(chunk)
                    self._proven[key] += len(chunk)
                if hasher.hexdigest() != entry["digest"].partition(":")[2]:
                    raise OracleError(f"GET {url}: other bytes than its digest says")
        if self._proven[key] != entry["size"]:
            raise OracleError(
                f"{repository}@{entry['digest']}: {self._proven[key]} bytes, not {entry['size']}"
            )


def _check(raw: bytes, entry: dict[str, Any], name: str) -> None:
    if _digest(raw, entry["digest"].partition(":")[0]) != entry["digest"]:
        raise OracleError(f"{name}: other bytes than its digest says")
    if len(raw) != entry["size"]:
        raise OracleError(f"{name}: {len(raw)} bytes, not {entry['size']}")


def _digest(raw: bytes, algorithm: str) -> str:
    return f"{algorithm}:{hashlib.new(algorithm, raw).hexdigest()}"
