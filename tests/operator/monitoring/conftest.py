"""Repositories made with the real git, and keys made with the real ssh-keygen."""

import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

KEY_TYPES = ("ed25519", "ecdsa", "rsa")


@dataclass
class Git:
    """A repository and two keys; `git` runs there with nothing of this machine's configuration."""

    folder: Path
    keys: Path

    def __call__(self, *words: str) -> str:
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.keys),
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_AUTHOR_DATE": "1700000000 +0000",
            "GIT_COMMITTER_DATE": "1700000000 +0000",
        }
        who = ("-c", "user.name=A", "-c", "user.email=a@example.com", "-c", "gpg.format=ssh")
        return subprocess.run(
            ["git", *who, *words],
            cwd=self.folder,
            env=environment,
            check=True,
            capture_output=True,
            text=True,
            timeout=30,
        ).stdout.strip()

    def write(self, files: dict[str, bytes | str]) -> None:
        for name, content in files.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode() if isinstance(content, str) else content)

    def commit(self, files: dict[str, bytes | str], key: str = "") -> str:
        self.write(files)
        self("add", "-A", "-f")
        signed = ("-c", f"user.signingkey={self.keys / key}", "commit", "-S") if key else ("commit",)
        self(*signed, "-q", "--allow-empty", "-m", "a change")
        return self("rev-parse", "HEAD")

    def key(self, name: str, kind: str = "ed25519") -> str:
        """Makes a key; its line of an allowed_signers file."""
        command = ["ssh-keygen", "-q", "-t", kind, "-N", "", "-C", name, "-f", str(self.keys / name)]
        subprocess.run(command, check=True, capture_output=True, timeout=60)
        return f"{name}@example.com {(self.keys / f'{name}.pub').read_text()}"


@pytest.fixture
def make_git(tmp_path: Path) -> Callable[[], Git]:
    for program in ("git", "ssh-keygen"):
        if not shutil.which(program):
            pytest.skip(f"{program} makes the repositories of this test; install git and openssh-client")

    def make() -> Git:
        git = Git(tmp_path / "repository", tmp_path / "keys")
        git.folder.mkdir()
        git.keys.mkdir()
        git("init", "-q", "-b", "main")
        return git

    return make


@pytest.fixture
def git(make_git: Callable[[], Git]) -> Git:
    return make_git()
