"""When requests are due: a Poisson process of fixed count, drawn from a seed.

Given how many arrivals a Poisson process has in a window, their times are independent uniform draws. Fixing the count
to rate times duration keeps the bursts and lulls that make a queue, while every seed offers exactly the stated rate.
"""

import random


def poisson_arrivals(rate_per_s: float, duration_s: float, seed: int) -> tuple[float, ...]:
    """Due times in seconds from the start of the window, ascending; none where the window is shorter than one gap."""
    draw = random.Random(seed)  # noqa: S311 - reproducible load, nothing secret
    return tuple(sorted(draw.uniform(0.0, duration_s) for _ in range(round(rate_per_s * duration_s))))


def schedule(rate_per_s: float, warmup_s: float, duration_s: float, seed: int) -> tuple[float, ...]:
    """Due times around the start of the judged window: negative ones warm up, those from 0 on are judged."""
    warmup = poisson_arrivals(rate_per_s, warmup_s, seed + 1)
    return tuple(due_s - warmup_s for due_s in warmup) + poisson_arrivals(rate_per_s, duration_s, seed)
