"""Installs what a peer needs, or says why it cannot be had."""

import os
import shutil
import signal
import subprocess

from peer import Gap


def run(command, **options):
    """Runs a step of an installation; what it says is shown when it fails."""
    # A group of its own: builders have children, and none outlives this script.
    options |= {"text": True, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "process_group": 0}
    try:
        process = subprocess.Popen(command, **options)
    except OSError as error:
        raise Gap(f"{command[0]}: {error.strerror}") from error
    try:
        said, _ = process.communicate()
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise
    if process.returncode:
        lines = said.strip().splitlines() or ["it says nothing"]
        print("\n".join(lines[-20:]))
        raise Gap(f"`{command[0]} {command[1]}` has failed: {lines[-1]}")


def debian(program, *packages, found=None):
    """Installs Debian packages unless what they bring is there; none of their services is started."""
    if found() if found else shutil.which(program):
        return
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        raise Gap(f"{program} is not installed (Debian: {' '.join(packages)})")
    # Without a runlevel their own scripts leave the services alone.
    surroundings = os.environ | {"DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
    run(["apt-get", "update", "-q"], env=surroundings)
    run(["apt-get", "install", "-y", "-q", "--no-install-recommends", *packages], env=surroundings)
    if not (found() if found else shutil.which(program)):
        raise Gap(f"{' '.join(packages)} brought no {program}")
