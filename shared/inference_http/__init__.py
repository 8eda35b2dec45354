"""The HTTP shell that the container and the GPU tier share: everything between a socket and `pipeline.predict`."""

__version__ = "0.1.0"
"""The version that `GET /v2` states; a test holds it equal to pyproject.toml's."""
