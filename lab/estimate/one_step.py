"""A pipeline's call on the meta device with a single step, told apart from what is no step, such as the decoding."""

from lab.estimate.meter import Meter


def one_step(pipe, meter: Meter, **arguments: object) -> tuple[int, int]:
    """Operations of the step, and of all else; run it under `meter`."""
    before, after_step = meter.flops, []

    def note(*_: object) -> dict:
        after_step.append(meter.flops)
        return {}

    pipe(**arguments, num_inference_steps=1, output_type="pt", callback_on_step_end=note)
    return after_step[0] - before, meter.flops - after_step[0]
