"""What an operator can set of the inference API."""

from typing import Final

from models.settings.values import FamilySettings, HttpUrl, Seconds


class InferenceSettings(FamilySettings):
    llm_base_url: HttpUrl | None = None
    """OpenAI-compatible API that the platform's own features call. Default: its own `<public_url>/v1`."""
    inference_default_model: str | None = None
    """Model for requests to `/v1` that name none. Default: such a request is refused."""
    upstream_connect_timeout_s: Seconds = 5.0
    """Longest wait in seconds for a connection to a model server."""
    upstream_timeout_s: Seconds = 600.0
    """Longest wait in seconds for a model server's answer that is not streamed."""
    upstream_stream_timeout_s: Seconds = 3600.0
    """Longest time in seconds for a streamed answer."""
    upstream_stream_idle_timeout_s: Seconds = 300.0
    """Longest silence in seconds of a model server within a streamed answer, and before its first byte."""


FAMILY: Final = InferenceSettings
