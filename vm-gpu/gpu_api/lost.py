"""The end of a process whose GPU is lost. A CUDA context does not heal: only a new process can use the GPU again, or
whatever GPU the platform finds in its place.
"""

import logging
import os
import threading

from inference_core.errors import DeviceLost

EXIT_STATUS = 70
"""EX_SOFTWARE: whatever starts this process again (systemd, Docker, Container Apps) sees that it failed."""
_FAREWELL_S = 2.0
"""Long enough for the refusals to reach their clients, and for a probe to see that the tier is not ready."""

_LOG = logging.getLogger("inference.gpu")


def end_process(failure: DeviceLost) -> None:
    """Log why, and end the process soon. Requests are refused and readiness is gone meanwhile."""
    _LOG.critical(
        "The GPU is lost and this process ends with status %d, to be started again: %s The kernel's log (dmesg, NVRM: "
        "Xid) has the driver's word on it.",
        EXIT_STATUS,
        failure.detail,
    )
    # Not by way of SIGTERM: nothing can be finished, and CUDA's own clean-up may hang on a lost device.
    timer = threading.Timer(_FAREWELL_S, os._exit, (EXIT_STATUS,))
    timer.daemon = True
    timer.start()
