"""``mmgraph auth check``: which logins apply to a set, and whether the registries take them."""

import asyncio
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from mmgraph.cli import DONE, FAILED
from mmgraph.cli.options import ALL, LOOK, NETWORK, Look, Network, Selection, Specs

if TYPE_CHECKING:
    from mmgraph.names import Registry, Repository
    from mmgraph.registry.auth import Grant
    from mmgraph.registry.credentials import Login
    from mmgraph.specs import CopySpec


@dataclass
class Question:
    """Whether a login may pull from or push to a repository, and what the registry says to that."""

    action: Literal["pull", "push"]
    repository: "Repository"
    ok: bool = False
    detail: str = ""


@dataclass
class Row:
    """What one login, or the lack of one, is good for at its registry."""

    registry: "Registry"
    login: "Login | None" = None
    problem: str = ""
    anonymous: bool = False
    questions: list[Question] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether all of the set could be done."""
        return not self.problem and all(question.ok for question in self.questions)

    @property
    def kind(self) -> str:
        """Which kind of login it is."""
        if self.problem:
            return "error"
        return self.login.kind if self.login else "anonymous"


def check(
    *specs: Specs,
    format: Annotated[Literal["text", "json"], Parameter(help="How the result looks.")] = "text",  # noqa: A002
    selection: Selection = ALL,
    network: Network = NETWORK,
    look: Look = LOOK,
) -> int:
    """Look up each login, ask each registry, and print what came of it."""
    from mmgraph.cli.inputs import load_specs
    from mmgraph.cli.interrupt import Interrupts, run
    from mmgraph.cli.output import emit
    from mmgraph.cli.session import Session, open_session
    from mmgraph.cli.strays import notice_strays
    from mmgraph.errors import MmgraphError

    chosen = load_specs(specs, selection)
    notice_strays(chosen, selection, network)

    async def answer(session: Session, row: Row, question: Question) -> None:
        try:
            grant = await session.client.authorize(question.repository, push=question.action == "push")
        except MmgraphError as error:
            question.detail = str(error)
        else:
            question.ok, question.detail = judged(grant, question.action, row.login is not None)

    async def rows(session: Session) -> list[Row]:
        found: dict[object, Row] = {}
        for action, repository in wanted(chosen):
            registry = repository.registry
            row = Row(registry, anonymous=session.credentials.is_anonymous(registry))
            try:
                row.login = await session.credentials.find(repository)
            except MmgraphError as error:
                row.problem = str(error)
            place = (row.login.file, row.login.key) if row.login else None
            row = found.setdefault((registry, place, row.problem), row)
            if not any(question.action == action for question in row.questions):
                row.questions.append(Question(action, repository))
        asked = [row for row in found.values() if not row.problem]
        await asyncio.gather(*(answer(session, row, each) for row in asked for each in row.questions))
        return sorted(found.values(), key=lambda row: (row.registry, row.login.key if row.login else ""))

    async def work(_: Interrupts) -> int:
        async with open_session(network, look.color) as session:
            made = await rows(session)
        emit(as_json(made) if format == "json" else as_text(made))
        return DONE if all(row.ok for row in made) else FAILED

    return run(work)


def wanted(specs: Iterable["CopySpec"]) -> Iterable[tuple[Literal["pull", "push"], "Repository"]]:
    """What a set does with which repositories, each once."""
    specs = list(specs)
    pulls = dict.fromkeys(spec.source.repository for spec in specs)
    pushes = dict.fromkeys(spec.destination.repository for spec in specs)
    yield from (("pull", repository) for repository in pulls)
    yield from (("push", repository) for repository in pushes)


def judged(grant: "Grant", action: str, login: bool) -> tuple[bool, str]:
    """Whether what the registry granted is enough, and what to call it."""
    if grant.wanted == "nothing":
        unseen = ", so the login was not shown" if login else ""
        return True, f"the registry asks for nothing{unseen}"
    if grant.granted is False:
        return False, f"there is a token, but not one to {action}"
    if action == "push" and not grant.known:
        return False, "there is a token for anybody, and no login that it would let push"
    return True, "there is a token" if grant.wanted == "a token" else "user and password are taken"


def as_text(rows: Iterable[Row]) -> str:
    """One paragraph for each row, and a line with the verdict."""
    from mmgraph.report.words import number, safe

    lines: list[str] = []
    made = list(rows)
    for row in made:
        where = f" from {row.login.file}, key {row.login.key}" if row.login else ""
        told = " (--anonymous)" if row.anonymous else ""
        lines.append(safe(f"{row.registry}: {row.kind}{where}{told}"))
        if row.problem:
            lines.append(safe(f"  {row.problem}", 2000))
        for question in row.questions if not row.problem else ():
            verdict = "ok" if question.ok else "FAILED"
            path = question.repository.path
            lines.append(safe(f"  {question.action} {path}: {verdict}, {question.detail}", 2000))
    bad = sum(not row.ok for row in made)
    lines.append(f"{bad} of {number(len(made), 'login')} will not do." if bad else "All logins will do.")
    return "\n".join(lines) + "\n"


def as_json(rows: Iterable[Row]) -> str:
    """The same for programs."""
    made = list(rows)

    def shown(row: Row) -> dict[str, Any]:
        return {
            "registry": row.registry,
            "kind": row.kind,
            "file": row.login.file if row.login else None,
            "key": row.login.key if row.login else None,
            "helper": (row.login.helper or None) if row.login else None,
            "ok": row.ok,
            "problem": row.problem or None,
            "checks": [
                {
                    "action": each.action,
                    "repository": each.repository.path,
                    "ok": each.ok,
                    "detail": each.detail,
                }
                for each in (row.questions if not row.problem else ())
            ],
        }

    return (
        json.dumps({"ok": all(row.ok for row in made), "logins": [shown(row) for row in made]}, indent=2)
        + "\n"
    )
