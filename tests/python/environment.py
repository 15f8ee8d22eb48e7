"""Makes a Python environment with exact packages, where it is absent or of others.

    python3 tests/python/environment.py FOLDER REQUIREMENTS.txt

Prints its interpreter. uv resolves and installs in seconds what takes pip minutes (checkov and the
SAM CLI together: over five minutes of pip's resolver on a slow machine).
"""

import pathlib
import subprocess
import sys

UV = "uv==0.13.9"


def environment(folder, requirements):
    """The interpreter of the environment in `folder`, with what `requirements`, the text of a
    requirements file, asks for."""
    folder = pathlib.Path(folder)
    python, stamp = folder / "bin/python", folder / "requirements.txt"
    wanted = f"{UV}\n{requirements}"
    if not stamp.exists() or stamp.read_text() != wanted:
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        listed = folder / "wanted.txt"
        listed.write_text(wanted)
        pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", UV]
        subprocess.run(pip, check=True)
        # The machine's certificates, as pip takes them: an index may stand behind a proxy.
        uv = [folder / "bin/uv", "pip", "install", "--quiet", "--system-certs", "--python", python]
        subprocess.run([*uv, "--requirement", listed], check=True)
        stamp.write_text(wanted)
    return python


if __name__ == "__main__":
    print(environment(sys.argv[1], pathlib.Path(sys.argv[2]).read_text()))
