"""The files of docs/cluster, tried dry: the shell reads the script, the YAML has KubeRay's keys, the commands parse."""

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from personalive_core.cli import build_parser

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "cluster"
JOB = {"entrypoint", "shutdownAfterJobFinishes", "ttlSecondsAfterFinished", "backoffLimit", "rayClusterSpec"}
CLUSTER = {"headGroupSpec", "workerGroupSpecs", "enableInTreeAutoscaling"}
WORKERS = {"groupName", "replicas", "minReplicas", "maxReplicas", "rayStartParams", "template"}
CONTAINER = {"name", "image", "resources", "volumeMounts", "ports"}


def documents(name):
    yaml = pytest.importorskip("yaml", reason="needs PyYAML, which ray brings along")
    return list(yaml.safe_load_all((FOLDER / name).read_text(encoding="utf-8")))


def check_command(text):
    """The arguments of a `personalive` command line; argparse refuses an unknown one."""
    words = shlex.split(text)
    assert words[0] == "personalive"
    return build_parser(words[1:]).parse_args(words[1:])


def test_the_shell_reads_the_slurm_script():
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("needs bash")
    path = FOLDER / "batch.sbatch"
    done = subprocess.run([bash, "-n", str(path)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    text = path.read_text(encoding="utf-8")
    options = re.findall(r"^#SBATCH --([a-z-]+)=", text, re.MULTILINE)
    assert {"nodes", "ntasks-per-node", "gpus-per-node", "cpus-per-task", "time"} <= {*options}
    (command,) = re.findall(r"personalive batch (?:.*\\\n)*.*", text)
    assert check_command(command.replace("\\\n", " ")).address == "auto"


@pytest.mark.parametrize("name", ["rayjob.yaml", "serve.yaml"])
def test_the_kubernetes_files_have_kuberays_keys(name):
    job = documents(name)[0]
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    spec = job["spec"]
    assert {"entrypoint", "rayClusterSpec"} <= {*spec} <= JOB
    assert check_command(spec["entrypoint"]).address == "auto"
    cluster = spec["rayClusterSpec"]
    assert {*cluster} <= CLUSTER
    assert {*cluster["headGroupSpec"]} == {"rayStartParams", "template"}
    assert all(isinstance(value, str) for value in cluster["headGroupSpec"]["rayStartParams"].values())
    for group in cluster["workerGroupSpecs"]:
        assert {*group} == WORKERS
        assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
        check_pod(group["template"]["spec"], gpu=True)
    check_pod(cluster["headGroupSpec"]["template"]["spec"], gpu=False)


def check_pod(pod, gpu):
    (container,) = pod["containers"]
    assert {"name", "image", "resources"} <= {*container} <= CONTAINER
    limits = container["resources"]["limits"]
    assert all(isinstance(value, str) for value in limits.values())
    assert ("nvidia.com/gpu" in limits) == gpu
    assert {mount["name"] for mount in container.get("volumeMounts", ())} == {v["name"] for v in pod.get("volumes", ())}


def test_the_service_finds_the_front():
    job, service = documents("serve.yaml")
    head = job["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]
    assert service["spec"]["selector"] == head["metadata"]["labels"]
    (port,) = service["spec"]["ports"]
    assert port["targetPort"] == check_command(job["spec"]["entrypoint"]).port
    assert port["targetPort"] in [each["containerPort"] for each in head["spec"]["containers"][0]["ports"]]
