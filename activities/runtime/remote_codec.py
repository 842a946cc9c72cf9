"""Decryption for the Temporal web UI and command line: the protocol of a remote codec, without its HTTP.

They POST the payloads that a page shows to `<endpoint>/decode` and show what comes back. Whoever serves this decides who may
ask: it opens any payload of the installation. The call names no workflow, so each payload opens at the place that it claims.
Source: Temporal documentation, "Codec Server".
"""

from google.protobuf.json_format import MessageToJson, Parse, ParseError
from temporalio.api.common.v1 import Payloads

from activities.runtime.codec import EncryptionCodec, PayloadCorrupt, PayloadKeyUnknown
from models.base.errors import MalformedRequest


def decode(body: bytes, codec: EncryptionCodec) -> str:
    """The JSON answer to the JSON body of a decode call. Raises MalformedRequest, under the codec's own code for what does not
    open: here it is what the caller sent, not a fault of this process.
    """
    payloads = Payloads()
    try:
        if not body.lstrip().startswith(b"{"):  # an empty list would pass for a message without fields
            raise ParseError
        Parse(body, payloads)
    except (ParseError, UnicodeDecodeError):
        raise MalformedRequest("the body is not Temporal's JSON of payloads") from None
    try:
        opened = codec.decode_by_claim(payloads.payloads)
    except (PayloadKeyUnknown, PayloadCorrupt) as error:
        raise MalformedRequest(error.message, code=error.code) from None
    return MessageToJson(Payloads(payloads=opened), indent=None)
