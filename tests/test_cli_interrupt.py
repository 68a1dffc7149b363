"""What an interrupted run says, and what it does not."""

import asyncio

import pytest

from mmgraph.cli.interrupt import Interrupts, run

TOLD = ("Unclosed client session", "Unclosed connector", "Task was destroyed but it is pending!")


@pytest.mark.parametrize(("debug", "heard"), [("", TOLD[2:]), ("1", TOLD)])
def test_what_aiohttp_says_of_open_connections_is_for_debugging(
    debug: str, heard: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is dropped unless somebody asked for more; other complaints of the loop are not."""
    monkeypatch.setenv("MMGRAPH_DEBUG", debug)

    async def work(_: Interrupts) -> int:
        for message in TOLD:
            asyncio.get_running_loop().call_exception_handler({"message": message})
        return 0

    run(work)
    assert list(heard) == [record.message for record in caplog.records]
