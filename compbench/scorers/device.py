"""Where the published models compute, unless the user says."""

import torch

from compbench.errors import CompbenchError


def choose_device(asked: str | None) -> tuple[str, str]:
    """The device, and why it is that one.

    Raises: CompbenchError for a device that does not exist here.
    """
    if asked is None:
        return ("cuda", "there is a GPU") if torch.cuda.is_available() else ("cpu", "there is no GPU")
    try:
        torch.empty(0, device=asked)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise CompbenchError(f"There is no device {asked!r} here ({reason}): leave --device out, or say cpu.") from None
    return asked, "as asked"
