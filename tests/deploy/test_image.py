"""The Dockerfile: linted, its context enough to build from, and its last stage built and run.

There is no Docker here and no way to pull a base image. So the binary is built from the very context that
Docker would get, with the same target as in the image; and buildah builds the Dockerfile as it is from
`FROM scratch` on, with that binary in the place of the first stage.
"""

import json
import os
import re
import signal
import subprocess
import tempfile
import unittest
from functools import cache
from pathlib import Path

from peers import Laghound
from procs import Process
from tools import ROOT, refusal, run, tool

CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "laghound-ci"
TARGET = "x86_64-unknown-linux-musl"
NOBODY = 65532
# A first build from nothing, on two slow cores.
BUILD_SECONDS = 3600


def buildah(*argv, **more):
    """buildah with a store of its own, without privileges that a container here may lack."""
    store = CACHE / "buildah"
    return run("buildah", "--root", store / "root", "--runroot", store / "run", "--storage-driver", "vfs", *argv, **more)


def built(dockerfile, context, *more):
    """The root of an image, mounted, and its configuration."""
    buildah("bud", "--isolation", "chroot", "--tag", "laghound-test", "--file", dockerfile, *more, context)
    container = buildah("from", "--pull-never", "laghound-test").strip()
    unittest.addModuleCleanup(buildah, "rm", container)
    config = json.loads(buildah("inspect", "--type", "image", "laghound-test"))["OCIv1"]["config"]
    return Path(buildah("mount", container).strip()), config


@cache
def context():
    """What Docker is sent: a copy at a place that stays, so that nothing is compiled twice."""
    with tempfile.TemporaryDirectory() as folder:
        everything = Path(folder) / "Dockerfile"
        everything.write_text("FROM scratch\nCOPY . /\n", encoding="utf-8")
        root, _ = built(everything, ROOT, "--ignorefile", ROOT / ".dockerignore")
        copy = CACHE / "docker-context"
        run("rsync", "--archive", "--delete", "--checksum", "--no-times", f"{root}/", f"{copy}/")
        return copy


@cache
def static_binary():
    """The binary as the image has it, built from the context."""
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    argv = [tool("cargo"), "build", "--locked", "--profile", "fast", "--bin", "laghound", "--features", "kafka", "--target", TARGET]
    env = {**os.environ, "CARGO_TARGET_DIR": str(target), "CC_x86_64_unknown_linux_musl": "musl-gcc"}
    done = subprocess.run(argv, cwd=context(), env=env, capture_output=True, text=True, timeout=BUILD_SECONDS, check=False)
    if done.returncode:
        raise AssertionError(done.stderr)
    return target / TARGET / "fast/laghound"


@cache
def image():
    """The last stage as it is written, with the binary where the first one leaves it."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    last = text[text.index("FROM scratch"):]
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "Dockerfile").write_text(f"FROM scratch AS build\nCOPY laghound /out/laghound\n{last}", encoding="utf-8")
        run("install", "-m", "0755", static_binary(), Path(folder, "laghound"))
        return built(Path(folder, "Dockerfile"), folder)


class Image(unittest.TestCase):
    def test_the_file_is_clean(self):
        run("hadolint", "--failure-threshold", "style", ROOT / "Dockerfile")

    def test_the_binary_needs_nothing_else(self):
        said = run("readelf", "--program-headers", "--dynamic", static_binary())
        self.assertNotIn("INTERP", said)
        self.assertNotIn("NEEDED", said)

    def test_the_image_holds_the_binary_and_nothing_else(self):
        root, _ = image()
        files = {str(path.relative_to(root)): path.stat() for path in root.rglob("*")}
        self.assertEqual(list(files), ["laghound"])
        self.assertEqual(files["laghound"].st_mode & 0o7777, 0o755)

    def test_it_says_what_it_is_and_runs_as_nobody(self):
        _, config = image()
        self.assertEqual(config["User"], f"{NOBODY}:{NOBODY}")
        self.assertEqual(config["Entrypoint"], ["/laghound"])
        self.assertEqual(config["StopSignal"], "SIGTERM")
        # Builders differ in whether they write the protocol that is the default.
        ports = {port.removesuffix("/tcp") for port in config["ExposedPorts"]}
        self.assertEqual(ports, {"4317", "4318", "9479"})
        version = run("laghound", "--version").split()[1]
        self.assertEqual(config["Labels"]["org.opencontainers.image.version"], version)
        # A variable would override the file of settings of whoever runs it.
        self.assertEqual([v for v in config.get("Env", []) if v.startswith("LAGHOUND")], [])

    def test_the_health_check_is_the_binary_itself(self):
        text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
        check = json.loads(re.search(r"HEALTHCHECK .*CMD (\[.*\])", text)[1])
        root, config = image()
        self.assertEqual(check[0], config["Entrypoint"][0])
        self.assertTrue((root / check[0].lstrip("/")).is_file())
        run("laghound", *check[1:], "--help")

    def test_a_typo_is_refused(self):
        with tempfile.NamedTemporaryFile("w", suffix="Dockerfile") as broken:
            broken.write((ROOT / "Dockerfile").read_text(encoding="utf-8").replace("STOPSIGNAL", "STOPSIGNALS"))
            broken.flush()
            refusal("hadolint", broken.name)

    def test_it_runs_as_it_is_with_nothing_to_write_to(self):
        root, config = image()
        command = [word.replace("0.0.0.0:", "127.0.0.1:") for word in config["Cmd"]]
        # The ports of the image may be taken on this machine.
        command = [word.rsplit(":", 1)[0] + ":0" if ":" in word else word for word in command]
        with tempfile.TemporaryDirectory() as folder:
            jail = [tool("chroot"), f"--userspec={config['User']}", root]
            process = Process("image", [*jail, *config["Entrypoint"], *command, "--log.format", "json"], folder)
            laghound = Laghound.around(process)
            self.assertIn("alive", laghound.probe("/livez"))
            self.assertIn("ready", laghound.probe("/readyz"))
            # As the image's own check, but for the port.
            healthy = [*jail, *config["Entrypoint"], "health", "--endpoint", laghound.addresses["admin"]]
            self.assertEqual(subprocess.run(healthy, check=True, capture_output=True, text=True).stdout, "ready\n")
            status = Path(f"/proc/{process.child.pid}/status").read_text(encoding="utf-8")
            self.assertIn(f"Uid:\t{NOBODY}\t{NOBODY}", status)
            process.child.send_signal(getattr(signal, config["StopSignal"]))
            self.assertEqual(process.child.wait(20), 0)


if __name__ == "__main__":
    unittest.main()
