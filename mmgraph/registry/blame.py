"""Who is to blame for a refusal, for which image, at which registry, and what to do: one table, in sentences.

Owns the words. Pure; must not know how often anything is tried, nor what became of it.
"""

from __future__ import annotations

import re
from typing import Final

from mmgraph.names import Registry
from mmgraph.quirks import Quirk, evidence
from mmgraph.registry import wire
from mmgraph.store import Operation

_WRITES: Final = frozenset(
    {
        Operation.POST_UPLOAD,
        Operation.PROBE,
        Operation.PATCH_UPLOAD,
        Operation.GET_UPLOAD,
        Operation.PUT_BLOB,
        Operation.PUT_MANIFEST,
        Operation.DELETE_UPLOAD,
    }
)
CREATE_FIRST: Final = (
    "create the repository there first, by hand or with create-repository in mmgraph.toml; plan"
    " --missing-repositories FILE lists those to create"
)
_PATH: Final = re.compile(r"/v2/(?P<path>[^?#]+)/(?P<kind>manifests|blobs|tags|referrers)/(?P<name>[^?#]*)")


def sentence(
    operation: Operation, url: str, status: int, codes: tuple[str, ...], said: str, advice: str, tries: int
) -> str:
    """Return what a refusal means: ``said`` are the registry's own words, ``advice`` is what helps with a login."""
    place, path, name = _named(url)
    reason = " ".join([str(status), *codes]) + (f", after {tries} tries" if tries > 1 else "")
    hint = advice or _hint(operation, place, status, codes, said)
    return "".join(
        (
            _happened(operation, place, path, name, status, codes),
            f" ({reason})",
            f": {hint}" if hint else "",
            f'; it said "{said}"' if said else "",
        )
    )


def other_bytes(url: str, found: str, tries: int) -> str:
    """Return what it means that a manifest's bytes are ``found`` and not what was asked for."""
    place, path, name = _named(url)
    what = f" as {path}{'@' if ':' in name else ':'}{wire.escape(name, 160)}" if path else ""
    count = f", after {tries} tries" if tries > 1 else ""
    return (
        f"{place} sent other bytes than asked for{what} ({found}{count}): the registry, or what lies between, is"
        " broken; push the image there again, or ask another way"
    )


def _named(url: str) -> tuple[str, str, str]:
    """The host, the repository's path, and the name or digest within."""
    found = _PATH.search(url)
    path, name = (wire.escape(found["path"], 255), found["name"]) if found else ("", "")
    return wire.escape(url.partition("://")[2].partition("/")[0], 255), path, name


def _happened(
    operation: Operation, place: str, path: str, name: str, status: int, codes: tuple[str, ...]
) -> str:
    """Who did what to which image."""
    writes = operation in _WRITES
    if not path:  # a signed URL: where a registry keeps its blobs
        return f"{place}, where the registry keeps its blobs, refused the request"
    if status in (401, 403):
        return f"{place} refused the {'push to' if writes else 'pull from'} {path}"
    if status == 404 and ("NAME_UNKNOWN" in codes or operation is Operation.POST_UPLOAD):
        return f"{place} has no repository {path}"
    if status == 404 and operation in (Operation.GET_MANIFEST, Operation.HEAD_MANIFEST):
        return f"{place} has no {path}{'@' if ':' in name else ':'}{wire.escape(name, 160)}"
    if status == 404 and operation in (Operation.GET_BLOB, Operation.HEAD_BLOB):
        return f"{place} has no blob {wire.escape(name, 160)} in {path}"
    if status == 413:
        return f"{place} takes nothing as large as this for {path}"
    if status == 429:
        return f"{place} asks to wait with {path}"
    if status >= 500:
        return f"{place} failed with {path}"
    return f"{place} does not accept the {'push to' if writes else 'pull from'} {path}"


def _in_chunks(operation: Operation, place: str) -> str:
    """What else helps with a body that is too long: shorter ones, where the registry takes them."""
    if operation is Operation.PATCH_UPLOAD:
        return ", or send it shorter chunks (upload-chunk)"
    if operation is not Operation.PUT_BLOB or evidence(Registry(place), Quirk.WHOLE_UPLOADS):
        return ""
    return ", or have blobs sent to it in chunks (upload-chunk in mmgraph.toml)"


def _hint(operation: Operation, place: str, status: int, codes: tuple[str, ...], said: str) -> str:
    """What to do, in a few words."""
    if status == 400 and ("to an HTTPS server" in said or "to HTTPS port" in said):  # Go's words, and nginx's
        return "TLS is spoken there, so do without --plain-http"
    if status == 404 and operation is Operation.POST_UPLOAD:
        return "create the repository there first"
    if status == 404 and operation in (Operation.GET_MANIFEST, Operation.HEAD_MANIFEST):
        return "check the name and the tag, and the login"
    if status == 413:
        return f"raise its limit, or its proxy's{_in_chunks(operation, place)}"
    if status == 429:
        return "run it again later"
    if status in (405, 501) and operation in _WRITES:
        return "nothing can be pushed there"
    if status >= 500:
        return "its log says why; run it again when it is well"
    return ""
