"""A commit of a Git repository, read from its objects: no checkout, no hook, no filter, no program. The home of dulwich."""

import stat
from collections.abc import Iterator

from dulwich.errors import NotGitRepository
from dulwich.object_store import BaseObjectStore
from dulwich.objects import Blob, ObjectID
from dulwich.objects import Commit as GitCommit
from dulwich.objects import Tree as GitTree
from dulwich.objectspec import parse_commit
from dulwich.repo import BaseRepo, Repo

from forebay_operator.model import MonitoringLacks
from forebay_operator.monitoring.source.base import Commit, Limits, collect, path_fault, refuse

BROKEN = (KeyError, ValueError, AssertionError, OSError)
"""What dulwich raises over an object that is missing or malformed (its own errors are among these)."""


def open_repository(path: str) -> Repo:
    """The repository that `path` is in. The caller closes it. Raises MonitoringLacks."""
    try:
        return Repo.discover(path)
    except NotGitRepository as exc:
        raise MonitoringLacks(f"{path} is in no Git repository") from exc


def read_commit(repository: BaseRepo, revision: str, folder: str = "", limits: Limits = Limits()) -> Commit:
    """The files below `folder` as of `revision` (a branch, tag or commit id). Raises MonitoringRefused."""
    commit = find_commit(repository, revision)
    name = commit.id.decode()
    try:
        root = find_folder(repository.object_store, commit.tree, folder.strip("/"))
        tree = collect(files_of(repository.object_store, root, "", limits), limits)
    except BROKEN as exc:
        raise refuse(folder or ".", "MAC004", f"commit {name[:12]}: an object is missing or broken: {exc}") from exc
    return Commit(name, commit.commit_time, commit.as_raw_string(), tree)


def find_commit(repository: BaseRepo, revision: str) -> GitCommit:
    try:
        return parse_commit(repository, revision.encode())
    except BROKEN as exc:
        raise refuse(".", "MAC004", f"there is no revision {revision!r}") from exc


def find_folder(objects: BaseObjectStore, tree: ObjectID, folder: str) -> ObjectID:
    """The id of the tree of `folder`."""
    for part in filter(None, folder.split("/")):
        found = objects[tree]
        assert isinstance(found, GitTree)
        if part.encode() not in found or not stat.S_ISDIR(found[part.encode()][0]):
            raise refuse(folder, "MAC004", "there is no such folder in this commit")
        tree = found[part.encode()][1]
    return tree


def files_of(objects: BaseObjectStore, tree: ObjectID, above: str, limits: Limits) -> Iterator[tuple[str, bytes]]:
    """Path and content of each file. A name is judged before what it names is read."""
    found = objects[tree]
    assert isinstance(found, GitTree)
    for entry in found.iteritems():
        path = above + entry.path.decode("utf-8", "backslashreplace")
        if fault := path_fault(path, limits):
            raise refuse(path, "MAC002", f"the path {fault}")
        if stat.S_ISDIR(entry.mode):
            yield from files_of(objects, entry.sha, f"{path}/", limits)
            continue
        if not stat.S_ISREG(entry.mode):
            raise refuse(path, "MAC001", f"is {kind_of(entry.mode)}; only plain files are read")
        blob = objects[entry.sha]
        assert isinstance(blob, Blob)
        yield path, blob.data


def kind_of(mode: int) -> str:
    return "a symbolic link" if stat.S_ISLNK(mode) else "a submodule" if mode == 0o160000 else f"of mode {mode:o}"
