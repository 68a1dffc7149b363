"""What the options say of reaching registries, as the values that the client takes. Decides nothing."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from mmgraph.cli.config import NAME
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
    authorities = {name: Path(file) for name, file in _pairs(network.registry_ca, "--registry-ca")}
    if network.ca is not None and not network.ca.exists():
        raise SpecError(f"--ca {quote(str(network.ca))}: there is no such file")
    for name, path in authorities.items():
        if not path.exists():
            raise SpecError(f"{_line(name, 'ca', str(path))}: there is no such file")
    tls = Tls(
        environ,
        authority=network.ca,
        authorities=authorities,
        insecure=network.unchecked(),
        warn=warn,
    )
    return Routes(tls, Proxies(environ), trust)


def allowances(network: Network) -> dict[Registry, Allowance]:
    """Return what differs at single registries; raises ``SpecError``."""
    jobs = {
        name: int(_number(name, text, "jobs", 1024))
        for name, text in _pairs(network.registry_jobs, "--registry-jobs")
    }
    paces = {
        name: _number(name, text, "requests-per-second", 10_000)
        for name, text in _pairs(network.requests_per_second, "--requests-per-second")
    }
    return {name: Allowance(jobs.get(name), paces.get(name)) for name in jobs.keys() | paces.keys()}


def chunks(network: Network) -> dict[Registry, int]:
    """Return the bytes of the chunks in which single registries are sent blobs; raises ``SpecError``."""
    pairs = _pairs(network.registry_upload_chunk, "--registry-upload-chunk")
    return {name: _bytes(name, text) for name, text in pairs}


def _bytes(name: Registry, text: str) -> int:
    match = _SIZE.fullmatch(text)
    size = int(match[1]) << _UNITS[match[2]] if match else 0
    if not _LEAST <= size <= LARGEST:
        raise SpecError(
            f"{_line(name, 'upload-chunk', text)}: write bytes, or such as 16MiB,"
            f" from {_LEAST >> 10}KiB to {LARGEST >> 20}MiB"
        )
    return size


def _pairs(texts: Iterable[str], option: str) -> Iterator[tuple[Registry, str]]:
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not value:
            raise SpecError(f"{option} {quote(text)}: write REGISTRY=VALUE")
        yield Registry.parse(name), value


def _line(name: Registry, key: str, text: str) -> str:
    """What stands in a registry's table, which is where all of these come from: they have no flag to be shown."""
    return f"{NAME}: {key} of {quote(name)} is {quote(text)}"


def _number(name: Registry, text: str, key: str, most: int) -> float:
    whole = key == "jobs"
    try:
        value = float(int(text)) if whole else float(text)
    except ValueError:
        value = 0.0
    if not (1 if whole else 0.001) <= value <= most:
        raise SpecError(
            f"{_line(name, key, text)}: write {'a whole number' if whole else 'a number'} up to {most}"
        )
    return value


def cautioned(network: Network, plan: Plan) -> Plan:
    """Return the plan with those of its registries whose certificates are not checked: now, or when it was made."""
    return replace(plan, unchecked=tuple(sorted({*plan.unchecked, *(plan.registries & network.unchecked())})))
