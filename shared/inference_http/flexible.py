"""Work whose form is chosen when it begins."""

from collections.abc import Callable
from typing import Protocol, TypeVar

T_co = TypeVar("T_co", covariant=True)


class Flexible(Protocol[T_co]):
    """Work that can be done in less time where less is left, if not as well."""

    @property
    def due(self) -> float | None:
        """When its answer is wanted, on the clock of `perf_counter`."""
        ...

    def least_s(self) -> float:
        """Seconds within which its shortest form nearly surely ends."""
        ...

    def check(self, wait_s: float) -> None:
        """Raise InferenceError when no form of it would end in time after a wait of `wait_s`."""
        ...

    def begin(self, spares: Callable[[float], bool]) -> tuple[Callable[[], T_co], float]:
        """The form to do now, and the seconds within which it nearly surely ends; preferably one whose seconds leave
        enough to those who wait behind it (`spares`). Raises DeadlineUnmet when too little time is left for any.
        """
        ...
