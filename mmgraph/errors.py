"""Every error mmgraph raises: one root, and families by who is to blame. Knows nothing of what went wrong inside.

``SpecError``: the user's input. ``RegistryError``: a registry's answer. ``NetworkError``: what lies between.
``InternalError``: mmgraph itself.
"""

from __future__ import annotations

from typing import Self


class MmgraphError(Exception):
    """The root of all errors that mmgraph raises on purpose; ``str()`` is one clear sentence for people."""

    tries = 1
    """How often it was tried."""
    final = True
    """Whether trying once more is pointless, or has been given up where it was tried (retries are one layer)."""
    common = False
    """Whether it is the same for all who ask there: of a registry, not of an image."""
    waits = False
    """Whether all that is asked for is time: to be tried again after the registry's pause, holding nothing."""
    seconds = 0.0
    """How long to wait before it is tried again, at least: as a host has asked that is not the registry's own."""


class SpecError(MmgraphError):
    """The user's input is wrong: specs, references, platforms, options, plan files.

    The message says where, what and what to write instead.
    """


class RegistryError(MmgraphError):
    """A registry answered, and the answer is a refusal or breaks the protocol.

    ``status`` is the HTTP status (0 where the answer as a whole is at fault), ``codes`` the error codes of the
    body in the registry's words (distribution-spec, "Error Codes"), ``detail`` the digests those errors name.
    """

    def __init__(
        self, message: str, *, status: int = 0, codes: tuple[str, ...] = (), detail: tuple[str, ...] = ()
    ) -> None:
        super().__init__(message)
        self.status = status
        self.codes = codes
        self.detail = detail

    @property
    def absent(self) -> bool:
        """Whether the registry says that the thing asked for is not there."""
        return self.status == 404


class ContentError(RegistryError):
    """Bytes are not what their descriptor promises: digest, length, media type or structure."""

    final = False


class DriftError(RegistryError):
    """Somebody else moved what was to be written: neither what was seen before nor what was wanted is there."""

    @classmethod
    def moved(cls, tag: object, old: str | None, now: str | None) -> Self:
        """Return the error for ``tag``, which named the digest ``old`` and names ``now`` (None: nothing)."""
        return cls(f"moved meanwhile: {tag} named {old or 'nothing'}, and names {now or 'nothing'} now")


class NetworkError(MmgraphError):
    """No complete answer came: name resolution, connection, TLS, time-out, reset."""

    final = False


class InternalError(MmgraphError):
    """mmgraph contradicts itself; please report it."""
