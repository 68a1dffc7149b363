"""``mmgraph serve``: a registry on loopback."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from mmgraph.cli import DONE


def serve(
    directory: Annotated[
        Path | None,
        Parameter(
            name="DIR", show_default=False, help="Where to keep images, as OCI layouts; memory if none."
        ),
    ] = None,
    /,
    *,
    listen: Annotated[
        str, Parameter(metavar="HOST:PORT", help="Where to listen; port 0 takes a free one.")
    ] = "127.0.0.1:0",
) -> int:
    """Serve until a signal comes."""
    import asyncio
    from ipaddress import ip_address

    from mmgraph import server
    from mmgraph.cli.interrupt import Interrupts, run
    from mmgraph.cli.output import emit, say
    from mmgraph.errors import SpecError
    from mmgraph.names import quote

    host, colon, port = listen.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 65535:
        raise SpecError(
            f"--listen {quote(listen)} is not HOST:PORT: write 127.0.0.1:5000, or port 0 for a free one"
        )

    def ready(address: str) -> None:
        # What the socket is bound to tells, whatever name was given for it.
        if not ip_address(address.rpartition(":")[0].strip("[]").partition("%")[0]).is_loopback:
            say(f"warning: whoever reaches {address} may push to it: it asks nobody who they are")
        emit(f"listening on {address}\n")

    async def work(interrupts: Interrupts) -> int:
        stop = asyncio.Event()
        interrupts.drain = stop.set
        await server.serve(
            directory,
            host.strip("[]") or "127.0.0.1",
            int(port),
            ready,
            stop,
        )
        return DONE

    return run(work)
