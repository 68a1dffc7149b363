"""Carrying out a plan: order, limits, draining, moved tags; what a registry is asked and what it is not."""

import asyncio
from collections.abc import AsyncGenerator, Sequence

import pytest

from mmgraph.account import Account
from mmgraph.cache import MemoryCache
from mmgraph.clock import Clock, SystemClock
from mmgraph.compile import Compiler
from mmgraph.events import Draining, Event, Finished, Outcome, Retried, Started, Surprise
from mmgraph.execute import DRAIN_SECONDS, Execution
from mmgraph.graph import Kind, Node
from mmgraph.names import Registry, Repository
from mmgraph.oci import OCI_MANIFEST, Manifest, digest_of, parse
from mmgraph.quirks import Learned, Quirk
from mmgraph.server import Delay, Drop, FaultPlan, Flip, Headers, Quirks, Refuse, Rule, Stall
from mmgraph.specs import CopySpec
from mmgraph.store import Operation, RawManifest
from tests.support.clock import ManualClock
from tests.support.making import content, digest, manifest, spec
from tests.support.rig import Rig, rig


async def lay(rigged: Rig, repository: str, tag: str, image: Manifest, *blobs: str, size: int = 10) -> None:
    """Lay an image of named blobs into the source."""
    place = rigged.repository(0, repository)
    for blob in blobs:
        rigged.put_blob(place, content(blob, size))
    await rigged.client.put_manifest(place, tag, image.digest, RawManifest(image.raw, image.media_type))


class Run:
    """Specs compiled against a rig, ready to be executed; keeps every event."""

    def __init__(self, rigged: Rig, specs: Sequence[tuple[str, str]], clock: Clock | None = None) -> None:
        self.rigged = rigged
        self.clock = clock or SystemClock()
        self.events: list[Event] = []
        source, *destinations = (server.address for server in rigged.servers)
        self.specs: list[CopySpec] = [
            spec(f"{source}/{wanted}", f"{destinations[0]}/{name}" if "." not in name else name)
            for wanted, name in specs
        ]

    async def prepare(self, max_failures: int | None = None, *, whole: bool = False) -> Execution:
        """Compile as ``apply`` does; ``whole``: before anything is carried out, as for a saved plan."""
        client = self.rigged.client
        compiler = Compiler(
            self.specs, client, client, MemoryCache(), self.clock, self.events.append, exact=False
        )
        plan = await (compiler.plan() if whole else compiler.begin())
        looks = compiler.evidence.looks
        growth = compiler.growth() if compiler.growing else None
        return Execution(
            plan, client, self.clock, self.events.append, looks, growth=growth, max_failures=max_failures
        )

    async def apply(self, max_failures: int | None = None) -> Account:
        """Compile and execute."""
        return await (await self.prepare(max_failures)).run()

    def outcomes(self, account: Account) -> dict[str, str]:
        """What became of each destination, by its repository and tag."""
        return {
            f"{end.goal.spec.destination.repository.path}:{end.goal.spec.destination.tag}": end.outcome
            for end in account.ends
        }

    def heard(self, kind: type[Event]) -> list[Event]:
        """The events of one type."""
        return [event for event in self.events if isinstance(event, kind)]


async def test_an_image_arrives_and_its_tag_names_it() -> None:
    """The thinnest whole path: two blobs, one manifest, one tag, all confirmed."""
    async with rig() as rigged:
        image = manifest("config", "layer")
        await lay(rigged, "a", "1", image, "config", "layer")
        run = Run(rigged, [("a:1", "b:1")])
        account = await run.apply()
        found = await rigged.client.find(rigged.repository(1, "b"), "1")
        assert ({"b:1": "copied"}, True, image.digest) == (
            run.outcomes(account),
            account.complete,
            found.digest if found else None,
        )


async def test_manifests_go_before_blobs_that_wait() -> None:
    """With one job, the first image is tagged before the last image's blobs have moved."""
    async with rig(jobs=1) as rigged:
        for number in range(4):
            await lay(
                rigged, f"a{number}", "1", manifest(f"c{number}", f"l{number}"), f"c{number}", f"l{number}"
            )
        rigged.servers[1].log._requests.clear()
        await Run(rigged, [(f"a{number}:1", f"b{number}:1") for number in range(4)]).apply()
        kinds = [
            request.kind
            for request in rigged.servers[1].log
            if request.kind in (Operation.PUT_BLOB, Operation.PUT_MANIFEST)
        ]
        assert kinds.index(Operation.PUT_MANIFEST) < len(kinds) - 1 - kinds[::-1].index(Operation.PUT_BLOB)


async def test_what_is_under_way_at_a_registry_is_bounded() -> None:
    """``jobs=2``: never more than two requests are answered at once on either side."""
    async with rig(jobs=2) as rigged:
        names = [f"l{number}" for number in range(12)]
        await lay(rigged, "a", "1", manifest("config", *names), "config", *names)
        for server in (0, 1):
            rigged.fault(server, Rule(Delay(0.005)))
            rigged.servers[server].log.peak = 0
        await Run(rigged, [("a:1", "b:1")]).apply()
        assert (2, True) == (
            max(server.log.peak for server in rigged.servers),
            all(rigged.client.take([Registry(server.address)], []) for server in rigged.servers),
        )


async def test_several_tags_of_one_digest_are_one_put_each() -> None:
    """The root goes with the first tag; nothing is put by digest."""
    async with rig(jobs=1) as rigged:  # the further tags go at once, in no order, where they may
        await lay(rigged, "a", "1", manifest("config"), "config")
        await Run(rigged, [("a:1", "b:1"), ("a:1", "b:2"), ("a:1", "b:3")]).apply()
        puts = [request.name for request in rigged.servers[1].log.select(Operation.PUT_MANIFEST)]
        assert ["1", "2", "3"] == puts


async def test_one_image_to_several_registries_is_one_get() -> None:
    """The uploads of two registries share the stream."""
    async with rig(2) as rigged:
        await lay(rigged, "a", "1", manifest("config", "layer"), "config", "layer")
        second = rigged.servers[2].address
        run = Run(rigged, [("a:1", "b:1"), ("a:1", f"{second}/b:1")])
        account = await run.apply()
        gets = rigged.servers[0].log.count(Operation.GET_BLOB)
        assert (True, 2, 2) == (account.complete, gets, len({e.digest for e in run.heard(Started)}))  # type: ignore[attr-defined]


async def test_a_second_run_asks_for_tags_and_nothing_else() -> None:
    """One HEAD for each distinct source tag, one for each destination tag."""
    async with rig() as rigged:
        await lay(rigged, "a", "1", manifest("config"), "config")
        run = Run(rigged, [("a:1", "b:1"), ("a:1", "b:2")])
        await run.apply()
        before = [len(server.log) for server in rigged.servers]
        account = await run.apply()
        asked = [
            [request.kind for request in list(server.log)[start:]]
            for server, start in zip(rigged.servers, before, strict=True)
        ]
        expected = [[Operation.HEAD_MANIFEST], [Operation.HEAD_MANIFEST] * 2]
        assert (expected, {"b:1": "unchanged", "b:2": "unchanged"}) == (asked, run.outcomes(account))


async def test_a_tag_that_moved_meanwhile_is_left_alone() -> None:
    """More than thirty seconds after the look, a third value at the destination fails the spec and is not touched."""
    clock = ManualClock()
    async with rig(clock=clock) as rigged:
        wanted, other = manifest("config"), manifest("other")
        await lay(rigged, "a", "1", wanted, "config")
        await lay(rigged, "a", "other", other, "other")
        run = Run(rigged, [("a:1", "b:1"), ("a:1", "b:2")], clock)
        execution = await run.prepare()
        place = rigged.repository(1, "b")
        rigged.put_blob(place, content("other"))
        await rigged.client.put_manifest(place, "1", other.digest, RawManifest(other.raw, other.media_type))
        await clock.advance(31)
        account = await execution.run()
        found = await rigged.client.find(place, "1")
        cause = account.ends[0].cause
        expected = ({"b:1": "failed", "b:2": "copied"}, other.digest, True)
        assert expected == (
            run.outcomes(account),
            found.digest if found else None,
            "moved meanwhile" in cause,
        )


async def test_a_tag_that_somebody_else_set_right_is_fine() -> None:
    """The renewed look finds the planned digest: the tag is written once more and the spec is done."""
    clock = ManualClock()
    async with rig(clock=clock) as rigged:
        wanted = manifest("config")
        await lay(rigged, "a", "1", wanted, "config")
        run = Run(rigged, [("a:1", "b:1")], clock)
        execution = await run.prepare()
        place = rigged.repository(1, "b")
        rigged.put_blob(place, content("config"))
        await rigged.client.put_manifest(
            place, "1", wanted.digest, RawManifest(wanted.raw, wanted.media_type)
        )
        await clock.advance(31)
        assert {"b:1": "copied"} == run.outcomes(await execution.run())


async def test_one_refused_tag_does_not_take_its_twin_along() -> None:
    """Two tags of one digest, one of them immutable: the other is written."""
    async with rig() as rigged:
        await lay(rigged, "a", "1", manifest("config"), "config")
        rigged.fault(1, Rule(Refuse(403, "DENIED"), Operation.PUT_MANIFEST, name="1"))
        run = Run(rigged, [("a:1", "b:1"), ("a:1", "b:2")])
        assert {"b:1": "failed", "b:2": "copied"} == run.outcomes(await run.apply())


async def test_a_failure_that_passes_is_retried() -> None:
    """The source drops a blob's connection and the destination a PUT: both heal, and the first says so."""
    async with rig() as rigged:
        await lay(rigged, "a", "1", manifest("config", "layer"), "config", "layer")
        rigged.fault(1, Rule(Drop(), Operation.PUT_BLOB, count=1))
        run = Run(rigged, [("a:1", "b:1")])
        assert {"b:1": "copied"} == run.outcomes(await run.apply())


async def test_wrong_bytes_are_tried_twice_and_then_final() -> None:
    """A source that lies about a blob is asked once more, no more; the spec fails with the digest error."""
    async with rig() as rigged:
        image = manifest("config")
        await lay(rigged, "a", "1", image, "config")
        rigged.fault(0, Rule(Flip(), Operation.GET_BLOB))
        run = Run(rigged, [("a:1", "b:1")])
        account = await run.apply()
        expected = ({"b:1": "blocked"}, 2, 1, True)
        assert expected == (
            run.outcomes(account),
            rigged.servers[0].log.count(Operation.GET_BLOB),
            len(run.heard(Retried)),
            "other bytes" in account.ends[0].cause,
        )


async def test_enough_failures_stop_the_rest() -> None:
    """``max_failures=1``: after the first failed spec nothing new starts, and the others are stopped."""
    async with rig(jobs=1) as rigged:
        for number in range(5):
            await lay(rigged, f"a{number}", "1", manifest(f"c{number}"), f"c{number}")
        rigged.fault(1, Rule(Refuse(403, "DENIED"), Operation.POST_UPLOAD, repository="b0"))
        run = Run(rigged, [(f"a{number}:1", f"b{number}:1") for number in range(5)])
        outcomes = run.outcomes(await run.apply(max_failures=1))
        assert ("blocked", True) == (outcomes["b0:1"], "stopped" in outcomes.values())


async def test_enough_failures_before_anything_was_read_stop_the_rest() -> None:
    """A source that is not there is one failure too many: the others are stopped, each spec has its end."""
    async with rig() as rigged:
        for number in range(3):
            await lay(rigged, f"a{number}", "1", manifest(f"c{number}"), f"c{number}")
        run = Run(rigged, [("gone:1", "b:1"), *((f"a{number}:1", f"b{number}:1") for number in range(3))])
        account = await run.apply(max_failures=1)
        assert ["failed", *["stopped"] * 3] == [end.outcome for end in account.ends]


async def test_draining_lets_what_runs_end_and_starts_nothing_new() -> None:
    """After ``drain`` the running upload ends, its manifest is not begun, and the spec is stopped."""
    async with rig(jobs=1) as rigged:
        await lay(rigged, "a", "1", manifest("config", "layer"), "config", "layer")
        rigged.fault(1, Rule(Delay(0.05), Operation.PUT_BLOB))
        run = Run(rigged, [("a:1", "b:1")])
        execution = await run.prepare()
        task = asyncio.create_task(execution.run())
        while not run.heard(Started):
            await asyncio.sleep(0.001)
        execution.drain()
        account = await task
        log = rigged.servers[1].log
        expected = ({"b:1": "stopped"}, 1, 0, 1, 0)
        assert expected == (
            run.outcomes(account),
            log.count(Operation.PUT_BLOB, status=201),
            log.count(Operation.PUT_MANIFEST),
            len(run.heard(Draining)),
            rigged.servers[1].open_sessions,
        )


async def test_what_does_not_end_within_the_drain_is_cancelled() -> None:
    """A stalled upload is cancelled after twenty-five seconds, and its session with it."""
    clock = ManualClock()
    async with rig(clock=clock) as rigged:
        await lay(rigged, "a", "1", manifest("config"), "config")
        rigged.fault(0, Rule(Stall(), Operation.GET_BLOB))
        run = Run(rigged, [("a:1", "b:1")], clock)
        execution = await run.prepare()
        task = asyncio.create_task(execution.run())
        while not rigged.servers[1].open_sessions:
            await asyncio.sleep(0.001)
        execution.drain()
        await clock.advance(DRAIN_SECONDS - 1)
        still = task.done()
        await clock.advance(2)
        account = await task
        assert (False, {"b:1": "stopped"}, 0) == (
            still,
            run.outcomes(account),
            rigged.servers[1].open_sessions,
        )


async def test_a_silent_registry_does_not_hold_the_end_up(clock: ManualClock) -> None:
    """Sessions that nothing has used are cancelled all together, for ten seconds at most."""
    async with rig(clock=clock) as rigged:
        names = [f"l{number}" for number in range(40)]
        await lay(rigged, "a", "1", manifest("config", *names), "config", *names)
        execution = await Run(rigged, [("a:1", "b:1")], clock).prepare(whole=True)
        for work in execution._ledger:
            if work.node.kind is Kind.BLOB:
                work.session = await rigged.client.start(work.node.repository, work.digest, None)
        rigged.fault(1, Rule(Stall(request=True), Operation.DELETE_UPLOAD))
        execution.drain()
        began = clock.now()
        with clock.autojump():
            await execution.run()
        assert 10.0 == clock.now() - began


async def test_cancelling_a_run_leaves_nothing_behind() -> None:
    """No session at the destination, no slot taken in any window."""
    async with rig(2, jobs=1) as rigged:
        await lay(rigged, "a", "1", manifest("config"), "config")
        rigged.fault(0, Rule(Stall(), Operation.GET_BLOB))
        second = rigged.servers[2].address
        execution = await Run(rigged, [("a:1", "b:1"), ("a:1", f"{second}/b:1")]).prepare()
        task = asyncio.create_task(execution.run())
        while not all(server.open_sessions for server in rigged.servers[1:]):
            await asyncio.sleep(0.001)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        registries = [Registry(server.address) for server in rigged.servers]
        slots = rigged.client.take(registries, registries)
        assert (True, [0, 0]) == (slots is not None, [server.open_sessions for server in rigged.servers[1:]])


async def test_a_probe_is_sent_once_to_each_registry_that_was_written() -> None:
    """However many blobs land: one self-mount of one that was committed."""
    async with rig() as rigged:
        names = [f"l{number}" for number in range(6)]
        await lay(rigged, "a", "1", manifest("config", *names), "config", *names)
        run = Run(rigged, [("a:1", "b:1")])
        account = await run.apply()
        counts = account.requests[Registry(rigged.servers[1].address)]
        assert (1, 7) == (counts[Operation.PROBE], counts[Operation.POST_UPLOAD])


async def test_every_spec_is_told_of_once() -> None:
    """Created, unchanged and failed specs each end with one event."""
    async with rig() as rigged:
        await lay(rigged, "a", "1", manifest("config"), "config")
        run = Run(rigged, [("a:1", "b:1"), ("gone:1", "b:2")])
        await run.apply()
        finished = run.heard(Finished)
        outcomes = sorted((event.destination.tag, event.outcome) for event in finished)  # type: ignore[attr-defined]
        assert [("1", "copied"), ("2", "failed")] == outcomes


async def test_a_registry_without_digest_headers_is_read_back() -> None:
    """Where the PUT's answer has no digest, the tag is confirmed by looking at it."""
    plan = FaultPlan([Rule(Headers({"Docker-Content-Digest": None}), Operation.PUT_MANIFEST)])
    async with rig(plans=[FaultPlan(), plan]) as rigged:
        await lay(rigged, "a", "1", manifest("config"), "config")
        run = Run(rigged, [("a:1", "b:1")])
        account = await run.apply()
        heads = rigged.servers[1].log.count(Operation.HEAD_MANIFEST)
        assert ({"b:1": "copied"}, 2) == (run.outcomes(account), heads)


async def test_what_is_sent_is_what_was_read() -> None:
    """A manifest with odd white space and a newline at its end arrives byte for byte."""
    async with rig() as rigged:
        raw = b"\n" + manifest("config").raw.replace(b", ", b" ,\t") + b"\n"
        odd = parse(raw, OCI_MANIFEST)
        assert isinstance(odd, Manifest)
        await lay(rigged, "a", "1", odd, "config")
        await Run(rigged, [("a:1", "b:1")]).apply()
        place: Repository = rigged.repository(1, "b")
        assert raw == (await rigged.client.manifest(place, "1")).raw


async def test_a_new_tag_of_a_manifest_whose_blobs_are_gone_heals() -> None:
    """An old tag proves a manifest whose blob is gone since: both are sent again, and the tag is written."""
    async with rig() as rigged:
        image = manifest("config", "layer")
        await lay(rigged, "a", "1", image, "config", "layer")
        await Run(rigged, [("a:1", "b:1")]).apply()
        place = rigged.repository(1, "b")
        rigged._storages[1].remove_blob(place.path, digest("layer"))
        run = Run(rigged, [("a:1", "b:1"), ("a:1", "b:2")])
        outcomes = run.outcomes(await run.apply())
        expected = ({"b:1": "unchanged", "b:2": "copied"}, content("layer"))
        assert expected == (outcomes, rigged.blob(place, digest("layer")))


async def test_sessions_of_refused_mounts_are_closed_when_the_run_stops() -> None:
    """A mount is refused, and the run is drained before the upload could begin: no session stays open."""
    plans = [FaultPlan(), FaultPlan(quirks=Quirks(no_mounts=True))]
    async with rig(plans=plans, jobs=1) as rigged:
        image = manifest("config", "layer")
        await lay(rigged, "a", "1", image, "config", "layer")
        run = Run(rigged, [("a:1", "b:1"), ("a:1", "c:1")])
        execution = await run.prepare()

        def stop_at_refusal(event: Event) -> None:
            if isinstance(event, Surprise):
                execution.drain()

        execution._report = stop_at_refusal
        outcomes = run.outcomes(await execution.run())
        assert ("stopped", 0) == (outcomes["c:1"], rigged.servers[1].open_sessions)


async def test_an_image_named_by_another_algorithm_is_recognised() -> None:
    """The source is pinned by sha512, the destination names its tag by sha256: a second run has nothing to do."""
    async with rig() as rigged:
        image = manifest("config")
        pinned = digest_of(image.raw, "sha512")
        place = rigged.repository(0, "a")
        rigged.put_blob(place, content("config"))
        await rigged.client.put_manifest(place, pinned, pinned, RawManifest(image.raw, image.media_type))
        run = Run(rigged, [(f"a@{pinned}", "b:1")])
        first = run.outcomes(await run.apply())
        named = await rigged.client.find(rigged.repository(1, "b"), "1")
        second = run.outcomes(await run.apply())
        expected = ({"b:1": "copied"}, "sha256", {"b:1": "unchanged"})
        assert expected == (first, named.digest.algorithm if named else None, second)


async def test_a_refused_mount_whose_upload_fails_is_tried_so_often_and_no_more() -> None:
    """The mount is not asked for again and again: four PUTs of the blob, then the failure is final."""
    plans = [FaultPlan(), FaultPlan(quirks=Quirks(no_mounts=True))]
    clock = ManualClock()
    async with rig(plans=plans, clock=clock) as rigged:
        await lay(rigged, "a", "1", manifest("config"), "config")
        rigged.fault(1, Rule(Refuse(500), Operation.PUT_BLOB, repository="c"))
        run = Run(rigged, [("a:1", "b:1"), ("a:1", "c:1")], clock)
        with clock.autojump():
            outcomes = run.outcomes(await run.apply())
        posts = [
            request.mount_from
            for request in rigged.servers[1].log.select(Operation.POST_UPLOAD, repository="c")
        ]
        expected = ({"b:1": "copied", "c:1": "blocked"}, 1)
        assert expected == (outcomes, posts.count("b"))


async def test_a_digest_goal_outlives_the_tag_of_the_same_image() -> None:
    """The tag is refused, the manifest is wanted by its digest as well: it is put, and that spec is done."""
    async with rig() as rigged:
        image = manifest("config")
        await lay(rigged, "a", "1", image, "config")
        rigged.fault(1, Rule(Refuse(403, "DENIED"), Operation.PUT_MANIFEST, name="1"))
        run = Run(rigged, [("a:1", "b:1"), (f"a@{image.digest}", f"b@{image.digest}")])
        account = await run.apply()
        assert ["failed", "copied"] == [end.outcome for end in account.ends]


async def test_one_source_that_lost_a_blob_does_not_take_another_along() -> None:
    """Two images from two repositories share a blob that one lacks: in one repository, and at two registries."""
    async with rig(2) as rigged:
        image = manifest("config")
        for repository in ("bad", "good"):
            await lay(rigged, repository, "1", image, "config")
        rigged._storages[0].remove_blob("bad", digest("config"))
        second = rigged.servers[2].address
        run = Run(rigged, [("bad:1", "b:1"), ("good:1", "b:2"), ("good:1", f"{second}/c:1")])
        account = await run.apply()
        assert ["copied"] * 3 == [end.outcome for end in account.ends]


async def test_an_image_that_enters_late_is_not_taken_along_by_a_source_that_lost_a_blob() -> None:
    """As above, but the blob has failed before the image that has it elsewhere enters."""
    async with rig() as rigged:
        await lay(rigged, "bad", "1", manifest("config", "one"), "config", "one")
        await lay(rigged, "good", "1", manifest("config", "two"), "config", "two")
        rigged._storages[0].remove_blob("bad", digest("config"))
        rigged.fault(0, Rule(Delay(0.2), Operation.GET_MANIFEST, repository="good"))
        run = Run(rigged, [("bad:1", "b:1"), ("good:1", "b:2")])
        execution = await run.prepare()
        growth = execution._growth
        assert growth is not None

        async def late() -> AsyncGenerator[Sequence[Node], None]:
            entered = 0
            async for nodes in growth:
                while entered == 1 and not run.heard(Finished):
                    await asyncio.sleep(0.01)
                entered += bool(nodes)
                yield nodes

        execution._growth = late()
        account = await execution.run()
        assert ["blocked", "copied"] == [end.outcome for end in account.ends]


async def test_two_blind_registries_that_copy_to_each_other_do_not_lock_up() -> None:
    """The question whether a blob is there needs no slot of its own while a transfer holds all others."""
    quirks = Quirks(blind_self_mount=True)
    plans = [FaultPlan(quirks=quirks), FaultPlan(quirks=quirks)]
    async with rig(plans=plans, jobs=1) as rigged:
        one, two = (server.address for server in rigged.servers)
        names = [f"l{number}" for number in range(4)]
        await lay(rigged, "a", "1", manifest("config", *names), "config", *names)
        other = manifest("c2", *[f"m{number}" for number in range(4)])
        place = rigged.repository(1, "z")
        for blob in ("c2", "m0", "m1", "m2", "m3"):
            rigged.put_blob(place, content(blob))
        await rigged.client.put_manifest(place, "1", other.digest, RawManifest(other.raw, other.media_type))
        run = Run(rigged, [])
        run.specs = [spec(f"{one}/a:1", f"{two}/b:1"), spec(f"{two}/z:1", f"{one}/y:1")]
        execution = await run.prepare()
        for address in (one, two):
            rigged.client.quirks.learn(Registry(address), Quirk.BLIND)
        account = await asyncio.wait_for(execution.run(), 30)
        assert ["copied", "copied"] == [end.outcome for end in account.ends]


# Bad days of a registry


async def test_a_tee_does_not_wait_for_a_paused_target() -> None:
    """One registry asks to wait for a minute: the others' images are done before, and its own after."""
    clock = ManualClock()
    async with rig(2, clock=clock) as rigged:
        await lay(rigged, "a", "1", manifest("config", "layer"), "config", "layer")
        second = rigged.servers[2].address
        run = Run(rigged, [("a:1", "b:1"), ("a:1", f"{second}/b:1")], clock)
        execution = await run.prepare()
        rigged.fault(
            2, Rule(Refuse(429, "TOOMANYREQUESTS", {"Retry-After": "60"}), Operation.POST_UPLOAD, count=1)
        )
        began = clock.now()
        ended: dict[str, float] = {}
        forward = execution._report

        def note(event: Event) -> None:
            if isinstance(event, Finished):
                ended[event.destination.repository.registry] = clock.now() - began
            forward(event)

        execution._report = note
        with clock.autojump():
            account = await execution.run()
        first = rigged.servers[1].address
        assert (True, True, True) == (account.complete, ended[first] < 15, ended[second] >= 60)


async def test_a_registry_that_takes_no_writes_fails_fast() -> None:
    """Its images fail with one cause after a few requests, and the other registry's are done."""
    async with rig(2) as rigged:
        names = [f"l{number}" for number in range(30)]
        await lay(rigged, "a", "1", manifest("config", *names), "config", *names)
        second = rigged.servers[2].address
        rigged.fault(2, Rule(Refuse(405, "UNSUPPORTED"), Operation.POST_UPLOAD))
        specs = [("a:1", "b:1"), *(("a:1", f"{second}/b{number}:1") for number in range(5))]
        run = Run(rigged, specs)
        account = await run.apply()
        posts = rigged.servers[2].log.count(Operation.POST_UPLOAD)
        causes = {end.cause.partition(" takes no writes")[0] for end in account.ends if end.cause}
        assert (1, 5, True, True) == (
            account.count(Outcome.COPIED),
            account.count(Outcome.FAILED) + account.count(Outcome.BLOCKED),
            posts < 100,
            any(cause.endswith(second) for cause in causes),
        )


async def test_a_repository_that_fails_for_ever_fails_alone() -> None:
    """500 to every upload of one repository: its image fails, the others are done."""
    clock = ManualClock()
    async with rig(clock=clock) as rigged:
        for number in range(4):
            names = [f"c{number}", *(f"l{number}-{each}" for each in range(10))]
            await lay(rigged, f"a{number}", "1", manifest(*names), *names)
        run = Run(rigged, [(f"a{number}:1", f"b{number}:1") for number in range(4)], clock)
        execution = await run.prepare()
        rigged.fault(1, Rule(Refuse(500, "UNKNOWN"), Operation.POST_UPLOAD, repository="b1"))
        with clock.autojump():
            account = await execution.run()
        expected = {"b0:1": "copied", "b1:1": "blocked", "b2:1": "copied", "b3:1": "copied"}
        assert expected == run.outcomes(account)


async def test_a_destination_that_goes_away() -> None:
    """Once nobody answers there, all that is to be written there fails with one cause, and no blob is read for it."""
    clock = ManualClock()
    async with rig(2, clock=clock) as rigged:
        names = [f"l{number}" for number in range(40)]
        await lay(rigged, "a", "1", manifest("config", *names), "config", *names)
        second = rigged.servers[2].address
        run = Run(rigged, [("a:1", "b:1"), ("a:1", f"{second}/b:1")], clock)
        execution = await run.prepare()
        await rigged.servers[2].stop()
        with clock.autojump():
            account = await execution.run()
        assert (1, True) == (
            account.count(Outcome.COPIED),
            f"{second} cannot be reached" in " ".join(end.cause for end in account.ends),
        )


async def test_a_tag_whose_answer_was_lost_is_moved() -> None:
    """The write of a tag that names an old image is answered by 502: the old one is still there, so it is put again."""
    clock = ManualClock()
    async with rig(clock=clock) as rigged:
        wanted, other = manifest("config"), manifest("other")
        await lay(rigged, "a", "1", wanted, "config")
        place = rigged.repository(1, "b")
        rigged.put_blob(place, content("other"))
        await rigged.client.put_manifest(place, "1", other.digest, RawManifest(other.raw, other.media_type))
        run = Run(rigged, [("a:1", "b:1")], clock)
        execution = await run.prepare()
        rigged.fault(1, Rule(Refuse(502, "UNKNOWN"), Operation.PUT_MANIFEST, name="1", count=1))
        with clock.autojump():
            account = await execution.run()
        found = await rigged.client.find(place, "1")
        assert ({"b:1": "moved"}, wanted.digest) == (run.outcomes(account), found.digest if found else None)


async def test_what_a_quota_leaves_is_deferred() -> None:
    """With two manifests above the reserve, two images are read; the others say so, and are among the failed."""
    left = Headers({"ratelimit-limit": "100;w=21600", "ratelimit-remaining": "7;w=21600"})
    async with rig() as rigged:
        for number in range(5):
            await lay(rigged, f"a{number}", "1", manifest(f"c{number}"), f"c{number}")
        rigged.fault(0, Rule(left, Operation.HEAD_MANIFEST))
        run = Run(rigged, [(f"a{number}:1", f"b{number}:1") for number in range(5)])
        account = await run.apply()
        causes = [end.cause.partition(": 1")[0] for end in account.ends if end.outcome == "failed"]
        assert (2, ["deferred: quota"] * 3) == (account.count(Outcome.COPIED), causes)


@pytest.mark.parametrize(("declared", "pauses"), [([0], 0), ([], 1)], ids=["counts", "does not"])
async def test_a_limit_of_manifests_holds_nothing_else_up(declared: list[int], pauses: int) -> None:
    """Docker Hub's 429 is about GETs of manifests: two images are copied whole, the rest deferred, and nothing waits.

    Of a registry that is not known to count them, the same answer is about all of it.
    """
    spent = {"ratelimit-limit": "100;w=21600", "ratelimit-remaining": "0;w=21600"}
    clock = ManualClock()
    async with rig(declared={Quirk.COUNTS_MANIFESTS: declared}, clock=clock) as rigged:
        for number in range(5):
            await lay(rigged, f"a{number}", "1", manifest(f"c{number}"), f"c{number}")
        limited = Refuse(429, "TOOMANYREQUESTS", headers=spent)
        rigged.fault(0, Rule(limited, Operation.GET_MANIFEST, skip=2))
        with clock.autojump():
            account = await Run(
                rigged, [(f"a{number}:1", f"b{number}:1") for number in range(5)], clock
            ).apply()
        traffic = account.traffic[Registry(rigged.servers[0].address)]
        causes = [end.cause.partition(": 1")[0] for end in account.ends if end.outcome is Outcome.FAILED]
        assert (["deferred: quota"] * 3, 2, False) == (
            causes,
            account.count(Outcome.COPIED),
            account.complete,
        )
        assert pauses == min(1, traffic.pauses)


async def test_what_was_learned_is_in_the_account() -> None:
    """A registry that turned out to be blind is told of once, with the rest of what happened."""
    plans = [FaultPlan(), FaultPlan(quirks=Quirks(blind_self_mount=True))]
    async with rig(plans=plans) as rigged:
        for number in range(3):
            await lay(rigged, f"a{number}", "1", manifest(f"c{number}"), f"c{number}")
        run = Run(rigged, [(f"a{number}:1", f"b{number}:1") for number in range(3)])
        account = await run.apply()
        assert (Learned(Registry(rigged.servers[1].address), Quirk.BLIND),) == account.quirks


async def test_a_tag_that_moves_while_a_registry_asks_to_wait_is_left_alone() -> None:
    """The PUT of a tag is told to wait five minutes, and somebody else sets the tag meanwhile: it is not touched."""
    clock = ManualClock()
    async with rig(clock=clock) as rigged:
        wanted, other = manifest("config"), manifest("other")
        await lay(rigged, "a", "1", wanted, "config")
        refuse = Refuse(429, "TOOMANYREQUESTS", headers={"Retry-After": "300"})
        rigged.fault(1, Rule(refuse, Operation.PUT_MANIFEST, name="1", count=1))
        run = Run(rigged, [("a:1", "b:1")], clock)
        execution = await run.prepare()
        task = asyncio.create_task(execution.run())
        log = rigged.servers[1].log
        while not log.count(Operation.PUT_MANIFEST, status=429):
            await asyncio.sleep(0.001)
        place = rigged.repository(1, "b")
        rigged.put_blob(place, content("other"))
        storage = rigged._storages[1]
        storage.put_manifest(place.path, other.digest, RawManifest(other.raw, other.media_type), "1")
        while not task.done():
            await clock.advance(60)
        outcomes = run.outcomes(await task)
        found = storage.tags(place.path)["1"]
        assert ({"b:1": "failed"}, other.digest) == (outcomes, found)


async def test_the_first_bytes_move_before_the_last_manifest_is_read() -> None:
    """Forty images: the source has sent a blob before it was asked for the last image's manifest."""
    async with rig() as rigged:
        for number in range(40):
            await lay(rigged, f"a{number}", "1", manifest(f"c{number}"), f"c{number}")
        rigged.fault(0, Rule(Delay(0.05), Operation.GET_MANIFEST, skip=20))
        rigged.servers[0].log._requests.clear()
        account = await Run(rigged, [(f"a{number}:1", f"b{number}:1") for number in range(40)]).apply()
        kinds = [request.kind for request in rigged.servers[0].log]
        last = len(kinds) - 1 - kinds[::-1].index(Operation.GET_MANIFEST)
        assert (40, True) == (account.count(Outcome.COPIED), kinds.index(Operation.GET_BLOB) < last)


async def test_nothing_is_sent_before_every_name_has_been_looked_at() -> None:
    """Where a blob lands is chosen with all that is there in view: every HEAD of a tag comes before the first POST."""
    async with rig() as rigged:
        for number in range(40):
            await lay(rigged, f"a{number}", "1", manifest(f"c{number}"), f"c{number}")
        rigged.servers[1].log._requests.clear()
        await Run(rigged, [(f"a{number}:1", f"b{number}:1") for number in range(40)]).apply()
        kinds = [request.kind for request in rigged.servers[1].log]
        assert 40 == kinds[: kinds.index(Operation.POST_UPLOAD)].count(Operation.HEAD_MANIFEST)


async def test_what_was_not_read_when_the_run_stopped_is_told_apart() -> None:
    """Drained while most images are still to be read: each spec has its end, in the order of the set."""
    async with rig() as rigged:
        for number in range(40):
            await lay(rigged, f"a{number}", "1", manifest(f"c{number}"), f"c{number}")
        rigged.fault(0, Rule(Stall(), Operation.GET_MANIFEST, skip=4))
        run = Run(rigged, [(f"a{number}:1", f"b{number}:1") for number in range(40)])
        execution = await run.prepare()
        task = asyncio.ensure_future(execution.run())
        while len(run.heard(Finished)) < 4:
            await asyncio.sleep(0.01)
        execution.drain()
        account = await task
        assert (4, 36) == (account.count(Outcome.COPIED), account.count(Outcome.STOPPED))
        assert run.specs == [end.goal.spec for end in account.ends]
