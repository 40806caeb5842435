"""Letting pages in a browser read presigned URLs of a bucket (CORS)."""

from __future__ import annotations

import base64
import hashlib
import re
from typing import Final
from xml.sax.saxutils import escape

from minio import Minio
from minio.error import MinioException, S3Error

from scene.errors import StoreError

_RULE: Final = (
    '<CORSConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><CORSRule>'
    "<AllowedOrigin>{origin}</AllowedOrigin><AllowedMethod>GET</AllowedMethod>"
    "<AllowedMethod>HEAD</AllowedMethod><AllowedHeader>*</AllowedHeader>"
    "<ExposeHeader>ETag</ExposeHeader><MaxAgeSeconds>3000</MaxAgeSeconds>"
    "</CORSRule></CORSConfiguration>"
)
_NONE: Final = {"NoSuchCORSConfiguration", "NoSuchKey"}
_QUERY: Final[dict[str, str | list[str] | tuple[str]]] = {"cors": ""}


def allow_origin(client: Minio, bucket: str, origin: str) -> None:
    """Let pages of `origin` read the bucket, unless it has rules of its own.

    Raises:
        StoreError: if the bucket has other rules, which are left alone, or the server refuses.
    """
    where = f"CORS of bucket {bucket}"
    try:
        known = _rules(client, bucket)
        allowed = re.findall(r"<AllowedOrigin>(.*?)</AllowedOrigin>", known)
        if {"*", escape(origin)} & set(allowed):
            return
        if not all(
            "//127.0.0.1:" in other for other in allowed
        ):  # those of an earlier demo are ours
            raise StoreError(f"{where}: it has rules already; add GET from {origin} to them")
        body = _RULE.format(origin=escape(origin)).encode()
        digest = base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()
        client._execute(
            "PUT", bucket, body=body, headers={"Content-MD5": digest}, query_params=_QUERY
        )
    except MinioException as error:
        raise StoreError(f"{where}: {error}") from error


def _rules(client: Minio, bucket: str) -> str:
    """Return the rules as XML; empty where there are none."""
    try:
        answer = client._execute("GET", bucket, query_params=_QUERY)
    except S3Error as error:
        if error.code in _NONE:
            return ""
        raise
    return answer.data.decode()
