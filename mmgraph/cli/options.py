"""Options that several commands share, as dataclasses that cyclopts flattens. Holds what was written."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Group, Parameter
from cyclopts.validators import Number

from mmgraph.names import Registry

Colour = Literal["auto", "always", "never"]

if TYPE_CHECKING:
    InputFile = str
else:
    # What comes is the text as it was typed, since that is tried first; the other tells completion to offer files.
    InputFile = str | Path

Specs = Annotated[
    InputFile, Parameter(help="Files with copy specs; - is standard input.", metavar="SPECS", negative="")
]
SpecsOrPlan = Annotated[
    InputFile, Parameter(help="Files with copy specs, or one saved plan.", metavar="SPECS|PLAN", negative="")
]

_OF_ONE = Parameter(metavar="REGISTRY=VALUE", negative="", show=False)
"""What ``[registry."HOST"]`` in mmgraph.toml becomes."""

CacheLimit = Annotated[
    str,
    Parameter(
        metavar="BYTES",
        help="How much the manifest cache may take on disk, such as 2GiB; the least recently used go first.",
    ),
]
CACHE_LIMIT = "512MiB"

Repair = Annotated[
    bool,
    Parameter(
        negative="",
        show_default=False,
        help="Believe nothing: ask for every manifest and blob, of unchanged tags too, and send what is missing.",
    ),
]


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Selection:
    """Which specs count, and when one of them is good enough."""

    only: Annotated[
        tuple[str, ...],
        Parameter(
            metavar="GLOB",
            negative="",
            show_default=False,
            help="Of specs, only the destinations that a name, its end after a / or a glob fits:"
            " 'registry.example/team/*', app:v1. Repeatable. A saved plan stays whole.",
        ),
    ] = ()
    require_platforms: Annotated[
        bool,
        Parameter(
            negative="",
            show_default=False,
            help="Fail a spec whose source lacks a platform it lists. For specs; a saved plan has decided that.",
        ),
    ] = False


@Parameter(name="*", group=Group("Registries", sort_key=5))
@dataclass(frozen=True, kw_only=True)
class Network:
    """How registries are spoken to."""

    jobs: Annotated[
        int | None,
        Parameter(
            alias="-j",
            metavar="N",
            validator=Number(gte=1, lte=1024),
            help="Requests under way at one registry at most, reading and writing apart. By default 32 for"
            " reading, 16 for writing, and more, up to 128, as long as answers come as quickly.",
        ),
    ] = None
    authfile: Annotated[
        Path | None,
        Parameter(metavar="FILE", help="The only login file to read, instead of docker's and podman's own."),
    ] = None
    anonymous: Annotated[
        tuple[str, ...],
        Parameter(
            metavar="REGISTRY",
            negative="",
            show_default=False,
            help="Look no login up for it, nor ask a credential helper. Repeatable.",
        ),
    ] = ()
    plain_http: Annotated[
        tuple[str, ...],
        Parameter(
            metavar="REGISTRY", negative="", show_default=False, help="Speak to it without TLS. Repeatable."
        ),
    ] = ()
    ca: Annotated[
        Path | None,
        Parameter(metavar="FILE", help="Authorities to trust besides the system's, as PEM."),
    ] = None
    insecure: Annotated[
        tuple[str, ...],
        Parameter(
            metavar="REGISTRY",
            negative="",
            show_default=False,
            help="Speak TLS to it, but do not check its certificate. Repeatable.",
        ),
    ] = ()
    trust_realm: Annotated[
        tuple[str, ...],
        Parameter(
            metavar="REGISTRY=HOST",
            negative="",
            show_default=False,
            help="Send the registry's credentials to the token service at HOST[:PORT]. Repeatable.",
        ),
    ] = ()
    trust_upload_host: Annotated[
        tuple[str, ...],
        Parameter(
            metavar="REGISTRY=HOST",
            negative="",
            show_default=False,
            help="The registry may keep blobs at HOST[:PORT], though that is no public address; without"
            " credentials. Repeatable.",
        ),
    ] = ()
    registry_ca: Annotated[tuple[str, ...], _OF_ONE] = ()
    registry_jobs: Annotated[tuple[str, ...], _OF_ONE] = ()
    registry_upload_chunk: Annotated[tuple[str, ...], _OF_ONE] = ()
    requests_per_second: Annotated[tuple[str, ...], _OF_ONE] = ()
    mount_after_manifest: Annotated[
        tuple[str, ...],
        Parameter(
            metavar="REGISTRY",
            negative="",
            show_default=False,
            help="It mounts only what a committed manifest refers to, as ECR does. Repeatable.",
        ),
    ] = ()
    max_wait: Annotated[
        float,
        Parameter(
            metavar="SECONDS",
            validator=Number(gte=0),
            help="The longest that a registry is waited for where it asks for pauses; what asks for more then"
            " is given up. With 0, at once.",
        ),
    ] = 600
    no_cache: Annotated[
        bool,
        Parameter(
            negative="", show_default=False, help="Read every manifest anew; keep none for the next run."
        ),
    ] = False
    cache_limit: CacheLimit = CACHE_LIMIT

    verbose: Annotated[
        int,
        Parameter(
            alias="-v",
            count=True,
            negative="",
            show_default=False,
            help="Show requests that failed or were sent again; twice (-vv): every request.",
        ),
    ] = 0
    trace: Annotated[
        Path | None,
        Parameter(metavar="FILE", help="Write a line of JSON for every request, without secrets."),
    ] = None

    def plain(self) -> frozenset[Registry]:
        """The registries of ``--plain-http``; raises ``SpecError``."""
        return frozenset(map(Registry.parse, self.plain_http))

    def strangers(self) -> frozenset[Registry]:
        """The registries of ``--anonymous``; raises ``SpecError``."""
        return frozenset(map(Registry.parse, self.anonymous))

    def unchecked(self) -> frozenset[Registry]:
        """The registries of ``--insecure``; raises ``SpecError``."""
        return frozenset(map(Registry.parse, self.insecure))

    def committed_only(self) -> frozenset[Registry]:
        """The registries of ``--mount-after-manifest``; raises ``SpecError``."""
        return frozenset(map(Registry.parse, self.mount_after_manifest))


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Look:
    """How results look."""

    color: Annotated[
        Colour, Parameter(help="Whether to colour; auto goes by the terminal and NO_COLOR, FORCE_COLOR.")
    ] = "auto"


ALL, NETWORK, LOOK = Selection(), Network(), Look()
"""What holds where no option is given."""
