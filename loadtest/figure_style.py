"""How this project's figures look: Matplotlib's settings, which every plot module fills with its own colours."""

from typing import Any


def figure_style(*, ink: str, muted: str, line: str, size: float, **more: Any) -> dict[Any, Any]:
    """For `rc_context`: text in `ink`, axes and grid in `line`, their labels in `muted`, fonts of `size` points. `more`
    names settings with `_` for each dot, and overrides.
    """
    style = {
        "svg.fonttype": "none",  # text stays text: the page's font, selectable, the same bytes wherever it is drawn
        "font.size": size,
        "text.color": ink,
        "axes.edgecolor": line,
        "axes.labelcolor": muted,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": line,
        "grid.linewidth": 0.6,
        "legend.frameon": False,
    }
    for axis in ("xtick", "ytick"):
        style |= {f"{axis}.color": muted, f"{axis}.major.size": 0, f"{axis}.minor.size": 0}
    return style | {name.replace("_", "."): value for name, value in more.items()}
