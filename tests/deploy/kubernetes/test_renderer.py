"""The folder of manifests: the same bytes for the same cluster, and good by the tools that others judge it with."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

from deploy.kubernetes.renderer import KUSTOMIZATION, FolderInUse, render, write
from deploy.kubernetes.settings import RenderSettings
from tests.deploy.kubernetes.site import CLUSTER, cluster, objects
from tests.deploy.toy_cluster import resolved

ROOT = Path(__file__).resolve().parents[3]
KEDA = "@kubernetes-models/keda@2.0.0"
KEDA_CHECK = """\
import { ScaledObject } from "@kubernetes-models/keda/keda.sh/v1alpha1";
let text = "";
for await (const part of process.stdin) text += part;
const problems = [];
for (const each of JSON.parse(text)) {
  try { new ScaledObject(each).validate(); } catch (error) { problems.push(error.message); }
}
console.log(JSON.stringify(problems));
"""
# KEDA's own schema lets unknown keys pass, which a cluster drops without a word.
KEDA_KEYS = {
    "advanced", "cooldownPeriod", "fallback", "idleReplicaCount", "initialCooldownPeriod", "maxReplicaCount",
    "minReplicaCount", "pollingInterval", "scaleTargetRef", "triggers",
}  # fmt: skip
KEDA_TRIGGER_KEYS = {"authenticationRef", "metadata", "metricType", "name", "type", "useCachedMetrics"}


@pytest.fixture
def texts(tmp_path: Path) -> dict[str, str]:
    return render(cluster(tmp_path), RenderSettings())


def tool(name: str, package: str) -> str:
    found = shutil.which(name)
    if found is None:
        reason = f"needs {name}: apt-get install --no-install-recommends {package}"
        if os.environ.get("CREMA_REQUIRE_TOOLS"):
            pytest.fail(reason)
        pytest.skip(reason)
    return found


def test_two_renderings_in_two_processes_are_the_same_to_the_byte(tmp_path: Path) -> None:
    cluster(tmp_path)
    folders = []
    for seed in ("1", "2"):
        folder = tmp_path / seed
        command = [
            sys.executable,
            "-m",
            "crema.cli",
            "render",
            "kubernetes",
            "-f",
            str(tmp_path / "cluster.yaml"),
        ]
        subprocess.run(
            [*command, "-o", str(folder)],
            cwd=ROOT, env={**os.environ, "PYTHONHASHSEED": seed}, check=True, capture_output=True, timeout=60,
        )  # fmt: skip
        folders.append({path.name: path.read_bytes() for path in folder.iterdir()})
    assert folders[0] == folders[1]
    assert "tags-3-1.yaml" in folders[0]


def test_every_object_passes_the_strict_schema_of_kubernetes(texts: dict[str, str]) -> None:
    checked = 0
    for each in objects(texts):
        if each["kind"] != "ScaledObject":
            kubernetes_validate.validate(each, "1.37", strict=True)
            checked += 1
    assert checked > 10


def test_every_scaled_object_has_only_keys_that_keda_knows(texts: dict[str, str]) -> None:
    scaled = [each for each in objects(texts) if each["kind"] == "ScaledObject"]
    assert len(scaled) == 3
    for each in scaled:
        assert each["spec"].keys() <= KEDA_KEYS
        for trigger in each["spec"]["triggers"]:
            assert trigger.keys() <= KEDA_TRIGGER_KEYS
            assert all(isinstance(value, str) for value in trigger["metadata"].values())


@pytest.mark.slow
def test_every_scaled_object_passes_the_schema_of_keda(texts: dict[str, str]) -> None:
    npm, node = tool("npm", "npm"), tool("node", "nodejs")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "crema-tests" / "keda-2.0.0"
    if not (cache / "node_modules" / "@kubernetes-models" / "keda").is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        command = [
            npm,
            "install",
            "--silent",
            "--no-audit",
            "--no-fund",
            "--ignore-scripts",
            "--prefix",
            str(cache),
        ]
        subprocess.run([*command, KEDA], check=True, capture_output=True, timeout=120)
    (cache / "check.mjs").write_text(KEDA_CHECK)
    scaled = [each for each in objects(texts) if each["kind"] == "ScaledObject"]
    wrong = json.loads(json.dumps(scaled[0]))
    wrong["spec"]["triggers"][0]["metadata"]["threshold"] = 1
    done = subprocess.run(
        [node, "check.mjs"],
        cwd=cache, input=json.dumps([*scaled, wrong]), capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    (problem,) = json.loads(done.stdout)
    assert "threshold must be string" in problem


def test_kubectl_puts_the_folder_together(texts: dict[str, str], tmp_path: Path) -> None:
    kubectl = tool("kubectl", "kubernetes-client")
    write(texts, tmp_path / "manifests")
    done = subprocess.run(
        [kubectl, "kustomize", str(tmp_path / "manifests")], capture_output=True, text=True, check=True, timeout=60
    )  # fmt: skip
    built = {(each["kind"], each["metadata"]["name"]): each for each in yaml.safe_load_all(done.stdout)}
    assert built == {(each["kind"], each["metadata"]["name"]): each for each in objects(texts)}


def test_a_namespace_is_everywhere(tmp_path: Path) -> None:
    texts = render(cluster(tmp_path), RenderSettings(namespace="photos"))
    assert {each["metadata"]["namespace"] for each in objects(texts)} == {"photos"}
    assert yaml.safe_load(texts[KUSTOMIZATION])["namespace"] == "photos"


def test_no_secret_is_rendered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CREMA_CLUSTER_TOKEN", "planted")
    monkeypatch.setenv("CREMA_API_KEY", "planted")
    texts = render(cluster(tmp_path), RenderSettings())
    assert not [name for name, text in texts.items() if "planted" in text]
    assert not [each for each in objects(texts) if each["kind"] == "Secret"]


def test_no_path_of_this_machine_is_rendered(tmp_path: Path) -> None:
    texts = render(cluster(tmp_path), RenderSettings())
    assert not [name for name, text in texts.items() if str(tmp_path) in text or str(ROOT) in text]


def test_what_is_served_no_more_leaves_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "manifests"
    write(render(cluster(tmp_path), RenderSettings()), folder)
    fewer = CLUSTER.replace('      "3.2": {replicas: 1, canary: 5%}\n', "").replace(
        '    labels: {candidate: "3.2"}\n', ""
    )
    write(render(resolved(tmp_path, fewer), RenderSettings()), folder)
    assert not (folder / "tags-3-2.yaml").exists()
    assert (folder / "tags-3-1.yaml").exists()


def test_files_of_other_people_stay(texts: dict[str, str], tmp_path: Path) -> None:
    folder = tmp_path / "manifests"
    folder.mkdir()
    (folder / "ingress.yaml").write_text("mine: true\n")
    write(texts, folder)
    assert (folder / "ingress.yaml").read_text() == "mine: true\n"


def test_a_file_of_other_people_is_not_overwritten(texts: dict[str, str], tmp_path: Path) -> None:
    folder = tmp_path / "manifests"
    folder.mkdir()
    (folder / "coordinator.yaml").write_text("mine: true\n")
    with pytest.raises(FolderInUse, match="another folder"):
        write(texts, folder)
    assert [path.name for path in folder.iterdir()] == ["coordinator.yaml"]
