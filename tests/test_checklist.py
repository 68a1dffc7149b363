"""What a client of registries must get right, as the advisories of others teach it: each line, and its tests."""

from __future__ import annotations

import asyncio
from importlib.metadata import version
from typing import Final

import pytest

from mmgraph.names import Registry, Repository
from mmgraph.oci import digest_of
from tests.support.mirror import mirror, pair
from tests.support.raw import Raw, answer, script
from tests.test_client import client
from tests.test_security import functions_of

CHECKLIST: Final = {
    "single-use bodies, nothing decoded, no cookies, no redirects of its own, no ~/.netrc, URLs sent as they are": (
        "test_bodies.py::test_a_body_is_sent_once",
        "test_bodies.py::test_an_encoded_blob_is_refused",
        "test_connection.py::test_a_redirect_takes_no_authorization_along",
        "test_proxies.py::test_a_login_of_netrc_is_not_sent",
        "test_sessions.py::test_aiohttp_reads_a_url_as_the_rules_do",
        "test_checklist.py::test_what_a_request_says",
    ),
    "a token service: asked with a login, without, or not at all; no redirects; the address that was judged": (
        "test_origins.py::test_realm",
        "test_origins.py::test_trust_realm",
        "test_origins.py::test_a_realm_not_to_be_asked",
        "test_sessions.py::test_a_realm_where_nobody_goes",
        "test_sessions.py::test_a_token_request_is_not_redirected",
        "test_resolver.py::test_rebinding",
    ),
    "an origin is scheme, host and port, and authorization, headers and certificates are of one": (
        "test_origins.py::test_portable",
        "test_sessions.py::test_authorization_does_not_come_back",
        "test_tls.py::test_a_client_certificate_is_shown_to_nobody_else",
    ),
    "redirects of reads alone, five at most, none that leaves TLS, none further in": (
        "test_connection.py::test_a_redirect_loop",
        "test_connection.py::test_writes_are_not_redirected",
        "test_origins.py::test_tls_is_not_left",
        "test_sessions.py::test_a_redirect_where_nobody_goes",
    ),
    "where an upload goes on: elsewhere without credentials, inside only where opened, with TLS where it began so": (
        "test_origins.py::test_upload_location",
        "test_sessions.py::test_an_upload_elsewhere",
        "test_sessions.py::test_an_upload_inside",
        "test_connection.py::test_a_location_behind_a_tls_proxy",
    ),
    "names and digests by a strict grammar, in linear time, before they are part of a URL, a header or a path": (
        "test_names.py::test_reference_refuses",
        "test_names.py::test_digest_refuses",
        "test_fuzz.py::test_mutants",
        "test_fuzz.py::test_patterns_are_linear",
    ),
    "limits of all bodies: manifests, tokens, errors, blobs": (
        "test_client.py::test_a_manifest_over_the_limit",
        "test_tokens.py::test_a_huge_answer",
        "scenarios/test_scenarios.py::test_scenario",
    ),
    "limits of graphs and of JSON": (
        "test_closure.py::test_a_tree_that_is_too_deep_is_refused",
        "test_closure.py::test_indexes_that_list_each_other_often_are_refused",
        "test_oci.py::test_wide_trees_are_refused",
        "test_oci.py::test_refuses_what_is_no_sound_json",
    ),
    "types that agree: header, mediaType, fields": (
        "test_oci.py::test_refuses",
        "test_closure.py::test_a_document_of_another_kind_than_listed_is_refused",
    ),
    "foreign text through one escape, cut, and quoted as each format wants": (
        "test_report_words.py::test_foreign_text_obeys_nobody",
        "test_report_words.py::test_long_text_is_cut",
        "test_report_dot.py::test_hostile_platforms_are_drawn_as_text",
        "test_connection.py::test_messages_are_fit_to_print",
    ),
    "secrets: typed, in no output, no file, no traceback; no URLs with passwords": (
        "test_secrets.py::test_a_secret_does_not_show",
        "test_canaries.py::test_commands",
        "test_canaries.py::test_a_server",
        "test_specs.py::test_passwords_are_not_echoed",
        "test_wire.py::test_redact",
    ),
    "credential helpers: their names, no shell, a time limit, an output limit, one host": (
        "test_helpers.py::test_names",
        "test_helpers.py::test_what_a_helper_sees",
        "test_helpers.py::test_failures",
        "test_helpers.py::test_time",
    ),
    "a saved plan is untrusted": (
        "test_saved.py::test_what_no_planner_writes_is_refused",
        "test_saved.py::test_every_truncation_is_refused",
        "test_cli_apply.py::test_a_plan_that_was_spoiled_is_named",
    ),
    "slow peers": (
        "test_watch.py::test_silence_is_ended_in_time",
        "test_watch.py::test_a_drip_is_ended_by_the_floor",
        "test_bodies.py::test_a_destination_that_sips_is_given_up",
    ),
    "tags that move between a look and a write": (
        "test_execute.py::test_a_tag_that_moved_meanwhile_is_left_alone",
        "test_staleness.py::test_a_tag_that_somebody_moved_is_stale",
        "test_staleness.py::test_a_source_that_moved_is_told_of",
    ),
    "two runs at once stay safe, without any lock": ("test_checklist.py::test_two_runs_at_once",),
    "files: whole or not at all, their owner's alone, through no symbolic link": (
        "scenarios/test_files.py::test_a_full_disk_keeps_the_old_plan",
        "test_cli_apply.py::test_a_saved_plan_is_its_owners_alone",
        "test_trace.py::test_a_trace_is_its_owners_alone",
        "test_trace.py::test_a_trace_does_not_follow_a_link",
    ),
    "a budget of repeating, and one image's failure is its own": (
        "test_health.py::test_the_budget_of_a_run",
        "test_health.py::test_a_repository_that_fails_for_ever_gets_no_more_retries",
    ),
}


@pytest.mark.parametrize("line", CHECKLIST)
def test_every_line_is_kept(line: str) -> None:
    """The tests that keep it are there."""
    named = (test.partition("::") for test in CHECKLIST[line])
    assert [] == [f"{file}::{test}" for file, _, test in named if test not in functions_of(f"tests/{file}")]


def test_the_client_library() -> None:
    """Below this version a body could be replayed empty (aio-libs/aiohttp#13330)."""
    assert (3, 14, 5) <= tuple(map(int, version("aiohttp").split(".")[:3]))


async def test_what_a_request_says() -> None:
    """Nothing is asked for in an encoding, and nothing of the environment goes along."""
    found = answer(200, docker_content_digest=digest_of(b"x"), set_cookie="sid=1")
    async with Raw(script(found)) as server, client(plain_http=[Registry(server.address)]) as wire:
        for _ in range(2):
            await wire.resolve(Repository(Registry(server.address), "a"), "v1")
    sent = [set(request.headers) for request in server.requests]
    encodings = {request.headers["accept-encoding"] for request in server.requests}
    assert ([{"host", "accept", "accept-encoding", "user-agent"}] * 2, {"identity"}) == (sent, encodings)


async def test_two_runs_at_once() -> None:
    """Two runs that do the same to one destination at the same time both succeed, and all is whole at the end."""
    async with pair() as p:
        for name in "abc":
            p.make.image(name, b"shared", name.encode(), tags=("v1",))
        specs = "".join(p.spec(f"{name}:v1") for name in "abc")
        with p.clock.autojump():
            runs = await asyncio.gather(*(mirror(specs, clock=p.clock) for _ in range(2)))
        source, destination = await p.closures("a", "b", "c")
    ends = {str(end) for run in runs for end in run.ends.values()}
    assert (True, set()) == (source == destination, ends - {"copied", "unchanged"})
