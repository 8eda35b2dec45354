"""Settings become provider options; engines of TensorRT are kept apart by what they were built under."""

import logging
from pathlib import Path

import pytest
from inference_core.errors import ProviderError
from inference_core.providers import CPU, CUDA, GpuPlan, check_nodes, engine_folder, gpu_providers
from inference_core.settings import GpuSettings, read_as


def cuda_options(key: str = "GPU_DEVICE", value: str = "0", *, graphs: bool = False) -> dict[str, str]:
    plan = GpuPlan(read_as(GpuSettings, {f"INFERENCE_{key}": value}), graphs)
    ((name, options),) = gpu_providers(plan, runtime_version="1.31.1")
    assert name == CUDA
    return options


def test_the_defaults_are_those_for_few_fixed_shapes() -> None:
    options = cuda_options()
    assert options["cudnn_conv_algo_search"] == "HEURISTIC"
    assert options["arena_extend_strategy"] == "kSameAsRequested"
    assert options["do_copy_in_default_stream"] == "1"
    assert options["device_id"] == "0"
    assert "gpu_mem_limit" not in options


@pytest.mark.parametrize(
    ("key", "value", "option", "wanted"),
    [
        ("GPU_DEVICE", "2", "device_id", "2"),
        ("GPU_MEMORY_BYTES_MAX", "1000000", "gpu_mem_limit", "1000000"),
        ("GPU_TF32", "0", "use_tf32", "0"),
        ("GPU_NHWC", "1", "prefer_nhwc", "1"),
    ],
)
def test_a_setting_becomes_its_option(key: str, value: str, option: str, wanted: str) -> None:
    assert cuda_options(key, value)[option] == wanted
    assert cuda_options().get(option) != wanted


def test_graphs_are_asked_for_by_the_plan_of_a_bound_session_alone() -> None:
    assert cuda_options()["enable_cuda_graph"] == "0"
    assert cuda_options(graphs=True)["enable_cuda_graph"] == "1"


def test_engines_are_kept_apart_by_gpu_driver_and_versions(tmp_path: Path) -> None:
    facts = ("NVIDIA H100 80GB HBM3", "driver-580.95", "onnxruntime-1.31.1", "tensorrt-101300")
    folder = engine_folder(tmp_path, *facts)
    assert folder.is_dir()
    assert folder.name == "NVIDIA-H100-80GB-HBM3_driver-580.95_onnxruntime-1.31.1_tensorrt-101300"
    others = {engine_folder(tmp_path, *facts[:n], "other", *facts[n + 1 :]) for n in range(4)}
    assert len(others | {folder}) == 5
    assert engine_folder(tmp_path, "../../elsewhere").parent == tmp_path


def test_tensorrt_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ProviderError, match="INFERENCE_GPU_TENSORRT_DIR"):
        gpu_providers(GpuPlan(GpuSettings(gpu_tensorrt_dir=str(tmp_path))), runtime_version="1.31.1")


def test_nodes_left_to_the_cpu_are_said(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "inference.session"):
        check_nodes({CUDA: 120, CPU: 3}, ["Shape", "Range", "Shape"])
    assert [record.getMessage() for record in caplog.records] == [
        "nodes: CUDA 120, CPU 3",
        "3 nodes fell to the CPU: Range, Shape",
    ]


def test_a_graph_of_which_the_gpu_got_nothing_is_refused() -> None:
    with pytest.raises(ProviderError, match="every node of the graph went elsewhere"):
        check_nodes({CPU: 12}, ["Conv"] * 12)
