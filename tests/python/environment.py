"""Creates a virtual environment with exact packages if it is missing or has other packages.

    python3 tests/python/environment.py FOLDER REQUIREMENTS.txt

Prints the path of its interpreter. uv installs in seconds what takes pip minutes (for checkov and the
SAM CLI together, pip's resolver takes over five minutes on a slow machine).
"""

import fcntl
import pathlib
import subprocess
import sys

UV = "uv==0.13.9"


def environment(folder, requirements):
    """Returns the interpreter of the environment in `folder`, with the packages of `requirements`, the
    text of a requirements file."""
    folder = pathlib.Path(folder)
    python, stamp = folder / "bin/python", folder / "requirements.txt"
    wanted = f"{UV}\n{requirements}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Two tests that need the same environment start at the same time.
    with open(folder.with_name(folder.name + ".lock"), "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not stamp.exists() or stamp.read_text() != wanted:
            subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
            listed = folder / "wanted.txt"
            listed.write_text(wanted)
            pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", UV]
            subprocess.run(pip, check=True)
            # The system's certificates, as pip uses them: the index can be behind a proxy.
            uv = [folder / "bin/uv", "pip", "install", "--quiet", "--system-certs", "--python", python]
            subprocess.run([*uv, "--requirement", listed], check=True)
            stamp.write_text(wanted)
    return python


if __name__ == "__main__":
    print(environment(sys.argv[1], pathlib.Path(sys.argv[2]).read_text()))
