"""The files of examples/kubernetes say what Kubernetes and KEDA take, and fit the programs that they start."""

from __future__ import annotations

import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

import macaque.server
from backend import __main__ as backend
from frontend.settings import Settings, address
from mqlight.amqp.types import Peer
from mqlight.dialects import dialect_of
from mqlight.dialects.base import Wanted
from mqlight.dialects.keys import unquote
from processes import ROOT, Server, Spawn

FOLDER = ROOT / "examples/kubernetes"
VERSIONS = ["1.30.0", "1.34.0"]

# The part of KEDA 2's ScaledObject and TriggerAuthentication, and of its RabbitMQ scaler, that is used here. KEDA's own
# schema is in no package for Python 3.10.
TEXT = {"type": "string", "minLength": 1}
COUNT = {"type": "integer", "minimum": 0}


def strict(required: dict[str, Any], **optional: Any) -> dict[str, Any]:
    """An object with these members and no others."""
    return {
        "type": "object",
        "properties": required | optional,
        "required": list(required),
        "additionalProperties": False,
    }


RABBITMQ = strict(
    {
        "queueName": TEXT,
        "mode": {"enum": ["QueueLength", "MessageRate"]},
        "value": {"type": "string", "pattern": r"^\d+(\.\d+)?$"},
    },
    protocol={"enum": ["amqp", "http", "auto"]},
    vhostName=TEXT,
    activationValue={"type": "string", "pattern": r"^\d+(\.\d+)?$"},
    excludeUnacknowledged={"enum": ["true", "false"]},
)
KEDA = {
    "ScaledObject": strict(
        {
            "scaleTargetRef": strict({"name": TEXT}, kind=TEXT, apiVersion=TEXT),
            "triggers": {
                "type": "array",
                "minItems": 1,
                "items": strict(
                    {"type": {"const": "rabbitmq"}, "metadata": RABBITMQ}, authenticationRef=strict({"name": TEXT})
                ),
            },
        },
        minReplicaCount=COUNT,
        maxReplicaCount=COUNT,
        pollingInterval=COUNT,
        cooldownPeriod=COUNT,
    ),
    "TriggerAuthentication": strict(
        {"secretTargetRef": {"type": "array", "items": strict({"parameter": TEXT, "name": TEXT, "key": TEXT})}}
    ),
}


def load(path: Path) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(path.read_text()))


OBJECTS = [item for path in sorted(FOLDER.glob("*.yaml")) for item in load(path)]
BY_NAME = {(item["kind"], item["metadata"]["name"]): item for item in OBJECTS}
DEPLOYMENTS = [item for item in OBJECTS if item["kind"] == "Deployment"]
SECRET = BY_NAME["Secret", "fishalive-broker"]


def name_of(item: dict[str, Any]) -> str:
    return f"{item['kind']}-{item['metadata']['name']}"


def pod(deployment: dict[str, Any]) -> dict[str, Any]:
    return deployment["spec"]["template"]["spec"]  # type: ignore[no-any-return]


def container(deployment: dict[str, Any]) -> dict[str, Any]:
    (only,) = pod(deployment)["containers"]
    return only  # type: ignore[no-any-return]


FRONTEND = BY_NAME["Deployment", "fishalive-frontend"]
BACKEND = BY_NAME["Deployment", "fishalive-backend"]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("item", [item for item in OBJECTS if "keda" not in item["apiVersion"]], ids=name_of)
def test_kubernetes_takes_it(item: dict[str, Any], version: str) -> None:
    kubernetes_validate.validate(item, version, strict=True)


def test_the_check_finds_what_is_wrong() -> None:
    wrong = {**BACKEND, "spec": {**BACKEND["spec"], "replica": 1}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, VERSIONS[0], strict=True)


@pytest.mark.parametrize("item", [item for item in OBJECTS if "keda" in item["apiVersion"]], ids=name_of)
def test_keda_takes_it(item: dict[str, Any]) -> None:
    assert item["apiVersion"] == "keda.sh/v1alpha1"
    jsonschema.Draft202012Validator(KEDA[item["kind"]]).validate(item["spec"])


def queue_of(topic: str, share: str) -> str:
    """The queue from which RabbitMQ's dialect has the members of a share receive."""
    peer = Peer("rabbit", None, {"product": "RabbitMQ", "version": "4.0.5"}, (), ())
    source = dialect_of(peer, {}).source(Wanted("backend", topic, share))
    address = source.terminus.address
    assert address is not None
    return unquote(address.removeprefix("/queues/"))


def test_keda_counts_the_words_of_the_back_end_and_scales_it() -> None:
    scaled = BY_NAME["ScaledObject", "fishalive-backend"]["spec"]
    assert scaled["scaleTargetRef"]["name"] == BACKEND["metadata"]["name"]
    assert "replicas" not in BACKEND["spec"]
    (trigger,) = scaled["triggers"]
    assert trigger["metadata"]["queueName"] == queue_of(backend.SERVICE, backend.SHARE_ID)
    (access,) = BY_NAME["TriggerAuthentication", trigger["authenticationRef"]["name"]]["spec"]["secretTargetRef"]
    assert access["name"] == SECRET["metadata"]["name"] and access["key"] in SECRET["stringData"]
    assert access["parameter"] == "host"


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=name_of)
def test_what_is_secret_comes_from_the_secret(deployment: dict[str, Any]) -> None:
    variables = [each for each in container(deployment)["env"] if "valueFrom" in each]
    secret = {each["name"]: each["valueFrom"]["secretKeyRef"] for each in variables}
    assert "MACAQUE_BROKER" in secret
    for reference in secret.values():
        assert reference["name"] == SECRET["metadata"]["name"] and reference["key"] in SECRET["stringData"]


def test_the_front_end_takes_its_settings() -> None:
    environment = {each["name"]: each.get("value", "s" * 64) for each in container(FRONTEND)["env"]}
    assert Settings.of(environment).secret == "s" * 64


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=name_of)
def test_nothing_runs_as_root_writes_or_gains_rights(deployment: dict[str, Any]) -> None:
    assert pod(deployment)["automountServiceAccountToken"] is False
    assert pod(deployment)["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": 10001,
        "runAsGroup": 10001,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert container(deployment)["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert {"cpu", "memory"} <= set(container(deployment)["resources"]["requests"])
    assert "memory" in container(deployment)["resources"]["limits"]


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=name_of)
def test_the_labels_select_the_pods(deployment: dict[str, Any]) -> None:
    labels = deployment["spec"]["template"]["metadata"]["labels"]
    assert deployment["spec"]["selector"]["matchLabels"] == labels


def test_the_service_reaches_the_front_end_at_its_port() -> None:
    service = BY_NAME["Service", "fishalive"]["spec"]
    assert service["selector"] == FRONTEND["spec"]["template"]["metadata"]["labels"]
    (port,) = container(FRONTEND)["ports"]
    assert service["ports"][0]["targetPort"] == port["name"]
    environment = {each["name"]: each.get("value", "") for each in container(FRONTEND)["env"]}
    assert address(environment) == ("0.0.0.0", port["containerPort"])


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=name_of)
def test_what_asks_for_its_health_asks_at_a_port_of_the_pod(deployment: dict[str, Any]) -> None:
    (port,) = container(deployment)["ports"]
    probes = [container(deployment)[name]["httpGet"] for name in ("startupProbe", "livenessProbe", "readinessProbe")]
    assert [probe["path"] for probe in probes] == ["/healthz", "/healthz", "/readyz"]
    assert {probe["port"] for probe in probes} == {port["name"]}


def test_the_back_end_tells_its_health_as_it_is_started(server: Server, spawn: Spawn) -> None:
    command = container(BACKEND)["command"]
    (port,) = container(BACKEND)["ports"]
    assert command[-4:] == ["--health-host", "0.0.0.0", "--health-port", str(port["containerPort"])]
    here = [sys.executable, "-m", *command[:-3], "127.0.0.1", "--health-port", "0"]
    process = spawn(command=here, env={"MACAQUE_BROKER": server.url})
    url = process.expect(r"health of \S+ at (http://127\.0\.0\.1:\d+)/readyz")[1]
    process.expect(" serves ")
    probes = [container(BACKEND)[name]["httpGet"]["path"] for name in ("livenessProbe", "readinessProbe")]
    for path in probes:
        with urllib.request.urlopen(url + path, timeout=10) as response:
            assert response.status == 200
    assert process.stop() == 0


def test_a_pod_has_the_time_to_leave() -> None:
    assert pod(BACKEND)["terminationGracePeriodSeconds"] > macaque.server.CLOSE_TIMEOUT
    waits = float(container(FRONTEND)["lifecycle"]["preStop"]["exec"]["command"][1])
    # In a process of its own: the file has gevent patch the standard library.
    show = "import runpy; print(runpy.run_path('frontend/gunicorn.conf.py')['graceful_timeout'])"
    seconds = float(subprocess.run([sys.executable, "-c", show], cwd=ROOT, check=True, capture_output=True).stdout)
    assert pod(FRONTEND)["terminationGracePeriodSeconds"] > waits + seconds
