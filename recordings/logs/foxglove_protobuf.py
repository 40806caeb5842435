"""Protobuf message classes made from the definitions that a log carries."""

from __future__ import annotations

from typing import Any

from recordings.logs.log_file import Schema
from scene.errors import FormatError


def message_class(schema: Schema) -> Any:
    """Return the message class that the file's own FileDescriptorSet defines.

    Raises:
        FormatError: if the definition cannot be understood.
    """
    from google.protobuf import descriptor_pool, message_factory
    from google.protobuf.descriptor_pb2 import FileDescriptorSet
    from google.protobuf.message import DecodeError

    try:
        files = {file.name: file for file in FileDescriptorSet.FromString(schema.data).file}
        pool = descriptor_pool.DescriptorPool()
        for name in _in_order(files):
            pool.AddSerializedFile(files[name].SerializeToString())
        return message_factory.GetMessageClass(pool.FindMessageTypeByName(schema.name))
    except (DecodeError, TypeError, ValueError, KeyError) as error:
        what = f"the protobuf definition of {schema.name} in the file cannot be used: {error}"
        raise FormatError(what) from error


def _in_order(files: dict[str, Any]) -> list[str]:
    """Return the names of files so that each comes after those it imports.

    Google's own files that the set leaves out are added to it.
    """
    from google.protobuf import descriptor_pb2, descriptor_pool

    order: dict[str, None] = {}
    waiting = [(name, False) for name in reversed(files)]
    begun: set[str] = set()
    while waiting:
        name, imports_done = waiting.pop()
        if imports_done:
            order[name] = None
            continue
        if name in begun:
            continue
        begun.add(name)
        if name not in files:
            import google.protobuf.duration_pb2
            import google.protobuf.timestamp_pb2  # noqa: F401

            known = descriptor_pool.Default().FindFileByName(name)
            files[name] = descriptor_pb2.FileDescriptorProto.FromString(known.serialized_pb)
        waiting.append((name, True))
        waiting += [(needed, False) for needed in files[name].dependency]
    return list(order)
