"""The table of bad days, whole: rows by number, and where those are kept that have tests of their own."""

from __future__ import annotations

from tests.scenarios import (
    answers,
    chunks,
    documents,
    idle,
    presence,
    reading,
    redirects,
    tokens,
    weather,
    words,
    writing,
)
from tests.scenarios.rows import Elsewhere

ROWS = tuple(
    sorted(
        (
            *reading.ROWS,
            *redirects.ROWS,
            *documents.ROWS,
            *writing.ROWS,
            *chunks.ROWS,
            *idle.ROWS,
            *presence.ROWS,
            *tokens.ROWS,
            *weather.ROWS,
            *words.ROWS,
            *answers.ROWS,
        ),
        key=lambda row: row.title,
    )
)

ELSEWHERE = (
    Elsewhere(5, "bit-flip-lax-dst", ("tests/test_rough_edges.py::test_wrong_bytes_are_never_committed",)),
    Elsewhere(
        16,
        "slow-src-idle-dst",
        (
            "tests/test_transfer.py::test_the_put_waits_for_the_first_bytes",
            "tests/test_rough_edges.py::test_destination_cut_in_mid_body",
        ),
    ),
    Elsewhere(20, "redirect-auth", ("tests/test_tls.py::test_a_client_certificate_is_shown_to_nobody_else",)),
    Elsewhere(21, "redirect-down", ("tests/test_sessions.py::test_a_redirect_where_nobody_goes",)),
    Elsewhere(55, "token-storm", ("tests/test_connection.py::test_a_token_storm",)),
    Elsewhere(57, "realm-other-host", ("tests/test_sessions.py::test_a_realm_where_nobody_goes",)),
    Elsewhere(
        72,
        "ref-strings",
        (
            "tests/test_names.py::test_reference_refuses",
            "tests/test_fuzz.py::test_mutants",
            "tests/test_fuzz.py::test_lines_are_linear",
        ),
    ),
    Elsewhere(
        73,
        "tag-moved-src",
        (
            "tests/test_staleness.py::test_a_source_that_moved_is_told_of",
            "tests/test_cli_apply.py::test_a_source_that_moved_is_told_of_and_the_plan_carried_out",
        ),
    ),
    Elsewhere(
        88,
        "repo-absent",
        (
            "tests/test_repositories.py::test_before_the_first_upload",
            "tests/test_repositories.py::test_a_failure",
            "tests/test_repositories.py::test_somebody_was_faster",
        ),
    ),
    Elsewhere(
        78,
        "kill-9",
        (
            "tests/test_crash_points.py::test_every_point",
            "tests/test_crash_points.py::test_a_real_process",
            "tests/test_crash.py::test_killed_and_run_again",
            "tests/test_crash.py::test_killed_again_and_again",
        ),
    ),
    Elsewhere(
        79,
        "sigint-twice",
        (
            "tests/test_cli_apply.py::test_a_signal_lets_what_runs_come_to_its_end",
            "tests/test_cli_apply.py::test_a_second_signal_stops_at_once",
        ),
    ),
    Elsewhere(80, "disk-full", ("tests/scenarios/test_files.py::test_a_full_disk_keeps_the_old_plan",)),
    Elsewhere(
        83,
        "plan-hostile",
        (
            "tests/test_saved.py::test_what_no_planner_writes_is_refused",
            "tests/test_saved.py::test_what_is_no_plan_is_refused",
            "tests/test_saved.py::test_a_flood_is_refused_before_it_is_decoded",
            "tests/test_cli_saved.py::test_a_registry_that_is_not_allowed_ends_it",
            "tests/test_cli_apply.py::test_a_plan_that_was_spoiled_is_named",
        ),
    ),
    Elsewhere(
        84,
        "nested-list",
        (
            "tests/test_rough_edges.py::test_nested_index",
            "tests/test_rough_edges.py::test_attestations_follow_their_images",
        ),
    ),
    Elsewhere(85, "foreign-layer", ("tests/test_rough_edges.py::test_foreign_layer_is_not_fetched",)),
    Elsewhere(
        91,
        "dns-tls",
        (
            "tests/test_connection.py::test_an_unknown_host",
            "tests/test_connection.py::test_a_certificate_that_does_not_fit",
            "tests/test_connection.py::test_a_server_with_tls_that_hangs_up",
            "tests/test_dial.py::test_no_address",
            "tests/test_dial.py::test_no_connection",
            "tests/test_dial.py::test_no_end_of_the_handshake",
            "tests/test_dial.py::test_a_handshake_that_hangs_once",
            "tests/test_tls.py::test_a_wrong_certificate",
        ),
    ),
)
