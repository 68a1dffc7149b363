"""What the options say of reaching registries, as the values that the client takes. Decides nothing."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from mmgraph.cli.options import Network
from mmgraph.errors import SpecError
from mmgraph.names import Registry, quote
from mmgraph.plan import Plan
from mmgraph.registry.chunks import LARGEST
from mmgraph.registry.gate import Allowance
from mmgraph.registry.origins import Opening, Trust
from mmgraph.registry.proxies import Proxies
from mmgraph.registry.sessions import Routes
from mmgraph.registry.tls import Tls

_SIZE: Final = re.compile(r"([0-9]{1,12}) ?(|KiB|MiB)")
_UNITS: Final = {"": 0, "KiB": 10, "MiB": 20}
_LEAST: Final = 64 << 10


def routes(network: Network, environ: Mapping[str, str], warn: Callable[[str], None]) -> Routes:
    """Return how hosts are reached; raises ``SpecError``."""
    trust = Trust(
        tuple(Opening.parse(text, "--trust-realm") for text in network.trust_realm),
        tuple(Opening.parse(text, "--trust-upload-host") for text in network.trust_upload_host),
    )
    tls = Tls(
        environ,
        authority=network.ca,
        authorities={name: Path(file) for name, file in _pairs(network.registry_ca, "--registry-ca")},
        insecure=network.unchecked(),
        warn=warn,
    )
    return Routes(tls, Proxies(environ), trust)


def allowances(network: Network) -> dict[Registry, Allowance]:
    """Return what differs at single registries; raises ``SpecError``."""
    jobs = {
        name: int(_number(text, "--registry-jobs", 1024))
        for name, text in _pairs(network.registry_jobs, "--registry-jobs")
    }
    paces = {
        name: _number(text, "--requests-per-second", 10_000)
        for name, text in _pairs(network.requests_per_second, "--requests-per-second")
    }
    return {name: Allowance(jobs.get(name), paces.get(name)) for name in jobs.keys() | paces.keys()}


def chunks(network: Network) -> dict[Registry, int]:
    """Return the bytes of the chunks in which single registries are sent blobs; raises ``SpecError``."""
    option = "--registry-upload-chunk"
    return {name: _bytes(text, option) for name, text in _pairs(network.registry_upload_chunk, option)}


def _bytes(text: str, option: str) -> int:
    match = _SIZE.fullmatch(text)
    size = int(match[1]) << _UNITS[match[2]] if match else 0
    if not _LEAST <= size <= LARGEST:
        raise SpecError(
            f"{option} {quote(text)}: write bytes, or such as 16MiB, from {_LEAST >> 10}KiB to {LARGEST >> 20}MiB"
        )
    return size


def _pairs(texts: Iterable[str], option: str) -> Iterator[tuple[Registry, str]]:
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not value:
            raise SpecError(f"{option} {quote(text)}: write REGISTRY=VALUE")
        yield Registry.parse(name), value


def _number(text: str, option: str, most: int) -> float:
    whole = option == "--registry-jobs"
    try:
        value = float(int(text)) if whole else float(text)
    except ValueError:
        value = 0.0
    if not (1 if whole else 0.001) <= value <= most:
        raise SpecError(
            f"{option} {quote(text)}: write {'a whole number' if whole else 'a number'} up to {most}"
        )
    return value


def cautioned(network: Network, plan: Plan) -> Plan:
    """Return the plan with those of its registries whose certificates are not checked: now, or when it was made."""
    return replace(plan, unchecked=tuple(sorted({*plan.unchecked, *(plan.registries & network.unchecked())})))
