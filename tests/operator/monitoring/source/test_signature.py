import dataclasses

import pytest
from tests.operator.monitoring.conftest import KEY_TYPES, Git

from forebay_operator.model import BadManifest, MonitoringRefused
from forebay_operator.monitoring.source import signature
from forebay_operator.monitoring.source.git import open_repository, read_commit

FILES: dict[str, bytes | str] = {"forebay.yaml": "schema: 1\n"}


def raw(git: Git, revision: str = "HEAD") -> bytes:
    with open_repository(str(git.folder)) as repository:
        return read_commit(repository, revision).raw


def refused(commit: bytes, *lines: str) -> str:
    with pytest.raises(MonitoringRefused) as caught:
        signature.signer(commit, signature.read_trusted("\n".join(lines)))
    return caught.value.findings[0].code


@pytest.mark.parametrize("kind", KEY_TYPES)
def test_a_trusted_key_is_named(git: Git, kind: str) -> None:
    alice, bob = git.key("alice", kind), git.key("bob")
    git.commit(FILES, "alice")
    assert signature.signer(raw(git), signature.read_trusted(bob + alice)) == "alice@example.com"


@pytest.mark.parametrize("kind", KEY_TYPES)
def test_every_bit_of_the_commit_is_signed(git: Git, kind: str) -> None:
    alice = git.key("alice", kind)
    git.commit(FILES, "alice")
    commit = raw(git)
    for place in (10, commit.index(b"committer") + 12, len(commit) - 2):
        changed = commit[:place] + bytes([commit[place] ^ 1]) + commit[place + 1 :]
        assert refused(changed, alice) == "MAC103"


def test_a_stranger_is_refused(git: Git) -> None:
    alice, _ = git.key("alice"), git.key("bob")
    git.commit(FILES, "bob")
    assert refused(raw(git), alice) == "MAC102"
    assert refused(raw(git)) == "MAC102"


def test_an_unsigned_commit_is_refused(git: Git) -> None:
    alice = git.key("alice")
    git.commit(FILES)
    assert refused(raw(git), alice) == "MAC101"


def test_the_signature_of_another_commit_does_not_fit(git: Git) -> None:
    alice = git.key("alice")
    git.commit(FILES, "alice")
    first = raw(git)
    git.commit({"more": "x"}, "alice")
    other = signature.taken_apart(raw(git))[1].replace(b"\n", b"\n ")
    head, _, body = first.partition(b"\n\n")
    kept = head[: head.index(b"gpgsig ")] + b"gpgsig " + other
    assert refused(kept + b"\n\n" + body, alice) == "MAC103"


def test_a_signature_made_for_files_is_none_for_git(git: Git) -> None:
    alice = git.key("alice")
    git.commit(FILES, "alice")
    commit = raw(git)
    armored = signature.taken_apart(commit)[1]
    signed = signature.read_signature(armored)
    message, _ = signature.taken_apart(commit)
    assert signature.fits(signed, message)
    assert not signature.fits(dataclasses.replace(signed, namespace=b"file"), message)
    assert not signature.fits(dataclasses.replace(signed, hash="md5"), message)
    assert alice


def test_other_signatures_are_no_ssh_signatures() -> None:
    commit = b"tree x\ngpgsig -----BEGIN PGP SIGNATURE-----\n \n abc\n\nhello\n"
    assert refused(commit) == "MAC102"
    assert refused(commit.replace(b"PGP", b"SSH")) == "MAC103"


@pytest.mark.parametrize(
    "line", ["alice", "alice ssh-ed25519", "alice ssh-ed25519 AAAA", "alice cert-authority ssh-ed25519 AAAA"]
)
def test_a_broken_line_of_trusted_keys_is_named(line: str) -> None:
    with pytest.raises(BadManifest, match="line 2"):
        signature.read_trusted(f"# ours\n{line}\n")
