"""Transformers of diffusers in which TACA means nothing, and why."""

_CROSS = (
    "reads the prompt by cross-attention, whose softmax holds text keys alone: there is nothing to weigh the text "
    "against; pass a transformer with joint attention"
)
_NO_PROMPT = "has no prompt among the tokens that attend to each other; pass a transformer that draws from a prompt"
_NO_IMAGE = "draws no image and no video; pass a transformer that does"

REFUSALS = {
    **dict.fromkeys(
        (
            "AllegroTransformer3DModel",
            "AnyFlowFARTransformer3DModel",
            "AnyFlowTransformer3DModel",
            "ChronoEditTransformer3DModel",
            "CosmosTransformer3DModel",
            "DreamLiteTransformer2DModel",
            "HeliosTransformer3DModel",
            "HunyuanDiT2DModel",
            "Kandinsky5Transformer3DModel",
            "Kandinsky6Transformer3DModel",
            "LTX2VideoTransformer3DModel",
            "LTXVideoTransformer3DModel",
            "LatteTransformer3DModel",
            "LuminaNextDiT2DModel",
            "PixArtTransformer2DModel",
            "SanaTransformer2DModel",
            "SanaVideoTransformer3DModel",
            "SanaWMLTX2RefinerTransformer3DModel",
            "SanaWMTransformer3DModel",
            "SkyReelsV2Transformer3DModel",
            "Transformer2DModel",
            "WanAnimate2Transformer3DModel",
            "WanAnimateTransformer3DModel",
            "WanTransformer3DModel",
            "WanVACETransformer3DModel",
        ),
        _CROSS,
    ),
    **dict.fromkeys(
        ("DiTTransformer2DModel", "Kandinsky6SRTransformer3DModel", "TransformerTemporalModel"), _NO_PROMPT
    ),
    **dict.fromkeys(
        (
            "AceStepTransformer1DModel",
            "LongCatAudioDiTTransformer",
            "MiniMaxMusic3RVQDepthDecoder",
            "MiniMaxMusic3Transformer1DModel",
            "PriorTransformer",
            "RFD4ProteinaTransformer",
            "StableAudio3DiTModel",
            "StableAudioDiTModel",
            "T5FilmDecoder",
        ),
        _NO_IMAGE,
    ),
}
"""Class and reason; a subclass is refused as its class."""
