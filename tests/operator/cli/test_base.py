import os
from pathlib import Path

import pytest

from forebay_operator.cli.base import default_state


@pytest.mark.parametrize(
    ("environment", "uid", "place"),
    [
        ({"FOREBAY_STATE": "/s", "XDG_RUNTIME_DIR": "/run/user/1"}, 1, "/s"),
        ({"XDG_RUNTIME_DIR": "/run/user/1", "HOME": "/home/a"}, 1, "/run/user/1/forebay"),
        ({"HOME": "/home/a"}, 1, "/home/a/.local/state/forebay/default"),
        ({"HOME": "/root"}, 0, "/run/forebay/default"),
        ({}, 1, "/run/forebay/default"),
    ],
)
def test_both_terminals_of_a_user_look_at_the_same_place(
    environment: dict[str, str], uid: int, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    assert default_state(environment) == Path(place)
