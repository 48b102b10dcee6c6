"""The image and the services of the container: what can be checked without building them."""

import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVICES = COMPOSE["services"]


def test_images_are_pinned():
    """Prevents another Python or PostgreSQL with each build."""
    images = [*re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE), SERVICES["postgres"]["image"]]
    assert all(re.search(r":\d+\.\d+", image) for image in images)


def test_the_image_does_not_run_as_root():
    """Prevents files of root in the volumes, and a run that may do anything in its container."""
    users = re.findall(r"^USER (\S+)", DOCKERFILE, re.MULTILINE)
    assert users == ["cyclealign"]
    assert DOCKERFILE.index("USER cyclealign") < DOCKERFILE.index("ENTRYPOINT")


@pytest.mark.parametrize("name", SERVICES)
def test_ports_are_on_this_machine_alone(name):
    """Prevents a Prefect server without a login that the network can reach."""
    assert all(port.startswith("127.0.0.1:") for port in SERVICES[name].get("ports", ()))


def test_no_secret_is_written_down():
    """Prevents a password or key in the image or in the configuration, which are shared."""
    words = re.compile(r"(password|api_?key|token)\s*[:=]\s*['\"]?[\w$-]+", re.IGNORECASE)
    for service in SERVICES.values():
        for name, value in service.get("environment", {}).items():
            assert name.endswith("_FILE") or not words.search(f"{name}={value}")
    assert not words.search(DOCKERFILE)
    assert all(secret["file"].startswith("secrets/") for secret in COMPOSE["secrets"].values())
    for ignored in (".dockerignore", ".gitignore"):
        assert "secrets" in (ROOT / ignored).read_text().replace("/", "")


def test_what_services_refer_to_exists():
    """Prevents a container that does not start for want of a file, a volume, a secret or another service."""
    for service in SERVICES.values():
        assert set(service.get("secrets", ())) <= set(COMPOSE["secrets"])
        assert set(service.get("depends_on", ())) <= set(SERVICES)
        for mount in service.get("volumes", ()):
            source = mount.split(":")[0]
            assert (ROOT / source).exists() if source.startswith("./") else source in COMPOSE["volumes"]


def test_the_worker_with_a_gpu_differs_in_its_image_and_its_devices_alone():
    """Prevents a worker that forgets the history or the key once it has a GPU."""
    plain, gpu = SERVICES["worker"], SERVICES["worker-gpu"]
    differing = {name for name in plain.keys() | gpu.keys() if plain.get(name) != gpu.get(name)}
    assert differing == {"build", "image", "profiles", "shm_size", "deploy"}
    assert f"ARG {next(iter(gpu['build']['args']))}=" in DOCKERFILE


def test_the_entry_point_turns_secrets_into_variables(tmp_path):
    """Prevents a key that the command does not find, or that its arguments show."""
    (tmp_path / "openai_api_key").write_text("a key with $signs and 'quotes'\n")
    command = [str(ROOT / "container" / "entrypoint.sh"), "sh", "-c", 'printf %s "$OPENAI_API_KEY"']
    environment = {"PATH": os.environ["PATH"], "SECRETS": str(tmp_path)}
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    assert done.stdout == "a key with $signs and 'quotes'"


def test_the_entry_point_needs_no_secrets(tmp_path):
    """Prevents a container that ends at once where no secret is mounted, and a lost exit code."""
    command = [str(ROOT / "container" / "entrypoint.sh"), "sh", "-c", "exit 7"]
    environment = {"PATH": os.environ["PATH"], "SECRETS": str(tmp_path / "none")}
    assert subprocess.run(command, env=environment, check=False).returncode == 7
