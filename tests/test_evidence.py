"""Evidence: reasons are kept, doubts are doubts, holders are found."""

from mmgraph.evidence import UNKNOWN, Evidence, Known, Presence
from mmgraph.names import Digest, Registry, Repository

REPOSITORY = Repository(Registry("r.example"), "a")
OTHER = Repository(Registry("r.example"), "b")
ELSEWHERE = Repository(Registry("s.example"), "a")
DIGEST = Digest("sha256:" + "1" * 64)


def test_what_nobody_said_is_unknown() -> None:
    """Silence is no evidence of absence."""
    assert UNKNOWN == Evidence().known(REPOSITORY, DIGEST)


def test_the_first_reason_stays() -> None:
    """Two proofs of one thing: the reason shown is the first."""
    evidence = Evidence()
    evidence.hold(REPOSITORY, DIGEST, "listed by sha256:aaa, which v1 names")
    evidence.hold(REPOSITORY, DIGEST, "found by HEAD")
    expected = Known(Presence.PRESENT, "listed by sha256:aaa, which v1 names")
    assert expected == evidence.known(REPOSITORY, DIGEST)


def test_a_proof_outweighs_an_empty_tag_list() -> None:
    """A repository without tags can hold blobs of a run that was cut off."""
    evidence = Evidence()
    evidence.empty(REPOSITORY)
    evidence.hold(REPOSITORY, DIGEST, "found by HEAD")
    assert Presence.PRESENT is evidence.known(REPOSITORY, DIGEST).presence


def test_absence_says_how_it_is_known() -> None:
    """A 404 for the blob and a 404 for the repository are two reasons."""
    evidence = Evidence()
    evidence.lack(REPOSITORY, DIGEST)
    evidence.empty(OTHER)
    expected = [Known(Presence.ABSENT, "absent"), Known(Presence.ABSENT, "repository absent")]
    assert expected == [evidence.known(REPOSITORY, DIGEST), evidence.known(OTHER, DIGEST)]


def test_a_holder_is_of_the_same_registry() -> None:
    """Only a repository of the registry itself can be mounted from."""
    evidence = Evidence()
    evidence.hold(ELSEWHERE, DIGEST, "found by HEAD")
    evidence.hold(OTHER, DIGEST, "found by HEAD")
    assert (OTHER, None) == (
        evidence.holder(Registry("r.example"), DIGEST),
        evidence.holder(Registry("t.example"), DIGEST),
    )


def test_a_registry_s_own_no_outweighs_what_a_list_implies() -> None:
    """A child that an index lists, and that answers 404 by its digest, is absent."""
    evidence = Evidence()
    evidence.hold(REPOSITORY, DIGEST, "listed by sha256:aaa, which v1 names")
    evidence.lack(REPOSITORY, DIGEST)
    assert Presence.ABSENT is evidence.known(REPOSITORY, DIGEST).presence
