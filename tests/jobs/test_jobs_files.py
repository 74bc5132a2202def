"""The files in jobs/: what can be known of them without a cluster, a cloud or a container builder.

The schema of a RayJob here is our own and strict: it knows the fields that we use, and refuses any other, so a slip in
a name is found. Which fields there are, and of what kind, is KubeRay's and Kubernetes' to say; docs/cluster.md tells
how and when the file was held against theirs.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent.parent
JOBS = ROOT / "jobs"
YAML_FILES = sorted(JOBS.glob("*.yaml"))
DOCKERFILES = sorted(JOBS.glob("Dockerfile.*"))


def load(name: str) -> Any:
    return yaml.safe_load((JOBS / name).read_text())


def pinned(package: str) -> str:
    found = re.search(rf"^{package}==(\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert found, f"constraints.txt does not pin {package}"
    return found[1]


def values(tree: Any, key: str) -> Iterator[Any]:
    """All that stands under ``key``, anywhere in a tree."""
    if isinstance(tree, dict):
        for name, value in tree.items():
            if name == key:
                yield value
            yield from values(value, key)
    elif isinstance(tree, list):
        for value in tree:
            yield from values(value, key)


def closed(required: tuple[str, ...] = (), **properties: Any) -> dict[str, Any]:
    """The schema of an object with these fields and no others."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }


TEXT = {"type": "string", "minLength": 1}
COUNT = {"type": "integer", "minimum": 0, "maximum": 2**31 - 1}
FLAG = {"type": "boolean"}
NAME = {"type": "string", "pattern": r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", "maxLength": 63}
# Kubernetes: a decimal number with a suffix of powers of 10 or 1024, or with an exponent.
QUANTITY = {
    "type": ["string", "integer"],
    "pattern": r"^[0-9]+(\.[0-9]*)?(m|k|[MGTPE]i?|Ki|[eE][0-9]+)?$",
    "minimum": 0,
}
TEXTS = {"type": "object", "additionalProperties": {"type": "string"}}
RESOURCES = closed(
    ("requests", "limits"),
    requests={"type": "object", "additionalProperties": QUANTITY},
    limits={"type": "object", "additionalProperties": QUANTITY},
)
CONTAINER = closed(
    ("name", "image", "resources"),
    name=NAME,
    image=TEXT,
    ports={"type": "array", "items": closed(("containerPort",), containerPort=COUNT, name={**NAME, "maxLength": 15})},
    resources=RESOURCES,
    volumeMounts={"type": "array", "items": closed(("name", "mountPath"), name=NAME, mountPath=TEXT)},
)
POD = closed(
    ("spec",),
    spec=closed(
        ("containers", "securityContext"),
        containers={"type": "array", "items": CONTAINER, "minItems": 1},
        securityContext=closed(runAsNonRoot=FLAG, runAsUser=COUNT, fsGroup=COUNT),
        tolerations={
            "type": "array",
            "items": closed(
                key=TEXT,
                operator={"enum": ["Exists", "Equal"]},
                effect={"enum": ["NoSchedule", "PreferNoSchedule", "NoExecute"]},
            ),
        },
        volumes={
            "type": "array",
            "items": closed(("name",), name=NAME, persistentVolumeClaim=closed(("claimName",), claimName=NAME)),
        },
    ),
)
RAYJOB = closed(
    ("apiVersion", "kind", "metadata", "spec"),
    apiVersion={"const": "ray.io/v1"},
    kind={"const": "RayJob"},
    # KubeRay derives other names from it, which Kubernetes limits to 63 characters.
    metadata=closed(("name",), name={**NAME, "maxLength": 47}),
    spec=closed(
        ("entrypoint", "rayClusterSpec", "backoffLimit", "shutdownAfterJobFinishes", "ttlSecondsAfterFinished"),
        entrypoint=TEXT,
        runtimeEnvYAML=TEXT,
        backoffLimit=COUNT,
        activeDeadlineSeconds={**COUNT, "minimum": 1},
        shutdownAfterJobFinishes=FLAG,
        ttlSecondsAfterFinished=COUNT,
        rayClusterSpec=closed(
            ("rayVersion", "headGroupSpec", "workerGroupSpecs"),
            rayVersion={"type": "string", "pattern": r"^\d+\.\d+\.\d+$"},
            authOptions=closed(("mode",), mode={"enum": ["token", "disabled"]}),
            enableInTreeAutoscaling=FLAG,
            headGroupSpec=closed(("rayStartParams", "template"), rayStartParams=TEXTS, template=POD),
            workerGroupSpecs={
                "type": "array",
                "minItems": 1,
                "items": closed(
                    ("groupName", "replicas", "minReplicas", "maxReplicas", "rayStartParams", "template"),
                    groupName=NAME,
                    replicas=COUNT,
                    minReplicas=COUNT,
                    maxReplicas=COUNT,
                    rayStartParams=TEXTS,
                    template=POD,
                ),
            },
        ),
    ),
)


@pytest.fixture
def rayjob() -> Any:
    return load("rayjob.yaml")


@pytest.fixture
def groups(rayjob) -> list[dict[str, Any]]:
    return rayjob["spec"]["rayClusterSpec"]["workerGroupSpecs"]


@pytest.fixture
def pods(rayjob, groups) -> list[dict[str, Any]]:
    head = rayjob["spec"]["rayClusterSpec"]["headGroupSpec"]
    return [group["template"]["spec"] for group in (head, *groups)]


def problems(document: Any) -> list[str]:
    jsonschema = pytest.importorskip("jsonschema", reason="jsonschema, which ray brings in, is not installed")
    return [
        f"{error.json_path}: {error.message}" for error in jsonschema.Draft202012Validator(RAYJOB).iter_errors(document)
    ]


def test_all_the_files_are_there_and_all_yaml_parses():
    assert {"cluster.yaml", "rayjob.yaml", "runtime_env.yaml", "storage.yaml"} <= {path.name for path in YAML_FILES}
    assert [path.name for path in DOCKERFILES] == ["Dockerfile.cpu", "Dockerfile.cuda"]
    for path in YAML_FILES:
        assert isinstance(yaml.safe_load(path.read_text()), dict), path


def test_rayjob_has_the_fields_it_needs_and_no_unknown_ones(rayjob):
    assert problems(rayjob) == []


@pytest.mark.parametrize(
    ("damage", "where"),
    [
        (lambda spec: spec.pop("entrypoint"), "entrypoint"),
        (lambda spec: spec.update(backofLimit=1), "backofLimit"),
        (lambda spec: spec.update(backoffLimit=-1), "backoffLimit"),
        (lambda spec: spec["rayClusterSpec"]["headGroupSpec"]["rayStartParams"].update({"num-cpus": 0}), "num-cpus"),
        (
            lambda spec: spec["rayClusterSpec"]["workerGroupSpecs"][0]["template"]["spec"]["containers"][0][
                "resources"
            ].update(limits={"memory": "8GiB"}),
            "memory",
        ),
    ],
)
def test_the_schema_notices(rayjob, damage, where):
    damage(rayjob["spec"])
    assert any(where in problem for problem in problems(rayjob))


def test_worker_groups_are_of_one_size_from_the_start(groups, rayjob):
    """The pool looks once how much there is; what an autoscaler would add later gets no work."""
    assert not rayjob["spec"]["rayClusterSpec"]["enableInTreeAutoscaling"]
    for group in groups:
        assert group["minReplicas"] == group["replicas"] <= group["maxReplicas"], group["groupName"]
    assert len({group["groupName"] for group in groups}) == len(groups)


def test_pods_ask_for_what_they_may_use_and_mount_what_they_have(pods):
    for pod in pods:
        volumes = {volume["name"] for volume in pod.get("volumes", [])}
        for container in pod["containers"]:
            assert container["resources"]["requests"] == container["resources"]["limits"], container["name"]
            assert {mount["name"] for mount in container.get("volumeMounts", [])} <= volumes
            assert str(container["resources"]["limits"]["cpu"]).isdigit(), "Ray counts whole CPUs"
            gpu = "nvidia.com/gpu" in container["resources"]["limits"]
            assert container["image"].endswith("-cuda" if gpu else "-cpu")
        assert pod["securityContext"]["runAsNonRoot"]


def test_the_job_writes_to_storage_that_outlives_it(rayjob, pods):
    claim = load("storage.yaml")
    assert claim["kind"] == "PersistentVolumeClaim"
    head = pods[0]
    assert [volume["persistentVolumeClaim"]["claimName"] for volume in head["volumes"]] == [claim["metadata"]["name"]]
    mount = head["containers"][0]["volumeMounts"][0]["mountPath"]
    words = rayjob["spec"]["entrypoint"].split()
    assert words[words.index("--output") + 1].startswith(f"{mount}/")
    environment = yaml.safe_load(rayjob["spec"]["runtimeEnvYAML"])["env_vars"]
    assert environment["COLASEARCH_CACHE"].startswith(f"{mount}/")


def commands() -> dict[str, list[str]]:
    """What the files run on a cluster, as lists of words that begin after ``colasearch``."""
    script = (JOBS / "submit.sh").read_text()
    tail = re.search(r'^    -- colasearch "\$@" (.*)$', script, re.MULTILINE)
    example = re.search(r"^#   jobs/submit.sh \S+ (bench .*)$", script, re.MULTILINE)
    assert tail
    assert example
    return {
        "rayjob.yaml": load("rayjob.yaml")["spec"]["entrypoint"].split()[1:],
        "submit.sh": [*example[1].split(), *tail[1].split()],
    }


@pytest.mark.parametrize("name", ["rayjob.yaml", "submit.sh"])
def test_commands_can_be_repeated_and_have_only_flags_that_exist(name):
    from colasearch.cli.bench_run import make_command

    words = commands()[name]
    assert words[0] == "bench"
    assert "--resume" in words, "a second attempt would be refused"
    assert "--ray-address" in words
    with make_command(words[1]).make_context("bench", words[2:]) as context:  # parses; runs nothing
        assert context.params["ray_address"] == "auto"
        assert context.params["resume"]


def test_submit_refuses_to_guess_and_is_valid_bash():
    script = str(JOBS / "submit.sh")
    assert subprocess.run(["bash", "-n", script], check=False).returncode == 0
    done = subprocess.run([script, "only-a-name"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "usage:" in done.stderr


def test_runtime_env_is_one_that_ray_takes_and_hides_no_installed_code():
    runtime_env = pytest.importorskip("ray.runtime_env", reason="ray is not installed")
    given = load("runtime_env.yaml")
    runtime_env.RuntimeEnv(**given)  # raises on unknown fields and wrong kinds
    assert all(isinstance(value, str) for value in given["env_vars"].values())
    # A checkout among the uploaded files would shadow the installed package, of which it is only a part.
    tops = {path.name for path in ROOT.iterdir() if (path / "__init__.py").exists()}
    assert "colasearch" in tops
    assert {f"/{name}/" for name in tops} <= set(given["excludes"])


def test_cluster_file_fits_rays_own_schema():
    ray = pytest.importorskip("ray", reason="ray is not installed, and its schema comes with it")
    jsonschema = pytest.importorskip("jsonschema", reason="jsonschema, which ray brings in, is not installed")
    path = Path(ray.__file__).parent / "autoscaler" / "ray-schema.json"
    if not path.exists():
        pytest.skip(f"this ray ({ray.__version__}) has no {path.name}")
    config = load("cluster.yaml")
    jsonschema.validate(config, json.loads(path.read_text()))
    types = config["available_node_types"]
    assert config["head_node_type"] in types
    for name, node in types.items():
        if name != config["head_node_type"]:
            assert node["min_workers"] <= node["max_workers"] <= config["max_workers"], name
    image = types["gpu"]["docker"]["worker_image"]
    assert types["gpu"]["resources"]["GPU"] >= 1
    assert image.endswith("-cuda")
    assert sum(node.get("min_workers", 0) for node in types.values()) <= config["max_workers"]


def test_cluster_file_passes_rays_own_checks():
    util = pytest.importorskip("ray.autoscaler._private.util", reason="ray is not installed")
    config = util.prepare_config(load("cluster.yaml"))  # fills in defaults, as `ray up` does before it asks the cloud
    util.validate_config(config)
    starts = config["head_start_ray_commands"][-1], config["worker_start_ray_commands"][-1]
    assert all("RAY_AUTH_MODE=token" in command for command in starts)
    assert any(mount.endswith(".ray/auth_token") for mount in config["file_mounts"])


def test_one_ray_version_everywhere():
    ray = pinned("ray")
    rayjob = load("rayjob.yaml")
    assert rayjob["spec"]["rayClusterSpec"]["rayVersion"] == ray
    cluster = load("cluster.yaml")
    images = [
        *values(rayjob, "image"),
        *(image for key in ("image", "head_image", "worker_image") for image in values(cluster, key)),
    ]
    assert len(images) >= 5
    for image in images:
        assert re.search(r":ray([\d.]+)-(?:cpu|cuda)$", image)[1] == ray, image
    for path in DOCKERFILES:
        text = path.read_text()
        assert re.findall(r"^ARG RAY_VERSION=(\S+)$", text, re.MULTILINE) == [ray], path
        # The comment with the tag to build is what people copy.
        assert set(re.findall(r":ray([\d.]+)-", text)) == {ray}, path
    guide = (ROOT / "docs" / "cluster.md").read_text()
    assert set(re.findall(r":ray([\d.]+)-", guide)) <= {ray}


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: path.suffix[1:])
def test_dockerfiles_copy_what_exists_and_end_as_an_ordinary_user(path):
    text = path.read_text()
    sources = [
        word
        for line in re.findall(r"^COPY (?!--from)(.*)$", text, re.MULTILINE)
        for word in line.split()[:-1]
        if not word.startswith("--")
    ]
    assert "constraints.txt" in sources
    for source in sources:
        assert (ROOT / source).exists(), f"{path.name} copies {source}, which is not there"
    tops = {folder.name for folder in ROOT.iterdir() if (folder / "__init__.py").exists() and folder.name != "tests"}
    assert tops <= set(sources), "the wheel would lack a package"
    assert re.findall(r"^USER (.*)$", text, re.MULTILINE)[-1] == "1000:1000"
    assert "HOME=/home/ray" in text
    installs = [line for line in text.replace("\\\n", " ").splitlines() if re.match(r"RUN pip install", line)]
    assert len(installs) == 2
    assert all("constraints.txt" in line for line in installs)
    cpu_index = "download.pytorch.org/whl/cpu"
    assert (cpu_index in text) == (path.suffix == ".cpu"), "the CPU image takes torch from the CPU index, only that one"


def test_the_training_jobs_have_only_flags_that_exist_and_can_be_repeated():
    from colasearch.cli.train.actions import command

    script = (JOBS / "train_actions.sh").read_text()
    example = re.search(r"^#   jobs/train_actions.sh (\S+) (--model .*)$", script, re.MULTILINE)
    tail = re.search(
        r'^    -m colasearch train "\$\{STAGE:-actions\}" "\$@" --output "\$output" (.*)$', script, re.MULTILINE
    )
    assert example
    assert tail
    assert subprocess.run(["bash", "-n", str(JOBS / "train_actions.sh")], check=False).returncode == 0
    words = [*example[2].split(), "--output", example[1], *tail[1].split()]
    with command.make_context("actions", words) as context:
        assert context.params["resume"]
    ray_job = (JOBS / "ray_train_actions.py").read_text()
    shown = re.search(r"^        actions (--model .*)$", ray_job, re.MULTILINE)
    assert shown
    with command.make_context("actions", [*shown[1].split(), "--resume"]) as context:
        assert context.params["model"] == "Qwen/Qwen2.5-7B-Instruct"
