from __future__ import annotations

import pytest
from google.protobuf import struct_pb2, text_format
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from weaksvr.export import pbtxt

ALL_BYTES = "".join(map(chr, range(0x20, 0x7F))) + '\n\t\r\0\x7f"\\ünïcode 模型 🎬'


def test_nested_messages_and_numbers():
    message = {
        "name": "a.proto",
        "dependency": [],
        "public_dependency": [0, 3, -1],
        "message_type": [{"name": "M", "field": [{"name": "f", "number": 1, "type": pbtxt.Enum("TYPE_INT64")}]}, {}],
        "options": {"java_multiple_files": True, "deprecated": False},
    }
    text = pbtxt.text_format(message)
    found = text_format.Parse(text, FileDescriptorProto())
    assert found.name == "a.proto"
    assert list(found.public_dependency) == [0, 3, -1]
    assert [entry.name for entry in found.message_type] == ["M", ""]
    assert found.message_type[0].field[0].type == FieldDescriptorProto.TYPE_INT64
    assert (found.options.java_multiple_files, found.options.deprecated) == (True, False)
    assert text.endswith("}\n")


@pytest.mark.parametrize("text", ["", "plain", ALL_BYTES, "\\x41", "ends with \\"])
def test_strings_come_back(text):
    written = pbtxt.text_format({"string_value": text})
    assert written.isascii()
    assert written.count("\n") == 1
    assert text_format.Parse(written, struct_pb2.Value()).string_value == text


def test_the_order_is_that_of_the_mapping():
    assert pbtxt.text_format({"b": 1, "a": {"d": [2], "c": {}}}) == "b: 1\na {\n  d: [ 2 ]\n  c { }\n}\n"
