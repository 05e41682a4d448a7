"""A process takes the threads that it may use, and they spin briefly: before torch is imported, and only where the user
has not decided."""

import os
import subprocess
import sys

import pytest

from streamlearn.core.threads import Allowance, allowed, spin_briefly, threads, told


def folders(root, files):
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


@pytest.mark.parametrize(
    ("files", "cpus"),
    [
        ({}, 8),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "max 100000\n"}, 8),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "150000 100000\n"}, 2),
        ({"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/cpu.max": "50000 100000\n"}, 1),
        ({"proc/self/cgroup": "0::/a\n", "sys/fs/cgroup/a/cpu.max": "900000 100000\n"}, 8),
        (
            {
                "proc/self/cgroup": "3:memory:/x\n2:cpu,cpuacct:/d\n",
                "sys/fs/cgroup/cpu/d/cpu.cfs_quota_us": "300000\n",
                "sys/fs/cgroup/cpu/d/cpu.cfs_period_us": "100000\n",
            },
            3,
        ),
        (
            {
                "proc/self/cgroup": "2:cpu,cpuacct:/d\n",
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
            },
            8,
        ),
    ],
)
def test_the_quota_of_the_control_group_bounds_the_cpus(tmp_path, files, cpus):
    found = allowed(folders(tmp_path, files), affinity=8)
    assert found.cpus == cpus
    assert ("quota" in found.why) == (cpus < 8)


BOUND = """
import os, sys, torch
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
from streamlearn.model.config import ModelConfig
from streamlearn.core.threads import allowed
from streamlearn.model.loading import load
torch.set_num_threads(4)
for given in (None, 3):
    load(ModelConfig(name=sys.argv[1], threads=given))
    print(allowed().cpus, torch.get_num_threads())
"""


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system binds no process to CPUs")
def test_a_model_takes_the_threads_that_are_given_or_the_cpus_that_the_process_may_run_on(tiny):
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    done = subprocess.run(
        [sys.executable, "-c", BOUND, str(tiny)], env=environment, capture_output=True, text=True, check=False
    )
    assert done.stdout == "1 1\n1 3\n", done.stderr


def test_threads_are_never_more_than_torch_takes_and_a_number_of_the_users_decides():
    assert threads(4, {}, Allowance(8, "")) == 4
    assert threads(4, {}, Allowance(2, "")) == 2
    assert threads(4, {"OMP_NUM_THREADS": "4"}, Allowance(2, "")) == 4


@pytest.mark.parametrize("own", [{}, {"GOMP_SPINCOUNT": "7"}, {"OMP_WAIT_POLICY": "PASSIVE"}])
def test_the_spin_is_short_where_the_user_has_not_decided(own):
    changed = dict(own)
    spin_briefly(changed)
    assert changed == (own or {"GOMP_SPINCOUNT": "1000"})


def test_what_was_taken_is_told_with_its_reason():
    assert told(3, {"GOMP_SPINCOUNT": "1000"}) == "threads: 3, by model.threads; they wait as GOMP_SPINCOUNT=1000 says"
    assert told(None, {"OMP_NUM_THREADS": "5"}).startswith("threads: 5, by OMP_NUM_THREADS; they spin")
    assert told(None, {}).startswith("threads: at most ")


def test_a_command_has_set_it_before_torch_is_there(tmp_path):
    """As the command line starts: whoever imports torch later finds it."""
    code = (
        "import os, sys\n"
        "from streamlearn.commands.cli import main\n"
        "sys.argv = ['streamlearn', '--help']\n"
        "try:\n    main()\n"
        "except SystemExit:\n    pass\n"
        "sys.exit('torch' in sys.modules or os.environ.get('GOMP_SPINCOUNT') != '1000')"
    )
    own = {name: value for name, value in os.environ.items() if name not in {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"}}
    assert subprocess.run([sys.executable, "-c", code], env=own, check=False, capture_output=True).returncode == 0


def test_who_imports_the_package_keeps_its_environment():
    code = "import os, streamlearn.api; raise SystemExit('GOMP_SPINCOUNT' in os.environ)"
    own = {name: value for name, value in os.environ.items() if name not in {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"}}
    assert subprocess.run([sys.executable, "-c", code], env=own, check=False).returncode == 0
