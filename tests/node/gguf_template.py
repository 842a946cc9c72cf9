"""The small model under another chat template: a copy of its GGUF file with one value replaced.

Layout: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. All values are little-endian; the tensors begin at a multiple of
32 bytes after the metadata, and their offsets count from there.
"""

import struct
from pathlib import Path

KEY = b"tokenizer.chat_template"
ALIGNMENT = 32
SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
STRING, ARRAY = 8, 9

TOOLS = """{%- if tools %}<|im_start|>system
Call functions with <tool_call>{"name": ..., "arguments": ...}</tool_call>:{% for tool in tools %}
{{ tool | tojson }}{% endfor %}<|im_end|>
{% endif -%}
{%- for message in messages %}<|im_start|>{{ message.role }}
{% if message.content %}{{ message.content }}{% endif %}
{%- if message.tool_calls %}{% for call in message.tool_calls %}
<tool_call>
{"name": "{{ call.function.name }}", "arguments": {{ call.function.arguments | tojson }}}
</tool_call>{% endfor %}{% endif %}<|im_end|>
{% endfor -%}
{%- if add_generation_prompt %}<|im_start|>assistant
{% endif -%}"""
"""As models that were made for tools have it (Hermes 2 Pro, Qwen 2.5)."""

ALTERNATING = """{%- for message in messages %}
{%- if (message.role == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Roles must alternate user/assistant') }}{% endif -%}
<|im_start|>{{ message.role }}
{{ message.content }}<|im_end|>
{% endfor %}<|im_start|>assistant
"""
"""As models that know two roles have it (Mistral, Gemma)."""


def with_template(model: Path, target: Path, template: str) -> Path:
    """Write `target`, equal to `model` but for its chat template."""
    data = memoryview(model.read_bytes())
    tensors, values = struct.unpack_from("<QQ", data, 8)
    position = 24
    replaced = b""
    for _ in range(values):
        length = struct.unpack_from("<Q", data, position)[0]
        name = bytes(data[position + 8 : position + 8 + length])
        begin = position + 8 + length
        position = _end_of_value(data, begin)
        if name == KEY:
            text = template.encode()
            value = struct.pack("<IQ", STRING, len(text)) + text
            replaced = bytes(data[:begin]) + value + bytes(data[position:])
    for _ in range(tensors):
        position += 8 + struct.unpack_from("<Q", data, position)[0]
        dimensions = struct.unpack_from("<I", data, position)[0]
        position += 4 + 8 * dimensions + 4 + 8
    end = position + len(replaced) - len(data)
    tensor_data = data[_aligned(position) :]
    target.write_bytes(replaced[:end] + bytes(_aligned(end) - end) + tensor_data)
    return target


def _end_of_value(data: memoryview, position: int) -> int:
    kind = struct.unpack_from("<I", data, position)[0]
    return _end_of(data, position + 4, kind)


def _end_of(data: memoryview, position: int, kind: int) -> int:
    if kind == STRING:
        return position + 8 + int(struct.unpack_from("<Q", data, position)[0])
    if kind == ARRAY:
        item, count = struct.unpack_from("<IQ", data, position)
        position += 12
        if item in SIZES:
            return position + SIZES[item] * int(count)
        for _ in range(count):
            position = _end_of(data, position, item)
        return position
    return position + SIZES[kind]


def _aligned(position: int) -> int:
    return -(-position // ALIGNMENT) * ALIGNMENT
