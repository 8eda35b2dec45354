"""Three of the four settings that make the function tier single-threaded. The fourth, `perInstanceConcurrency` 1, is a
property of the deployment, which the infrastructure's own checks hold.
"""

import inspect
import json

import azure.functions as func
import function_app

from tests.conftest import PROJECT

FOLDER = PROJECT / "functions"
WORKER = {"FUNCTIONS_WORKER_PROCESS_COUNT": "1", "PYTHON_THREADPOOL_THREAD_COUNT": "1"}


def test_the_worker_is_one_process_with_one_thread() -> None:
    values = json.loads((FOLDER / "local.settings.sample.json").read_text())["Values"]
    assert {key: values[key] for key in WORKER} == WORKER


def test_every_session_runs_on_one_thread() -> None:
    pipelines = list(function_app.MODELS)
    assert pipelines
    for pipeline in pipelines:
        options = pipeline.session._session.get_session_options()
        assert options.intra_op_num_threads == options.inter_op_num_threads == 1
        assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"


def test_handlers_run_in_the_thread_pool(functions: list[func.Function]) -> None:
    for function in functions:
        handler = function.get_user_function()
        assert not inspect.iscoroutinefunction(handler)
        assert list(inspect.signature(handler).parameters) == ["req"]


def test_the_platform_adds_no_prefix_and_asks_for_a_key(functions: list[func.Function]) -> None:
    assert json.loads((FOLDER / "host.json").read_text())["extensions"]["http"]["routePrefix"] == ""
    levels = {
        str(function.get_function_name()): json.loads(function.get_raw_bindings()[0])["authLevel"].upper()
        for function in functions
    }
    open_to_all = {name for name, level in levels.items() if level == "ANONYMOUS"}
    assert open_to_all == {"health_live", "health_ready"}
    assert {level for name, level in levels.items() if name not in open_to_all} == {"FUNCTION"}
