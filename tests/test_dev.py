"""`./dev` needs a shell and Python only, installs once what the lock names, and says what is missing and how to get it.

Its set-up is tested with a stand-in for Python that notes what it is asked to install.
"""

import os
import re
import shutil
import socket
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
UTILITIES = [
    *("basename", "cat", "cksum", "cp", "dirname", "grep", "mkdir", "mv"),
    *("ps", "rm", "sed", "sh", "sleep", "tail", "tr", "uname"),
]
LOCK = """\
networkx==3.7 ; python_full_version >= '3.12'
nvidia-cublas==13.4 ; sys_platform == 'linux'
cuda-toolkit==13.2 ; sys_platform == 'linux'
torch==2.15.0
triton==3.9.0 ; sys_platform == 'linux'
"""
PYTHON = """\
#!/bin/sh
case "$*" in
    *version_info* | "-c ") exit 0 ;;
    *ensurepip*) [ ! -e no-venv ] ;;
    "-m venv --clear .venv") rm -rf .venv && mkdir -p .venv/bin && cp "$0" .venv/bin/python ;;
    *"-m pip"*)
        echo "${0##*/} $*" >>asked
        while [ $# -gt 0 ]; do [ "$1" != -r ] || cat "$2" >>asked; shift; done
        [ ! -e no-network ]
        ;;
    *) echo "${0##*/} $*" ;;
esac
"""


class Checkout:
    """A folder with `dev` and little else, and a path on which only the named programs are."""

    def __init__(self, root: Path) -> None:
        self.root, self.bin = root / "check out", root / "bin"
        self.root.mkdir()
        self.bin.mkdir()
        for name in UTILITIES:
            (self.bin / name).symlink_to(shutil.which(name))
        shutil.copy(ROOT / "dev", self.root)
        (self.root / "requirements.lock").write_text(LOCK)
        (self.root / "pyproject.toml").write_text("[project]\n")

    def program(self, name, text):
        path = self.bin / name
        path.write_text(text)
        path.chmod(0o755)

    def dev(self, *args, **env):
        """Run it from another folder: its status and all that it prints."""
        done = subprocess.run(
            [self.root / "dev", *args],
            cwd=self.bin,
            env={"PATH": str(self.bin)} | env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
            check=False,
        )
        return done.returncode, done.stdout

    def asked(self):
        """Return what pip was asked for since the last time."""
        path = self.root / "asked"
        text = path.read_text() if path.exists() else ""
        path.unlink(missing_ok=True)
        return text


@pytest.fixture
def checkout(tmp_path):
    return Checkout(tmp_path)


@pytest.fixture
def python(checkout):
    checkout.program("python3", PYTHON)


@pytest.mark.parametrize("args", [(), ("help",), ("--help",)])
def test_usage(checkout, args):
    status, text = checkout.dev(*args)
    assert status == 0
    assert text.startswith("usage: ./dev COMMAND")


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (("tset",), "no command named 'tset'"),
        (("bench", "nothing"), "no benchmark named 'nothing'"),
        (("kafka",), "start|stop|status"),
        (("kafka", "start", "now"), "start|stop|status"),
    ],
)
def test_a_wrong_call_is_told(checkout, args, says):
    status, text = checkout.dev(*args)
    assert (status, says in text) == (2, True)


def test_no_python(checkout):
    checkout.program("python3.12", "#!/bin/sh\nexit 127\n")  # a stub that some version managers leave on the path
    status, text = checkout.dev("setup")
    assert status == 69
    assert "no Python 3.11 or newer" in text
    assert "apt-get install python3" in text


def test_python_without_venv(checkout, python):
    (checkout.root / "no-venv").touch()
    status, text = checkout.dev("setup")
    assert status == 69
    assert "apt-get install python3-venv" in text


def test_installs_once_and_says_how_much(checkout, python):
    status, text = checkout.dev("demo", "--events", "a b")
    assert status == 0
    assert "GB" in text
    assert text.endswith("python -m streamlearn demo --events a b\n")
    asked = checkout.asked()
    assert LOCK in asked
    assert "--editable ." in asked
    assert "--index-url" not in asked

    assert checkout.dev("test", "-k", "x") == (0, "python -m pytest -m not slow and not faults -k x\n")
    parts = ["-n auto --dist worksteal -m not slow and not faults and not kafka", "-m (slow or kafka) and not faults"]
    assert checkout.dev("test", "--all", "-x") == (0, "".join(f"python -m pytest {part} -x\n" for part in parts))
    assert checkout.dev("test") == (0, "python -m pytest -m not slow and not faults -n auto --dist worksteal\n")
    assert not checkout.asked()

    (checkout.root / "requirements.lock").write_text(LOCK + "new==1\n")
    status, text = checkout.dev("setup")
    assert (status, "has changed" in text) == (0, True)
    assert "new==1" in checkout.asked()


def test_a_failed_installation_is_told_and_taken_up_again(checkout, python):
    (checkout.root / "no-network").touch()
    status, text = checkout.dev("test")
    assert status == 1
    assert "pip failed" in text
    assert "pytest" not in text
    (checkout.root / "no-network").unlink()
    checkout.asked()
    assert checkout.dev("test")[0] == 0
    assert LOCK in checkout.asked()


def test_torch_from_another_index_comes_without_cuda(checkout, python):
    assert checkout.dev("setup")[0] == 0
    checkout.asked()
    assert checkout.dev("setup", STREAMLEARN_TORCH_INDEX="file:///cpu")[0] == 0
    torch, others = re.split(r"(?m)^(?=python .* -r .venv/tmp/others)", checkout.asked())
    assert re.search(r"--index-url file:///cpu .*\ntorch==2.15.0\n$", torch)
    assert "networkx==3.7" in others
    assert not re.search("torch==|triton|nvidia|cuda", others)

    assert checkout.dev("setup") == (0, "")  # the choice is kept
    assert checkout.dev("setup", STREAMLEARN_TORCH_INDEX="")[0] == 0  # and can be taken back
    assert LOCK in checkout.asked()


def test_bench_lists_its_names(checkout):
    folder = checkout.root / "tests" / "bench"
    assert checkout.dev("bench") == (0, "")
    folder.mkdir(parents=True)
    for name in ("__init__", "_helper", "throughput"):
        (folder / f"{name}.py").touch()
    assert checkout.dev("bench") == (0, "throughput\n")


JAVA_17 = "#!/bin/sh\necho 'openjdk version \"17.0.15\" 2025-04-15' >&2\n"


@pytest.mark.parametrize("java", [None, JAVA_17.replace("17.0", "11.0"), "#!/bin/sh\nexit 1\n"])
def test_kafka_without_java(checkout, java):
    if java:
        checkout.program("java", java)
    status, text = checkout.dev("kafka", "start")
    assert status == 69
    assert "Java 17 or newer" in text
    assert "apt-get install" in text


def test_kafka_without_maven(checkout):
    checkout.program("java", JAVA_17)
    (checkout.bin / "python3").symlink_to(sys.executable)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    status, text = checkout.dev("kafka", "start", STREAMLEARN_KAFKA_PORT=str(port))
    assert status == 69
    assert "apt-get install maven" in text


def test_kafka_on_a_taken_port(checkout):
    checkout.program("java", JAVA_17)
    (checkout.bin / "python3").symlink_to(sys.executable)
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        status, text = checkout.dev("kafka", "start", STREAMLEARN_KAFKA_PORT=str(port))
    assert status == 1
    assert f"another program listens on port {port}" in text


@pytest.mark.parametrize("port", ["broker:9092", "-1", "123456"])
def test_kafka_on_no_port(checkout, port):
    status, text = checkout.dev("kafka", "status", STREAMLEARN_KAFKA_PORT=port)
    assert (status, "no port" in text) == (2, True)


def test_kafka_never_takes_another_process_for_its_own(checkout):
    home = checkout.root / ".dev" / "kafka" / "9092"
    home.mkdir(parents=True)
    (home / "pid").write_text(f"{os.getpid()}\n")
    assert checkout.dev("kafka", "status") == (1, "Kafka does not run\n")
    assert checkout.dev("kafka", "stop") == (0, "Kafka does not run on 127.0.0.1:9092\n")


@pytest.mark.tool("shellcheck")
def test_the_shell_scripts_are_sound():
    subprocess.run(["shellcheck", ROOT / "dev", ROOT / ".ci" / "run"], check=True)


def test_the_lock_pins_what_the_project_asks_for():
    lines = [line for line in (ROOT / "requirements.lock").read_text().splitlines() if not line.startswith("#")]
    pins: dict[str, list[str]] = {}
    for line in lines:
        found = re.fullmatch(r"([a-z0-9-]+)==([a-z0-9.!]+)( ; [a-z_]+ .*| ; \(.*)?", line)
        assert found, f"not a name with its version: {line}"
        pins.setdefault(found[1], []).append(found[2])
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    for each in map(Requirement, project["project"]["dependencies"] + project["dependency-groups"]["dev"]):
        versions = pins.get(canonicalize_name(each.name), [])
        assert versions, f"{each.name} is not in requirements.lock -> ./dev lock"
        assert all(each.specifier.contains(version) for version in versions), f"{each} -> ./dev lock"


@pytest.mark.tool("git")
def test_no_file_names_the_host_of_a_package_registry():
    # whoever has a mirror says so in pip's, Maven's or apt's own settings, and nothing here contradicts them
    names = ["pypi", "pythonhosted", "download.pytorch", "repo1.maven", "repo.maven.apache", "npmjs", "debian"]
    host = re.compile(rf"(?:{'|'.join(map(re.escape, names))})\.(?:org|com)\b".encode())
    files = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout.split(b"\0")
    paths = [ROOT / os.fsdecode(name) for name in files if name]
    assert [path for path in paths if path.is_file() and host.search(path.read_bytes())] == []
