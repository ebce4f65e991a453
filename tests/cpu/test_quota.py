"""How many cores' time a container grants, as Linux' control groups state it."""

import pytest

from pylstm import _core

V1 = "sys/fs/cgroup/cpu/"
V2 = "sys/fs/cgroup/"


@pytest.mark.parametrize(
    ("groups", "files", "cores"),
    [
        ("0::/\n", {V2 + "cpu.max": "200000 100000"}, 2),
        ("0::/\n", {V2 + "cpu.max": "150000 100000"}, 2),  # rounded up
        ("0::/\n", {V2 + "cpu.max": "5000 100000"}, 1),
        ("0::/\n", {V2 + "cpu.max": "max 100000"}, None),
        ("0::/\n", {}, None),
        ("0::/a/b\n", {V2 + "a/b/cpu.max": "300000 100000"}, 3),
        ("0::/a/b\n", {V2 + "a/b/cpu.max": "max 100000", V2 + "a/cpu.max": "400000 100000"}, 4),
        ("0::/a/b\n", {V2 + "a/b/cpu.max": "700000 100000", V2 + "a/cpu.max": "40000 10000"}, 4),
        (
            "5:memory:/\n3:cpu,cpuacct:/docker/7\n0::/\n",  # of which the container sees its own
            {V1 + "cpu.cfs_quota_us": "600000", V1 + "cpu.cfs_period_us": "100000"},
            6,
        ),
        ("1:cpu:/\n", {V1 + "cpu.cfs_quota_us": "-1", V1 + "cpu.cfs_period_us": "100000"}, None),
        ("1:cpu:/\n", {V1 + "cpu.cfs_quota_us": "100000"}, None),
        ("2:cpuset:/\n", {V1 + "cpu.cfs_quota_us": "1", V1 + "cpu.cfs_period_us": "1"}, None),
        ("1:cpu:/\n", {V1 + "cpu.cfs_quota_us": "", V1 + "cpu.cfs_period_us": "0"}, None),
        ("", {V2 + "cpu.max": "200000 100000"}, None),
        (None, {V2 + "cpu.max": "200000 100000"}, None),
    ],
)
def test_quota_cores(tmp_path, groups, files, cores):
    if groups is not None:
        files = {**files, "proc/self/cgroup": groups}
    for name, text in files.items():
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    assert _core.quota_cores(str(tmp_path)) == cores
