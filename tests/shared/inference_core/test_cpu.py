"""Threads come from the affinity and the cgroup quota, of either version."""

import os
from pathlib import Path

import pytest
from inference_core import cpu


def cgroup_file(folder: Path, line: str) -> Path:
    path = folder / "self_cgroup"
    path.write_text(line + "\n")
    return path


def test_no_quota_is_none(tmp_path: Path) -> None:
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert cpu.quota_cores(tmp_path, cgroup_file(tmp_path, "0::/")) is None


def test_a_v2_quota_is_read_in_cores(tmp_path: Path) -> None:
    (tmp_path / "cpu.max").write_text("150000 100000\n")
    assert cpu.quota_cores(tmp_path, cgroup_file(tmp_path, "0::/")) == 1.5


def test_the_tightest_quota_among_the_parents_binds(tmp_path: Path) -> None:
    inner = tmp_path / "pod" / "app"
    inner.mkdir(parents=True)
    (inner / "cpu.max").write_text("400000 100000\n")
    (inner.parent / "cpu.max").write_text("200000 100000\n")
    assert cpu.quota_cores(tmp_path, cgroup_file(tmp_path, "0::/pod/app")) == 2.0


def test_a_v1_quota_is_read_in_cores(tmp_path: Path) -> None:
    folder = tmp_path / "cpu,cpuacct" / "docker"
    folder.mkdir(parents=True)
    (folder / "cpu.cfs_quota_us").write_text("50000\n")
    (folder / "cpu.cfs_period_us").write_text("100000\n")
    assert cpu.quota_cores(tmp_path, cgroup_file(tmp_path, "4:cpu,cpuacct:/docker")) == 0.5


def test_a_v1_group_without_quota_is_none(tmp_path: Path) -> None:
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text("-1\n")
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("100000\n")
    assert cpu.quota_cores(tmp_path, tmp_path / "missing") is None


@pytest.mark.parametrize(("quota", "cores"), [(0.25, 1), (1.0, 1), (1.2, 2), (64.0, 4)])
def test_cores_are_the_affinity_bounded_by_the_quota_rounded_up(
    quota: float, cores: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cpu, "quota_cores", lambda: quota)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3})
    assert cpu.usable_cores() == cores


def test_the_processor_has_a_name_also_where_the_system_does_not_tell_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cpu.cpu_name()
    monkeypatch.setattr(cpu, "CPUINFO", tmp_path / "none")
    assert cpu.cpu_name()
    (tmp_path / "cpuinfo").write_text("processor : 0\nmodel name : A processor\nmodel name : Another\n")
    monkeypatch.setattr(cpu, "CPUINFO", tmp_path / "cpuinfo")
    assert cpu.cpu_name() == "A processor"
