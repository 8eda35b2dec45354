"""`tiers chart`: accuracy over response time, from the records of one or more machines."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from tier_planner.measurements import Measurement, is_measurement, read_measurement
from tier_planner.tables import TableError

from loadtest.paths import ROOT
from tier_measure.curves import picture_of
from tier_measure.errors import MeasureError
from tier_measure.page import write_page
from tier_measure.plot import write_plots

OUT = ROOT / "build" / "chart"
NAME = "accuracy-over-time"
KINDS = ("png", "svg", "html")


def main(arguments: Sequence[str]) -> int:
    """Draw the records. Returns 0, or 2 when they cannot be drawn."""
    parser = argparse.ArgumentParser(
        prog="tiers chart", description="Draw accuracy over response time: a curve for each machine and power."
    )
    parser.add_argument(
        "records", type=Path, nargs="+", metavar="RECORD", help="what `tiers measure` wrote; others are passed over"
    )
    parser.add_argument("--out", type=Path, default=OUT, metavar="DIR", help="where PNG, SVG and HTML go")
    parser.add_argument("--name", default=NAME, help=f"of the files, less their endings (default: {NAME})")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS, help=f"(default: {' '.join(KINDS)})")
    options = parser.parse_args(arguments)
    try:
        picture = picture_of(_measurements(options.records))
    except (MeasureError, TableError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    paths = [options.out / f"{options.name}.{kind}" for kind in options.kinds]
    write_plots([path for path in paths if path.suffix != ".html"], picture)
    for path in paths:
        if path.suffix == ".html":
            write_page(path, picture)
        sys.stdout.write(f"{path}\n")
    return 0


def _measurements(paths: Sequence[Path]) -> list[Measurement]:
    """Those of `paths` that are measurements, named on standard error where they are not. Raises TableError."""
    others = [path for path in paths if path.is_file() and not is_measurement(path)]
    if len(others) == len(paths):
        raise MeasureError(f"None of {', '.join(map(str, paths))} is what `tiers measure` writes.")
    for path in others:
        sys.stderr.write(f"passed over, not of `tiers measure`: {path}\n")
    return [read_measurement(path) for path in paths if path not in others]
