"""What the loaded model can do, as its server tells it: `GET /props` of llama.cpp."""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Capabilities:
    """`tools`: the chat template has a place for them, without which a model never hears of any. `max_model_len` in tokens."""

    tools: bool
    vision: bool
    audio: bool
    max_model_len: int

    def as_report(self) -> dict[str, Any]:
        """For the control plane, in every heartbeat."""
        return asdict(self)

    def as_openai(self) -> dict[str, bool]:
        """The object `capabilities` of a model in `GET /v1/models`, which has its length beside it."""
        return {"tools": self.tools, "vision": self.vision, "audio": self.audio}


def capabilities_of(props: dict[str, Any], *, context_length: int) -> Capabilities:
    template, modalities = props.get("chat_template_caps") or {}, props.get("modalities") or {}
    return Capabilities(
        tools=template.get("supports_tools") is True,
        vision=modalities.get("vision") is True,
        audio=modalities.get("audio") is True,
        max_model_len=context_length,
    )
