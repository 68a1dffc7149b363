"""Repetition: whether a request is sent again, and how long is waited before.

Owns the one layer of retries of the client: what it gives up is final for everybody above. Must not know sockets:
what is to be repeated comes as a function, what an answer means from ``policy``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from mmgraph.errors import MmgraphError, NetworkError, RegistryError
from mmgraph.quirks import Quirk
from mmgraph.registry import wire
from mmgraph.registry.failures import (
    ADVICE,
    ExhaustedError,
    LimitedError,
    NoConnectionError,
    NoHttpError,
    SilenceError,
)
from mmgraph.registry.gate import ALL, WRITING, PausedError
from mmgraph.registry.health import Health
from mmgraph.registry.policy import (
    PATIENCE,
    TRIES,
    WRITES,
    Verdict,
    asked_to_wait,
    classify,
    delay_bound,
    limited_class,
    overloaded,
    unclear,
)
from mmgraph.registry.quota import Quotas
from mmgraph.store import Operation

if TYPE_CHECKING:
    import random
    from collections.abc import Awaitable, Callable

    from mmgraph.clock import Clock
    from mmgraph.names import Registry, Repository
    from mmgraph.quirks import Quirks
    from mmgraph.registry.bodies import Answer
    from mmgraph.registry.gate import Gate

_NEXT_TO_NOTHING: Final = 0.01
"""Seconds that are not worth another pause."""
_MANIFESTS: Final = frozenset({Operation.GET_MANIFEST, Operation.HEAD_MANIFEST})


class Request:
    """One request through all its repetitions: how often it was sent, and how long it was told to wait.

    ``about`` tells it from others of the same operation in the repository, in all the runs of the queue.
    """

    __slots__ = ("about", "operation", "repository", "tries", "waited")

    def __init__(self, operation: Operation, repository: Repository, about: str = "") -> None:
        self.operation = operation
        self.repository = repository
        self.about = about
        self.tries = 0
        self.waited = 0.0

    @property
    def registry(self) -> Registry:
        """Where it goes."""
        return self.repository.registry


class _Told:
    """How long a registry was waited for in one go: ``waited`` since it last answered otherwise, ``until`` then.

    ``began`` is when the last pause did, ``before`` when the one before it was over.
    """

    __slots__ = ("before", "began", "overlong", "until", "waited")

    def __init__(self) -> None:
        self.waited = 0.0
        self.until = self.began = self.before = float("-inf")
        self.overlong = False
        """Whether it has asked for more than is ever waited: that is tried once, and no second time."""

    def in_vain(self, seconds: float, began: float, longest: float) -> bool:
        """Whether what ``began`` then, and is told to wait once more, shows that waiting for ``longest`` was no use.

        An answer to what was sent before the pause says nothing of what came of waiting.
        """
        return began >= self.until and (
            longest - self.waited < _NEXT_TO_NOTHING or (self.overlong and seconds > longest)
        )

    def wait(self, seconds: float, now: float, longest: float) -> bool:
        """Count another pause of ``seconds``, or what is left of ``longest``; whether there is one."""
        self.overlong |= seconds > longest
        start = max(now, self.until)
        more = min(now + seconds - start, longest - self.waited)
        if more <= 0:
            return False
        if now >= self.until:
            self.before, self.began = self.until, start
        self.waited += more
        self.until = start + more
        return True


class _Said(NamedTuple):
    """An answer that asks to wait: the beginning of a sentence about it, its status and its codes."""

    words: str
    status: int
    codes: tuple[str, ...]


class Retries:
    """Sends what it is handed until repeating cannot better the answer; learns from every answer of the run."""

    def __init__(self, clock: Clock, chance: random.Random, gate: Gate, quirks: Quirks) -> None:
        self.health = Health()
        self.quotas = Quotas()
        self._quirks = quirks
        self._clock = clock
        self._chance = chance
        self._gate = gate
        self._overloads: dict[tuple[Registry, str], int] = {}
        """How often in a row a class was told to wait without being told for how long."""
        self._told: dict[tuple[Registry, str], _Told] = {}
        """By registry, and whether it or its token service has told (``ALL``, ``Operation.TOKEN``), or by operation."""
        self._elsewhere: dict[tuple[Operation, Repository, str], float] = {}
        """The seconds for which requests have waited at hosts that are not the registry's own."""

    async def ask(
        self,
        request: Request,
        once: Callable[[bool], Awaitable[Answer]],
        final: Callable[[Answer], bool] = lambda answer: False,
        look: Callable[[bool], Awaitable[None]] | None = None,
        *,
        held: bool = False,
        patience: float = PATIENCE,
    ) -> Answer:
        """Call ``once`` until its answer is not worth repeating or ``final``; it is told whether it is a repeat.

        Each time under a slot of its own, so that nobody holds one while waiting; ``held``: the caller has it,
        and waits with it for ``patience`` at most where another host than the registry's own asks for that.
        ``look`` finds out what became of a request that may have taken effect, or lost its session; it is told
        whether another try follows, and what it raises is raised from here.
        """
        while True:
            try:
                answer = await self._under_slot(request, once, held=held)
            except PausedError as error:
                if held:
                    raise  # back to the queue, and later again
                request.waited += error.seconds
                if request.waited > self._gate.max_wait:  # its token is refused, whatever others get
                    raise _like(
                        error, f"{error}, after {request.waited:.0f} that it was waited for"
                    ) from None
                continue
            except NetworkError as error:
                if error.final:
                    raise
                request.tries += 1
                going_on = await self.again(request, error)
                if look is not None and not isinstance(error, NoConnectionError | LimitedError):
                    await look(going_on)
                if not going_on:
                    raise
                continue
            request.tries += 1
            answer.tries = request.tries
            verdict = Verdict.FINAL if final(answer) else answer.verdict
            lost = look is not None and verdict is Verdict.SESSION
            if not answer.own and verdict in (Verdict.AGAIN, Verdict.WAIT):
                going_on = await self._again_elsewhere(request, answer, patience if held else float("inf"))
            elif verdict is Verdict.WAIT:
                going_on = await self.wait(request)
            else:
                going_on = (lost or verdict is Verdict.AGAIN) and await self.again(request)
            if look is not None and (lost or (verdict is Verdict.AGAIN and unclear(answer.status))):
                await look(going_on)
            if not going_on:
                return answer

    async def _under_slot(
        self, request: Request, once: Callable[[bool], Awaitable[Answer]], *, held: bool
    ) -> Answer:
        if held:
            return await once(request.tries > 0)
        operation = request.operation
        with await self._gate.acquire(request.registry, write=operation in WRITES, operation=operation):
            return await once(request.tries > 0)

    async def again(
        self, request: Request, error: NetworkError | None = None, seconds: float | None = None
    ) -> bool:
        """Wait before what failed is tried again; False where it is given up, which ``error`` is told.

        For ``seconds``, by default for as long as chance has it.
        """
        limit = error.attempts if isinstance(error, LimitedError) else TRIES
        if request.tries >= limit or not self.health.may_repeat(request.repository, request.operation):
            if request.tries >= TRIES:
                self.health.given_up(request.repository, request.operation)
            if error is not None:
                give_up(error, request.tries)
            return False
        # Where there is no connection all wait at the gate, which may have been closed meanwhile.
        if not (isinstance(error, NoConnectionError | LimitedError) and self._gate.stopped(request.registry)):
            await self._clock.sleep(
                self._chance.uniform(0, delay_bound(request.tries)) if seconds is None else seconds
            )
        return True

    async def _again_elsewhere(self, request: Request, answer: Answer, patience: float) -> bool:
        """``again`` after the answer of a host that is not the registry's own: it may ask for longer than that waits.

        The registry is not paused for it; this request waits, for --max-wait in all.
        """
        seconds = self.asked_elsewhere(answer, request.repository, request.about)
        if seconds is None:
            return await self.again(request)
        if seconds <= patience:
            return seconds > 0 and await self.again(request, seconds=seconds)
        words = f"{answer.shown}: {answer.status}, and asks to wait, for {seconds:.0f} seconds from now"
        error = PausedError(words, status=answer.status, codes=answer.said.codes)
        error.seconds = seconds
        raise error

    def asked_elsewhere(self, answer: Answer, repository: Repository, about: str) -> float | None:
        """Return for how long a host that is not the registry's own is waited for, as it asks; counts it as waited.

        None where it does not ask, 0 where what ``about`` names has waited for --max-wait already.
        """
        if answer.own or answer.verdict not in (Verdict.AGAIN, Verdict.WAIT):
            return None
        asked = asked_to_wait(answer.headers, self._clock.wall())
        if not asked:
            return None
        key = (answer.operation, repository, about)
        waited, longest = self._elsewhere.get(key, 0.0), self._gate.max_wait
        seconds = max(0.0, min(asked, longest - waited))
        if seconds < _NEXT_TO_NOTHING:
            answer.advice = (
                f"it asks to wait for {asked:.0f} seconds, longer than --max-wait allows ({longest:.0f})"
            )
            return 0.0
        self._elsewhere[key] = waited + seconds
        return seconds

    async def wait(self, request: Request) -> bool:
        """Whether to wait at the gate where everybody waits: bounded by the sum of the pauses, not by tries."""
        if not self._gate.stopped(request.registry, request.operation):
            # No pause came of it: it was asked for elsewhere, or is over already.
            return await self.again(request)
        if self._gate.closed(request.registry, write=request.operation in WRITES):
            return True  # to hear at the gate why, as all others do
        request.waited += max(1.0, self._gate.left(request.registry, request.operation))
        return request.waited <= self._gate.max_wait

    def spend(self, error: MmgraphError, repository: Repository, operation: Operation) -> None:
        """Count what only others can repeat, as its body is not held, among the run's retries; none left: final."""
        if not error.final and not error.waits and not self.health.may_repeat(repository, operation):
            error.final = True

    # What every answer teaches

    def heard(self, repository: Repository, answer: Answer, began: float) -> None:
        """An answer came: let window, pauses and memory learn from it."""
        registry, operation = repository.registry, answer.operation
        self.health.answered(registry)
        if operation in _MANIFESTS:
            self.quotas.heard(registry, answer.headers)
        if operation is Operation.HEAD_MANIFEST and _tells_nothing(answer):
            # Learned for the report alone, and HEAD goes on being asked first: 405 is about one repository (RFC 9110,
            # 15.5.6), 501 may be said by what stands behind a proxy there, and a HEAD is counted by no quota.
            self._quirks.learn(registry, Quirk.DUMB_HEAD)
        verdict = answer.verdict
        if verdict not in (Verdict.AGAIN, Verdict.WAIT):
            if answer.status < 400:
                self.health.worked(repository, operation)
            if self._overloads:
                self._overloads.pop((registry, ALL), None)
                self._overloads.pop((registry, operation), None)
            if answer.own and self._told:
                self._obliged(registry, ALL, began)
                self._obliged(registry, operation, began)
            self._settle(registry, operation, began, overloaded=False)
            return
        self._settle(
            registry, operation, began, overloaded=verdict is Verdict.WAIT or overloaded(answer.status)
        )
        if answer.own:
            self._pause(registry, answer, began)

    def _pause(self, registry: Registry, answer: Answer, began: float) -> None:
        """Let everybody wait whom the answer concerns, for as long as it says."""
        counts = self._quirks.has(registry, Quirk.COUNTS_MANIFESTS)
        name = (limited_class(answer.operation, answer.said.codes) if counts else None) or ALL
        seconds = asked = asked_to_wait(answer.headers, self._clock.wall())
        if seconds is None and answer.verdict is Verdict.WAIT:
            if name != ALL:  # a quota of manifests, which does not come back within any pause
                self.quotas.exhausted(registry)
                return
            self._overloads[registry, name] = count = self._overloads.get((registry, name), 0) + 1
            seconds = self._chance.uniform(0, delay_bound(count))
        if not seconds:
            return
        if name == ALL:
            said = _Said(f"{answer.shown}: {answer.status}, and {registry}", answer.status, answer.said.codes)
            told = "" if asked is None else f" for {asked:.0f} seconds"
            self._pause_all(registry, ALL, answer.operation, said, seconds, began, told)
        elif seconds <= self._gate.max_wait:
            self._gate.pause(registry, seconds, name)
        else:
            self.quotas.exhausted(registry)

    def _obliged(self, registry: Registry, who: str, began: float) -> None:
        """Whoever may tell to wait has answered otherwise what was sent after the last pause: that was worth it."""
        told = self._told.get((registry, who))
        if told is None:
            return
        if began >= told.until:
            told.waited = 0.0
        elif began >= told.before:
            # Of several that asked at once one got what it asked for, and another was told to wait before that was
            # heard of.
            told.waited = min(told.waited, told.until - told.began)

    def _pause_all(
        self,
        registry: Registry,
        who: str,
        operation: Operation,
        said: _Said,
        seconds: float,
        began: float,
        told: str,
    ) -> None:
        """Let everybody wait for ``--max-wait`` in one go at most; where that was of no use, give the registry up.

        Once for all that wait there: a thousand images do not wait one after the other. One that answers what is read
        and never what is written is given up for that ``operation`` alone.
        """
        now, longest = self._clock.now(), self._gate.max_wait
        whole = self._told.setdefault((registry, who), _Told())
        part = self._told.setdefault((registry, operation), _Told())
        for so_far, name in ((whole, ALL), (part, operation)):
            if so_far.in_vain(seconds, began, longest):
                after = f", after {so_far.waited:.0f} that it was waited for" if so_far.waited else ""
                self._close(said, registry, name, seconds, f"{told}{after}")
                return
        if part is not whole:
            part.wait(seconds, now, longest)
        if whole.wait(seconds, now, longest):
            self._gate.pause(registry, whole.until - now)

    def unheard(self, registry: Registry, operation: Operation, error: NetworkError, began: float) -> None:
        """No answer came from the registry itself, or none that could be read."""
        now = self._clock.now()
        if isinstance(
            error, ExhaustedError
        ):  # less at once is all that helps, and whether anybody is there is open
            self._settle(registry, operation, began, overloaded=True)
            return
        silent = not isinstance(error, NoConnectionError | LimitedError)
        if isinstance(error, SilenceError) or not silent:
            self._settle(registry, operation, began, overloaded=True)
        count = self.health.unreachable(registry, began, now, silent=silent)
        if count is None:
            return
        if self.health.gone(registry) or (isinstance(error, LimitedError) and count >= error.attempts):
            hint = error.hint if isinstance(error, NoHttpError) else ""
            words = f"{registry} cannot be reached: {_tried(error, count) if count > 1 else error}{hint}"

            def gone() -> MmgraphError:
                found = NetworkError(words)
                found.tries, found.final, found.common = count, True, True
                return found

            self._gate.close_for(registry, gone)
        elif not silent:
            self._gate.pause(registry, self._chance.uniform(0, delay_bound(count)))

    def refused(self, repository: Repository, error: RegistryError) -> None:
        """An upload may not begin in ``repository``: the next to ask there, or at a read-only registry, need not."""
        if self.health.refused(repository, error):
            words = f"{repository.registry} takes no writes: {error}"
            self._gate.close_for(repository.registry, lambda: _like(error, words), WRITING)

    def check(self, repository: Repository) -> None:
        """Raise where the repository has refused an upload before: one answer is enough for all that wait there."""
        error = self.health.refusal(repository)
        if error is not None:
            raise _like(error, str(error))

    async def token(
        self,
        registry: Registry,
        shown: str,
        once: Callable[[bool], Awaitable[tuple[int, bytes, float | None]]],
    ) -> tuple[int, bytes, int]:
        """Send a request to a token service until its status is not worth repeating; return it, the body and the tries.

        ``once`` tells, too, for how long the service asks to wait: all that its registry is asked for then does, since
        most of it needs a token. The budget of repeating is the registry's, and so is that of waiting. Raises
        ``PausedError`` where that takes long, since whoever needs the token holds slots.
        """
        tries = 0
        while True:
            await self._gate.passed(registry, patience=PATIENCE)
            asked, began = None, self._clock.now()
            try:
                status, content, asked = await once(tries > 0)
            except NetworkError as error:
                tries += 1
                limit = error.attempts if isinstance(error, LimitedError) else TRIES
                if tries >= limit or not self.health.may_spend(registry):
                    give_up(error, tries)
                    raise
            else:
                tries += 1
                if classify(Operation.TOKEN, status) not in (Verdict.AGAIN, Verdict.WAIT):
                    self._obliged(registry, Operation.TOKEN, began)
                    return status, content, tries
                if tries == TRIES or not self.health.may_spend(registry):
                    return status, content, tries
            if asked:
                said = _Said(f"{shown}: {status}, and the token service of {registry}", status, ())
                told = f" for {asked:.0f} seconds"
                self._pause_all(registry, Operation.TOKEN, Operation.TOKEN, said, asked, began, told)
                try:
                    await self._gate.passed(registry, patience=PATIENCE)
                except PausedError as error:
                    error.seconds = self._gate.left(registry)
                    raise
            else:
                await self._clock.sleep(self._chance.uniform(0, delay_bound(tries)))

    def _settle(self, registry: Registry, operation: Operation, began: float, *, overloaded: bool) -> None:
        self._gate.settle(registry, operation, began, overloaded=overloaded)

    def _close(self, said: _Said, registry: Registry, name: str, seconds: float, told: str) -> None:
        longest = self._gate.max_wait
        words = f"{said.words} asks to wait{told}, longer than --max-wait allows ({longest:.0f})"
        error = RegistryError(words, status=said.status, codes=said.codes)
        self._gate.close_for(registry, lambda: _like(error, words), name, seconds)


def _tells_nothing(answer: Answer) -> bool:
    """Whether an answer to HEAD of a manifest leaves open what is there."""
    unnamed = wire.header_digest(answer.header("Docker-Content-Digest")) is None
    return answer.status in (405, 501) or (answer.status == 200 and unnamed)


def give_up(error: NetworkError, tries: int) -> None:
    """Mark ``error`` as final and let its message say after how many tries."""
    if tries > 1:
        error.args = (_tried(error, tries), *error.args[1:])
    error.tries, error.final = tries, True


def _tried(error: NetworkError, tries: int) -> str:
    """What failed, after how many tries, and only then what helps."""
    advice = next(filter(str(error).endswith, ADVICE), "")
    return f"{str(error).removesuffix(advice)}, after {tries} tries{advice}"


def _like(error: RegistryError, words: str) -> RegistryError:
    """A new error that is final, as each who is told needs one of its own."""
    found = RegistryError(words, status=error.status, codes=error.codes, detail=error.detail)
    found.tries, found.final, found.common = error.tries, True, True
    return found
