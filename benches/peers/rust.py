"""The peers that are crates: how their programs in `rust/` are built and called."""

import tomllib

from install import debian, run
from peer import HERE, TARGET

PROGRAMS = HERE / "rust"
PLACE = TARGET / "cargo"


def version(crate):
    asked = tomllib.loads((PROGRAMS / "Cargo.toml").read_text())["dependencies"][crate]
    return (asked if isinstance(asked, str) else asked["version"]).removeprefix("=")


def installer(program):
    def install():
        debian("cc", "gcc")
        manifest = str(PROGRAMS / "Cargo.toml")
        arguments = ["--release", "--locked", "-j1", "--manifest-path", manifest, "--target-dir", str(PLACE)]
        run(["cargo", "build", "--quiet", *arguments, "--bin", program], cwd=PROGRAMS)

    return install


def command(program, most=None):
    """The call of a program; `most` are the jobs that it can have waiting."""

    def command(address, sizes):
        path = PLACE / "release" / program
        drained = min(sizes.drained, most or sizes.drained)
        return [str(path), address, str(drained), str(sizes.singles), str(sizes.seconds)]

    return command
