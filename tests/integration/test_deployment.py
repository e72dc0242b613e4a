"""What `deploy/` and the compose files say is read by the tools they are for, and fits to what Everpost needs."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
import yaml

from everpost.database_address import postgresql_address
from everpost.queue.pool import connection_pool
from everpost.settings import Settings, read_settings
from everpost.stopping import process_budget_s, up_budget_s

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
COMPOSE_FILES = [ROOT / "compose.yaml", ROOT / "compose.cluster.yaml"]
MANIFESTS = sorted(DEPLOY.glob("kubernetes/*.yaml"))
OLDEST, NEWEST = "1.29", "1.37"
COMMAND = "/opt/everpost/bin/everpost"
PROBED = {"/health/live", "everpost health --worker"}


TOOLS = Path(sys.prefix) / "deploy-tools"  # installed by `make install`
TAKE_MANIFESTS = """
import json, sys, kubernetes_validate
for found in json.load(sys.stdin):
    kubernetes_validate.validate(found, sys.argv[1], strict=True)
"""
TAKE_COMPOSE_FILE = """
import sys, compose_spec
compose_spec.PyCompose.from_json(sys.stdin.read()).validate()  # volumes and secrets that services name are there
"""


def check(program: str, given: Any, *arguments: str, path: Path = TOOLS) -> None:
    """Have a program that uses the tools read something; it fails if it does not take it."""
    environment = {**os.environ, "PYTHONPATH": f"{path}:{TOOLS}"}
    run = [sys.executable, "-c", program, *arguments]
    done = subprocess.run(run, env=environment, input=json.dumps(given), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


PACKAGE_OF = {"systemd-analyze": "systemd", "docker": "docker.io", "haproxy": "haproxy"}


def tool(name: str) -> str:
    """The path of a program that only some machines have."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed (Debian: apt install {PACKAGE_OF[name]})")
    return found


def output_of(*program: str) -> str:
    done = subprocess.run(program, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    return done.stdout if done.returncode == 0 else f"exit code {done.returncode}: {done.stdout}"


def objects(kind: str | None = None) -> Iterator[dict[str, Any]]:
    """The objects of the Kubernetes manifests; all of them, or those of one kind."""
    for file in MANIFESTS:
        for found in yaml.safe_load_all(file.read_text("utf-8")):
            if found["kind"] == kind or (kind is None and found["kind"] != "Kustomization"):
                yield found


def pods() -> Iterator[dict[str, Any]]:
    for kind in ("Deployment", "StatefulSet"):
        for found in objects(kind):
            yield found["spec"]["template"]["spec"]


def composed(file: Path) -> dict[str, Any]:
    """A compose file with its defaults in place of its variables, and its merges carried out."""
    text = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", file.read_text("utf-8"))
    read: dict[str, Any] = yaml.safe_load(re.sub(r"\$\{\w+:\?[^}]*\}", "x" * 8, text))
    return read


def everpost_services(file: Path) -> Iterator[dict[str, Any]]:
    for service in composed(file)["services"].values():
        if service["image"].startswith("everpost"):
            yield service


def test_systemd_reads_the_units(tmp_path: Path) -> None:
    analyze = tool("systemd-analyze")
    units = shutil.copytree(DEPLOY / "systemd", tmp_path / "units")
    for unit in units.glob("*.service"):  # the program must exist
        program = str(Path(sys.executable).with_name("everpost"))
        unit.write_text(unit.read_text("utf-8").replace(COMMAND, program), encoding="utf-8")
    names = [unit.name.replace("@", "@1") for unit in units.glob("*.service")]
    assert len(names) == 3
    assert output_of(analyze, "verify", "--man=no", *(str(units / name) for name in names)) == ""


def test_every_command_of_a_unit_exists() -> None:
    for unit in DEPLOY.glob("systemd/*.service"):
        (name,) = re.findall(rf"^ExecStart={COMMAND} (\w+)", unit.read_text("utf-8"), re.MULTILINE)
        assert name in {"api", "worker", "up"}


@pytest.mark.parametrize("version", [OLDEST, pytest.param(NEWEST, marks=pytest.mark.chaos)])
def test_kubernetes_takes_the_manifests(version: str, tmp_path: Path) -> None:
    with ZipFile(max(TOOLS.glob("kubernetes_validate-*.whl"))) as wheel:
        names = [name for name in wheel.namelist() if "schema" not in name or f"/v{version}." in name]
        wheel.extractall(tmp_path, names)
    check(TAKE_MANIFESTS, list(objects()), version, path=tmp_path)


def test_the_kustomization_has_every_manifest() -> None:
    (kustomization,) = objects("Kustomization")
    assert {"kustomization.yaml", *kustomization["resources"]} == {file.name for file in MANIFESTS}


def test_every_object_of_kubernetes_belongs_to_pods_that_exist() -> None:
    labels = [
        found["spec"]["template"]["metadata"]["labels"]
        for kind in ("Deployment", "StatefulSet")
        for found in objects(kind)
    ]
    names = {(found["kind"], found["metadata"]["name"]) for found in objects()}
    for found in objects():
        if found["kind"] in {"Service", "PodDisruptionBudget"}:
            selector = found["spec"]["selector"]
            assert selector.get("matchLabels", selector) in labels
        if found["kind"] == "HorizontalPodAutoscaler":
            target = found["spec"]["scaleTargetRef"]
            assert (target["kind"], target["name"]) in names
            assert all("replicas" not in other["spec"] for other in objects(target["kind"]))


def test_pods_get_no_variables_of_kubernetes_and_no_rights() -> None:
    """A service called `everpost` would set EVERPOST_PORT in each pod."""
    for pod in pods():
        assert pod["enableServiceLinks"] is False
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        (container,) = pod["containers"]
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        for probe in ("startupProbe", "livenessProbe"):
            asked = container[probe].get("httpGet", {}).get("path") or " ".join(container[probe]["exec"]["command"])
            assert asked in PROBED


@pytest.mark.parametrize("file", COMPOSE_FILES, ids=lambda file: file.name)
def test_a_compose_file_is_valid(file: Path) -> None:
    check(TAKE_COMPOSE_FILE, composed(file))


@pytest.mark.parametrize("file", COMPOSE_FILES, ids=lambda file: file.name)
def test_docker_takes_a_compose_file(file: Path) -> None:
    docker = tool("docker")
    assert output_of("env", "EVERPOST_TOKEN=x", docker, "compose", "--file", str(file), "config", "--quiet") == ""


def test_files_that_compose_mounts_are_there() -> None:
    mounts = [
        mount for service in composed(COMPOSE_FILES[1])["services"].values() for mount in service.get("volumes", ())
    ]
    local = {mount.split(":")[0] for mount in mounts if mount.startswith("./")}
    scripts = {f"./{file.relative_to(ROOT)}" for file in DEPLOY.glob("compose/*")}
    assert local == scripts


@pytest.mark.parametrize("script", sorted(DEPLOY.glob("compose/*.sh")), ids=lambda file: file.name)
def test_a_script_can_be_read_by_a_shell(script: Path) -> None:
    assert output_of("sh", "-n", str(script)) == ""


def test_the_proxy_takes_its_configuration() -> None:
    done = subprocess.run(
        [tool("haproxy"), "-c", "-f", str(DEPLOY / "compose" / "haproxy.cfg")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "[WARNING]" not in done.stderr


def settings_of(variables: dict[str, str], tmp_path: Path) -> Settings:
    """The settings a container gets; what its files hold is made up."""
    (tmp_path / "secret").write_text("a-secret-of-this-test")
    given = {name: str(tmp_path / "secret") if name.endswith("_FILE") else value for name, value in variables.items()}
    return read_settings(given)


def test_everything_has_time_to_stop(tmp_path: Path) -> None:
    (config,) = objects("ConfigMap")
    needed_s = process_budget_s(settings_of(config["data"], tmp_path).shutdown_wait)
    for pod in pods():
        slept = pod["containers"][0].get("lifecycle", {}).get("preStop", {}).get("exec", {}).get("command", [0])[-1]
        assert pod["terminationGracePeriodSeconds"] > needed_s + float(slept)
    for file in COMPOSE_FILES:
        for service in everpost_services(file):
            needed_s = process_budget_s(settings_of(service["environment"], tmp_path).shutdown_wait)
            assert float(service["stop_grace_period"].removesuffix("s")) > needed_s
    common = (DEPLOY / "systemd" / "everpost-.service.d" / "common.conf").read_text("utf-8")
    (wait_s,) = re.findall(r"EVERPOST_SHUTDOWN_WAIT=(\d+)", common)
    (stop_s,) = re.findall(r"^TimeoutStopSec=(\d+)$", common, re.MULTILINE)
    assert float(stop_s) > up_budget_s(float(wait_s))


def mounted_at(path: str, mounts: Iterable[tuple[str, str]]) -> str | None:
    """The name of the volume that has a path."""
    return next((name for name, place in mounts if Path(path).is_relative_to(place)), None)


def test_all_pods_share_the_folders_of_media() -> None:
    """An upload that one API has received is published by any worker."""
    (config,), (claim,) = objects("ConfigMap"), objects("PersistentVolumeClaim")
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    for pod in pods():
        mounts = [(mount["name"], mount["mountPath"]) for mount in pod["containers"][0]["volumeMounts"]]
        for setting in ("EVERPOST_FILES", "EVERPOST_MEDIA"):
            name = mounted_at(config["data"][setting], mounts)
            (volume,) = [volume for volume in pod["volumes"] if volume["name"] == name]
            assert volume["persistentVolumeClaim"] == {"claimName": claim["metadata"]["name"]}
        assert pod["securityContext"]["fsGroupChangePolicy"] == "OnRootMismatch"


def test_all_containers_of_a_compose_file_share_the_folders_of_media(tmp_path: Path) -> None:
    image = re.findall(r"install --directory .* (/\S+) (/\S+)", (ROOT / "Dockerfile").read_text("utf-8"))
    for file in COMPOSE_FILES:
        shared: set[str | None] = set()
        for service in everpost_services(file):
            environment = {"EVERPOST_DATA": "/data", **service["environment"]}
            settings = settings_of(environment, tmp_path)
            mounts = [tuple(mount.split(":")[:2]) for mount in service["volumes"]]
            shared |= {mounted_at(str(folder), mounts) for folder in (settings.files_root, settings.media_root)}
            assert {place for _, place in mounts} <= set(*image), (
                "a new volume belongs to root, unless the image has it"
            )
        assert len(shared) == 1
        assert shared <= composed(file)["volumes"].keys()


def test_the_addresses_of_the_cluster_are_those_of_its_services() -> None:
    text, services = COMPOSE_FILES[1].read_text("utf-8"), composed(COMPOSE_FILES[1])["services"]
    (database,) = re.findall(r'echo "(postgresql://[^"]*)"', text)
    hosts = postgresql_address(database.replace("$(cat secrets/postgres)", "secret")).hosts
    assert [host.name for host in hosts] == [name for name in services if name.startswith("postgres-")]
    (redis,) = re.findall(r'echo "(redis\+sentinel://[^"]*)"', text)
    connection_pool(redis)  # it can be read
    assert re.findall(r"[/,]([\w-]+):26379", redis) == [name for name in services if name.startswith("sentinel-")]
    (watched,) = re.findall(r"sentinel monitor (\w+)", (DEPLOY / "compose" / "sentinel.sh").read_text("utf-8"))
    assert redis.endswith(f"/{watched}")
