"""The method of `taca.methods` that an arm names."""

from taca.adaptive import MassRule, RatioRule
from taca.methods import LogCountBias, MassOnly, Method, RandomDirection, RandomImageKeys, SharpeningOnly, Temperature
from taca.text_states import TextStates


def method_of(arm) -> Method | TextStates | None:
    """What acts in an arm, as its entry of section `arms` says; None: TACA, as `apply_taca` applies it."""
    if arm.method == "temperature":
        return None if arm.until is None else Temperature(arm.gamma)
    if arm.method == "log-count-bias":
        return LogCountBias(arm.share)
    if arm.method == "text-states":
        return TextStates(arm.gamma, None if arm.blocks is None else tuple(arm.blocks))
    if arm.method == "ratio-rule":
        return RatioRule()
    if arm.method == "mass-rule":
        return MassRule(arm.method_seed)
    if arm.method in _DRAWN:
        return _DRAWN[arm.method](arm.gamma, arm.method_seed)
    return _PLAIN[arm.method](arm.gamma)


_PLAIN = {"mass-only": MassOnly, "sharpening-only": SharpeningOnly}
_DRAWN = {"random-direction": RandomDirection, "random-image-keys": RandomImageKeys}
