"""Load the gpu tier: `locust -f loadtest/gpu_load.py --headless --host http://127.0.0.1:8002`."""

from loadtest.open_load import OpenLoadUser


class GpuLoad(OpenLoadUser):
    """Sends 4K pictures to the GPU tier."""

    objective_name = "gpu-board-4k"
