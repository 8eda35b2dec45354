"""Load the function tier: `locust -f loadtest/function_load.py --headless --host http://127.0.0.1:8000`."""

from loadtest.open_load import OpenLoadUser


class FunctionLoad(OpenLoadUser):
    """Sends tabular rows to the function tier."""

    objective_name = "function-row"
