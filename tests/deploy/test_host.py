"""The systemd unit and the packages: by systemd's own tools, dpkg and tar.

There is no systemd running here that could start the unit; what is checked is that it reads it without a
complaint, how far it locks the service in, that everything is where the unit looks for it, and that the program
says to a socket what the unit waits for.
"""

import re
import signal
import socket
import tarfile
import tempfile
import unittest
from pathlib import Path

from procs import Process
from tools import DEPLOY, ROOT, refusal, run, tool

UNIT = DEPLOY / "systemd/laghound.service"
# systemd's scale is 0 (nothing it could do) to 10; what is left is the network and the file systems it may read.
EXPOSURE = 1.5


def packed(folder):
    """The package and the tarball."""
    said = run(DEPLOY / "package/build.sh", tool("laghound"), folder)
    return [Path(line) for line in said.split()]


class Host(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.folder = Path(folder.name)
        cls.package, cls.tarball = packed(cls.folder / "first")
        cls.root = cls.folder / "root"
        run("dpkg-deb", "--extract", cls.package, cls.root)

    def test_systemd_reads_the_unit_without_a_complaint(self):
        # With the program where it lies now instead of where it would be installed.
        unit = self.folder / "laghound.service"
        text = UNIT.read_text(encoding="utf-8")
        unit.write_text(text.replace("ExecStart=/", f"ExecStart={self.root}/"), encoding="utf-8")
        run("systemd-analyze", "verify", "--man=no", unit)

    def test_a_typo_is_refused(self):
        unit = self.folder / "broken.service"
        unit.write_text(UNIT.read_text(encoding="utf-8").replace("DynamicUser", "DynamicUsr"), encoding="utf-8")
        self.assertIn("DynamicUsr", refusal("systemd-analyze", "verify", "--man=no", str(unit)))

    def test_the_service_is_locked_in(self):
        said = run("systemd-analyze", "security", "--offline=true", f"--threshold={int(EXPOSURE * 10)}", UNIT)
        level = float(re.search(r"exposure level for laghound.service: ([\d.]+)", said)[1])
        self.assertLessEqual(level, EXPOSURE)

    def test_the_package_has_what_the_unit_and_people_look_for(self):
        unit = UNIT.read_text(encoding="utf-8")
        program, config = re.search(r"ExecStart=(\S+) serve --config (\S+)", unit).groups()
        run(self.root / program.lstrip("/"), "check-config", self.root / config.lstrip("/"))
        self.assertEqual(run("dpkg-deb", "--info", self.package, "conffiles").strip(), config)
        page = re.search(r"Documentation=file://(\S+)", unit)[1]
        self.assertTrue((self.root / page.lstrip("/")).is_file())
        self.assertTrue((self.root / "usr/share/doc/laghound/copyright").is_file())
        run("promtool", "check", "rules", self.root / "usr/share/laghound/prometheus/laghound.rules.yml")
        run("amtool", "check-config", self.root / "usr/share/laghound/alertmanager/alertmanager.yml")

    def test_the_package_installs(self):
        system = self.folder / "system"
        (system / "var/lib/dpkg").mkdir(parents=True)
        (system / "var/lib/dpkg/status").touch()
        argv = ["--force-not-root", "--force-architecture", f"--root={system}", "--install", self.package]
        run("dpkg", *argv)
        run(system / "usr/bin/laghound", "--version")
        run("dpkg", f"--root={system}", "--verify", "laghound")

    def test_the_tarball_has_the_same_program(self):
        with tarfile.open(self.tarball) as tar:
            names = tar.getnames()
            top = names[0].split("/")[0]
            self.assertEqual({name.split("/")[0] for name in names}, {top})
            program = tar.extractfile(f"{top}/laghound").read()
            self.assertIn(f"{top}/LICENSE", names)
        self.assertEqual(program, (self.root / "usr/bin/laghound").read_bytes())

    def test_the_same_input_gives_the_same_bytes(self):
        again = packed(self.folder / "second")
        for one, other in zip((self.package, self.tarball), again):
            self.assertEqual(one.read_bytes(), other.read_bytes(), one.name)

    def test_the_version_is_that_of_the_program(self):
        version = run("laghound", "--version").split()[1]
        self.assertEqual(run("dpkg-deb", "--field", self.package, "Version").strip(), version)
        self.assertIn(f'version = "{version}"', (ROOT / "Cargo.toml").read_text(encoding="utf-8"))


class Supervised(unittest.TestCase):
    """What the unit relies on, said to a socket in the place of systemd's."""

    def test_it_says_when_it_serves_that_it_lives_and_when_it_ends(self):
        text = UNIT.read_text(encoding="utf-8")
        self.assertIn("\nType=notify\n", text)
        self.assertRegex(text, r"\nWatchdogSec=\d+s\n")
        with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
            systemd.bind(f"{folder}/notify")
            systemd.settimeout(30)
            said = lambda: systemd.recv(4096).decode()
            state = Path(folder, "state")
            # As systemd fills in the unit, but for the addresses.
            argv = [word.replace("${STATE_DIRECTORY}", str(state)) for word in re.search(r"ExecStart=(.*)", text)[1].split()]
            argv[0] = tool("laghound")
            argv[argv.index("--config") + 1] = str(UNIT.with_name("laghound.yaml"))
            argv += ["--log.format=json"] + [f"--{which}.endpoint=127.0.0.1:0" for which in ("receiver.grpc", "receiver.http", "admin")]
            env = {"NOTIFY_SOCKET": f"{folder}/notify", "WATCHDOG_USEC": "200000"}
            process = Process("laghound", argv, folder, env)
            messages = [said()]
            while "READY=1" not in messages[-1]:
                messages.append(said())
            while "WATCHDOG=1" not in messages[-1]:
                messages.append(said())
            self.assertNotIn("STOPPING=1", "".join(messages))
            reload = re.search(r"ExecReload=/bin/kill -(\w+) \$MAINPID", text)[1]
            process.child.send_signal(getattr(signal, f"SIG{reload}"))
            process.wait_for(lambda event: "taken over" in str(event), "a configuration taken over", 30)
            process.child.send_signal(signal.SIGTERM)
            while "STOPPING=1" not in messages[-1]:
                messages.append(said())
            self.assertEqual(process.child.wait(30), 0)
            self.assertTrue(any(state.iterdir()), "what was learned is kept")


if __name__ == "__main__":
    unittest.main()
