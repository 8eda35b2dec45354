"""Load the container tier: `locust -f loadtest/container_load.py --headless --host http://127.0.0.1:8001`."""

from loadtest.open_load import OpenLoadUser


class ContainerLoad(OpenLoadUser):
    """Sends 4K pictures to the container tier."""

    objective_name = "container-board-4k"
