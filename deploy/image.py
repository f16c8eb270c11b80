"""Build an image of ``deploy/Dockerfile`` as a folder, line by line, where there is no container engine.

::

    debootstrap --variant=minbase bookworm BASE
    python -m deploy.image build --base BASE [--bind PATH] [--pass VARIABLE] [--arg NAME=VALUE] scorer FOLDER
    python -m deploy.image run [--mount HERE:THERE] [--env NAME=VALUE] FOLDER/scorer [COMMAND ...]
    python -m deploy.image health FOLDER/scorer      of one that runs

Each stage becomes a folder below FOLDER. ``RUN`` runs in it as its root, in namespaces of its own. ``run`` is like a
container that is started with ``--read-only``: the user of the image, no right to write but in /tmp, its home and what
is mounted. The network is that of this machine. It needs Linux, root, and ``unshare``.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from deploy import dockerfile
from deploy.dockerfile import Stage, Step
from flows.runtime import program
from pipeline.base.errors import ConfigError, FlowsculptError

ROOT: Final = Path(__file__).parents[1]
FILE: Final = ROOT / "deploy" / "Dockerfile"
ABOUT: Final = "image.json"
RESOLVER: Final = "/etc/resolv.conf"
OURS: Final = shutil.ignore_patterns("__pycache__", "secrets", "secrets-*", ".env", "*.key", "*.pem")


@dataclass
class Image:
    """How the programs of an image are started.

    Attributes:
        env: their variables.
        user: ``uid:gid``.
        folder: where they work.
        command: by default.
        health: the command that says whether it is well; [] where there is none.
    """

    env: dict[str, str] = field(default_factory=dict)
    user: str = "0:0"
    folder: str = "/"
    command: list[str] = field(default_factory=list)
    health: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Builder:
    """Builds stages.

    Attributes:
        into: a folder for each of them.
        base: the root of the image that the Dockerfile begins with.
        given: build arguments.
        outside: variables of this process that each ``RUN`` sees, such as those of a proxy or a mirror.
        binds: paths of this machine that each ``RUN`` sees, such as a mirror.
    """

    into: Path
    base: Path
    given: Mapping[str, str]
    outside: Mapping[str, str]
    binds: Sequence[Path]

    def build(self, target: str) -> Path:
        """Build an image; returns its folder."""
        stages = dockerfile.read(FILE, self.given)
        if target not in stages:
            raise ConfigError(f"{target!r} is no stage of {FILE.name}; those are {', '.join(stages)}")
        images: dict[str, Image] = {}
        for stage in dockerfile.needed(stages, target):
            images[stage.name] = self._built(stage, images.get(stage.base, Image()))
            _about(self.into / stage.name).write_text(json.dumps(asdict(images[stage.name])), encoding="utf-8")
        return self.into / target

    def _built(self, stage: Stage, before: Image) -> Image:
        image = Image(dict(before.env), before.user, before.folder)
        root = self.into / stage.name
        origin = self.into / stage.base if (self.into / stage.base).is_dir() else self.base
        if root.exists():
            shutil.rmtree(root)
        subprocess.run(["cp", "--archive", "--reflink=auto", str(origin), str(root)], check=True)
        arguments: dict[str, str] = {}
        for step in stage.steps:
            print(f"{stage.name}, line {step.line}: {step.word} {step.rest}", flush=True)
            self._done(step, root, image, arguments)
        return image

    def _done(self, step: Step, root: Path, image: Image, arguments: dict[str, str]) -> None:
        known = {**arguments, **image.env}
        match step.word:
            case "ARG":
                name, _, value = step.rest.partition("=")
                arguments[name] = self.given.get(name, value)
            case "ENV":
                image.env |= dockerfile.pairs(dockerfile.expanded(step.rest, known))
            case "WORKDIR":
                image.folder = step.rest
                (root / step.rest.lstrip("/")).mkdir(parents=True, exist_ok=True)
            case "USER":
                image.user = step.rest
            case "COPY":
                self._copied(step.rest, root)
            case "CMD":
                image.command = dockerfile.words(step.rest)
            case "HEALTHCHECK":
                image.health = dockerfile.words(step.rest.partition("CMD ")[2])
            case _:
                variables = {**self.outside, **known}
                mounts = {str(path): str(path) for path in self.binds}
                command = dockerfile.words(step.rest)
                if code := inside(root, command, variables, image.user, image.folder, mounts):
                    raise ConfigError(f"{root.name}, line {step.line}: {step.word} ended with {code}")

    def _copied(self, rest: str, root: Path) -> None:
        origin, (*sources, target) = ROOT, rest.split()
        if sources[0].startswith("--from="):
            origin = self.into / sources.pop(0).removeprefix("--from=")
        for source in sources:
            here, there = origin / source.lstrip("/"), root / target.lstrip("/")
            if here.is_dir():
                shutil.copytree(here, there, symlinks=True, dirs_exist_ok=True, ignore=OURS if origin == ROOT else None)
            else:
                there = there / here.name if target.endswith("/") else there
                there.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(here, there)


def inside(
    root: Path,
    command: Sequence[str],
    env: Mapping[str, str],
    user: str,
    folder: str,
    mounts: Mapping[str, str],
    is_container: bool = False,
) -> int:
    """Run a command with another root; returns its exit code.

    Args:
        root: that root.
        command: with its arguments.
        env: all its variables.
        user: ``uid:gid``.
        folder: where it works.
        mounts: paths here -> paths there.
        is_container: nothing may be written but in /tmp, in the home, and in what is mounted. Else all may be written
            but what is mounted: a RUN must not change this machine.
    """
    script = ["set -e", 'root="$1"; user="$2"; folder="$3"; shift 3']
    if is_container:
        script += ['mount --bind "$root" "$root"', 'mount -o remount,bind,ro "$root"']
        script += [f'mount -t tmpfs -o mode={mode} none "$root{place}"' for place, mode in _WRITABLE.items()]
    script += ['mount --rbind /dev "$root/dev"', 'mount -t proc proc "$root/proc"']
    for here, there in {RESOLVER: RESOLVER, **mounts}.items():
        _place(root, Path(here), there)
        script.append(f'mount --bind "{here}" "$root{there}"')
        if not is_container or there == RESOLVER:
            script.append(f'mount -o remount,bind,ro "$root{there}"')
    script.append('exec chroot --userspec="$user" "$root" /bin/sh -c \'cd "$0" && exec "$@"\' "$folder" env -i "$@"')
    told = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", "\n".join(script), "sh"]
    variables = [f"{name}={value}" for name, value in env.items()]
    process = subprocess.Popen([*told, str(root.resolve()), user, folder, *variables, *command])
    with program.heeding(process.terminate, [signal.SIGTERM]):  # which ends all that it started
        return process.wait()


_WRITABLE: Final = {"/tmp": "1777", "/srv/home": "1777"}  # noqa: S108


def _place(root: Path, here: Path, there: str) -> None:
    """Make what is mounted over."""
    place = root / there.lstrip("/")
    if here.is_dir():
        place.mkdir(parents=True, exist_ok=True)
    elif not place.exists():
        place.parent.mkdir(parents=True, exist_ok=True)
        place.touch()


def _about(root: Path) -> Path:
    return root.with_name(f"{root.name}.{ABOUT}")


# The program.


def main(given: Sequence[str] | None = None) -> int:
    """Build, run, or ask whether it is well; returns the exit code."""
    chosen = _parser().parse_args(given)
    try:
        if chosen.act == "build":
            outside = {name: os.environ[name] for name in chosen.passed if name in os.environ}
            args = dict(each.split("=", 1) for each in chosen.arg)
            root = Builder(chosen.into, chosen.base, args, outside, chosen.bind).build(chosen.target)
            size = subprocess.run(["du", "-sm", str(root)], capture_output=True, text=True, check=True).stdout.split()[
                0
            ]
            print(f"{root}: {size} MB")
            return 0
        image = Image(**json.loads(_about(chosen.root).read_text(encoding="utf-8")))
    except (FlowsculptError, OSError, subprocess.CalledProcessError) as error:
        print(f"image: {error}", file=sys.stderr)
        return 1
    command = image.health if chosen.act == "health" else chosen.command or image.command
    env, mounts = (
        dict(each.split(mark, 1) for each in found) for mark, found in (("=", chosen.env), (":", chosen.mount))
    )
    return inside(chosen.root, command, {**image.env, **env}, image.user, image.folder, mounts, is_container=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    acts = parser.add_subparsers(dest="act", required=True)
    build = acts.add_parser("build")
    build.add_argument("target")
    build.add_argument("into", type=Path)
    build.add_argument("--base", type=Path, required=True, help="the root of Debian")
    several: Any = {"action": "append", "default": []}
    build.add_argument("--bind", type=Path, help="a path of this machine that each RUN sees", **several)
    build.add_argument("--pass", dest="passed", metavar="NAME", help="a variable that each RUN sees", **several)
    build.add_argument("--arg", metavar="NAME=VALUE", help="a build argument", **several)
    for act in (acts.add_parser("run"), acts.add_parser("health")):
        act.add_argument("--mount", metavar="HERE:THERE", **several)
        act.add_argument("--env", metavar="NAME=VALUE", **several)
        act.add_argument("root", type=Path)
        act.add_argument("command", nargs=argparse.REMAINDER)
    return parser


if __name__ == "__main__":
    sys.exit(main())
