from typing import Any

import pytest

from forebay_operator.model import BadManifest
from forebay_operator.runtime import container

PLACE = container.Place("127.70.0.1", "/state/root", {"PATH": "/bin", "A": "outer"})
POD = {"metadata": {"name": "train-0", "namespace": "ns", "uid": "u"}}


def test_environment_holds_fields_and_earlier_entries() -> None:
    spec: dict[str, Any] = {
        "name": "member",
        "env": [
            {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
            {"name": "A", "value": "http://$(IP):1/$(LATER)/$$(IP)"},
        ],
    }
    env = container.environment(spec, POD, PLACE)
    assert env == {
        "PATH": "/bin",
        "FOREBAY_ROOT": "/state/root",
        "IP": "127.70.0.1",
        "A": "http://127.70.0.1:1/$(LATER)/$(IP)",
    }


def test_command_is_expanded_and_arguments_follow() -> None:
    spec = {"name": "m", "command": ["python", "-m", "x"], "args": ["--host", "$(IP)", "$(NO)"]}
    assert container.command(spec, {"IP": "1.2.3.4"}) == ["python", "-m", "x", "--host", "1.2.3.4", "$(NO)"]


def test_a_container_without_a_command_is_refused() -> None:
    with pytest.raises(BadManifest, match="no image"):
        container.command({"name": "m"}, {})


def test_an_unknown_field_is_refused_with_those_known() -> None:
    spec = {"name": "m", "env": [{"name": "X", "valueFrom": {"fieldRef": {"fieldPath": "spec.hostname"}}}]}
    with pytest.raises(BadManifest, match=r"status\.podIP"):
        container.environment(spec, POD, PLACE)


def test_ports_are_found_by_name() -> None:
    spec = {"name": "m", "ports": [{"name": "admin", "containerPort": 9450}, {"containerPort": 1, "protocol": "UDP"}]}
    assert container.port_number(spec, "admin") == 9450
    assert container.port_number(spec, 80) == 80
    assert container.container_ports({"spec": {"containers": [spec]}}) == [9450]
    with pytest.raises(BadManifest, match="no port named s3"):
        container.port_number(spec, "s3")
