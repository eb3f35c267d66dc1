"""The most bytes that PyTorch's allocator had given out at once on the CPU, by its own record."""

from collections.abc import Callable

from torch.profiler import ProfilerActivity, profile


def peak_of(run: Callable[[], object]) -> int:
    """Beyond what there was before `run`."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        run()
    events = [event for event in recorded.profiler.kineto_results.events() if event.name() == "[memory]"]
    live = peak = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        live += event.nbytes()
        peak = max(peak, live)
    return peak
