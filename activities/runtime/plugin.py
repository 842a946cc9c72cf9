"""The one plugin of this platform, given to Client.connect, Worker and Replayer alike."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

from temporalio.converter import DataConverter
from temporalio.plugin import SimplePlugin
from temporalio.worker.workflow_sandbox import SandboxRestrictions

from activities.runtime.codec import EncryptionCodec
from activities.runtime.converter import PlatformPayloadConverter
from activities.runtime.crash import refuse_unknown_selection
from activities.runtime.failures import PlatformFailureConverter
from activities.runtime.interceptors import CrashAfterReturn, FailureTranslation, RequestContextPropagation
from activities.runtime.messages import OneArgumentRunner
from activities.runtime.sandbox import LoadedOnceRunner
from models.base.errors import AppError

PASSTHROUGH: Final = (
    "pydantic", "pydantic_core", "annotated_types", "models", "activities", "workflows.options", "workflows.patches",
)  # fmt: skip
"""Modules that the workflow sandbox does not load anew. The first define the payload types, so that a class is one class. The two
of the workflows hold nothing but constants: to load them for every run took two fifths of its start.
"""


def platform_plugin(codec_key: bytes | None, *, previous_codec_keys: Sequence[bytes] = ()) -> SimplePlugin:
    """Data converter, payload encryption, interceptors, sandbox and failure types in one.

    `codec_key` is `models.domain.keys.derive(installation_key, Purpose.CODEC)`, 32 bytes; payloads sealed under one of
    `previous_codec_keys` are still read, and only sealed ones. None leaves payloads in clear: for recorded histories and tests of
    workflow logic.
    A client that has the plugin passes it on to its workers; a worker given it a second time warns.
    """
    return SimplePlugin(
        "quarterdeck",
        data_converter=platform_data_converter(codec_key, previous_codec_keys),
        interceptors=[RequestContextPropagation(), CrashAfterReturn(), FailureTranslation()],
        workflow_runner=_runner(codec_key),
        workflow_failure_exception_types=[AppError],
        run_context=_checked,
    )


def platform_data_converter(codec_key: bytes | None, previous_codec_keys: Sequence[bytes] = ()) -> DataConverter:
    """The converter alone, for a program that reads histories and runs nothing."""
    return DataConverter(
        payload_converter_class=PlatformPayloadConverter,
        payload_codec=None if codec_key is None else EncryptionCodec(codec_key, previous_codec_keys),
        failure_converter_class=PlatformFailureConverter,
    )


def _runner(codec_key: bytes | None) -> LoadedOnceRunner:
    restrictions = SandboxRestrictions.default.with_passthrough_modules(*PASSTHROUGH)
    runner = LoadedOnceRunner if codec_key is None else OneArgumentRunner
    return runner(restrictions=restrictions)


@asynccontextmanager
async def _checked() -> AsyncIterator[None]:
    """Around every worker: by then all its activities are imported and their crash points known."""
    refuse_unknown_selection()
    yield
