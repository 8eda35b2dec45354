"""What the command line shows: plain lines, and one ticking line where a person watches."""

import sys
from dataclasses import dataclass
from typing import TextIO


@dataclass
class Console:
    """Lines to a stream; `tick` rewrites the last one on a terminal and is silent elsewhere (a log wants no ticks)."""

    stream: TextIO
    _ticking: bool = False

    def say(self, text: str = "") -> None:
        """One finished line, or several."""
        self._clear()
        self.stream.write(text + "\n")
        self.stream.flush()

    def tick(self, text: str) -> None:
        """Replace the ticking line."""
        if self.stream.isatty():
            self.stream.write(f"\r\x1b[K{text}")
            self.stream.flush()
            self._ticking = True

    def _clear(self) -> None:
        if self._ticking:
            self.stream.write("\r\x1b[K")
            self._ticking = False


def standard_console() -> Console:
    """The console of this process."""
    return Console(sys.stdout)
