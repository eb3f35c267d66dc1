"""The settings of an arm or an adapter under names that stay the same, so that runs of many can be compared."""

from lab.params.sections import Params


def arm_settings(params: Params, name: str) -> dict[str, object]:
    """What makes an arm: `method`, `gamma`, `threshold`, `guidance`, its adapter's settings, `base`, `protocol`.

    What is not known without the weights, such as the rank of an adapter that someone else trained, is left out.
    """
    arm, prompts, images = params.arms[name], params.prompts, images_of(params, name)
    return {
        **adapter_settings(params, arm.adapter),
        "method": arm.method if arm.method != "temperature" else _method(arm.gamma),
        "gamma": arm.gamma,
        "threshold": arm.threshold,
        **_chosen_at(arm),
        **{
            name: getattr(arm, name)
            for name in ("method_seed", "share", "until", "guidance_window", "guider", "blocks")
            if getattr(arm, name) is not None
        },
        "guidance": arm.guidance,
        "protocol": f"{prompts.source}, split {prompts.split}, images per prompt {images}",
    }


def images_of(params: Params, arm: str) -> int:
    """Images that an arm draws of each prompt."""
    return params.arms[arm].images_per_prompt or params.generate.images_per_prompt


def training_settings(params: Params, name: str) -> dict[str, object]:
    """What an adapter is trained with: `method`, `gamma` and `threshold` beside its settings."""
    settings, adapter = adapter_settings(params, name), params.adapters[name]
    if adapter.rank == 0:
        return settings
    trained = {"method": _method(adapter.gamma), "gamma": adapter.gamma, "threshold": adapter.threshold}
    return {**settings, **trained, **_chosen_at(adapter)}


def adapter_settings(params: Params, name: str) -> dict[str, object]:
    """What makes an adapter: its name as `adapter`, `adapter_gamma`, `rank`, and the `base` that it is for."""
    known = {"adapter": name, "base": params.base.name}
    adapter = params.adapters.get(name)
    if adapter is None:
        return known
    trained = {"adapter_gamma": adapter.gamma} if adapter.rank else {}
    if adapter.keep_gamma:
        trained["keep_gamma"] = True
    return {**known, **trained, "rank": adapter.rank}


def _chosen_at(section) -> dict[str, object]:
    return {} if section.threshold_tokens is None else {"threshold_tokens": section.threshold_tokens}


def _method(gamma: float) -> str:
    return "plain" if gamma == 1 else "taca"
