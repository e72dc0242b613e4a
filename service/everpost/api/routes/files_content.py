"""The bytes of media files: resumable uploads, and downloads."""

import asyncio
from typing import Annotated

from litestar import HttpMethod, get, patch, route
from litestar.params import QueryParameter
from litestar.response.base import ASGIResponse

from everpost.access import Right
from everpost.api.files import tus
from everpost.api.files.content import FileContent, content_headers, etag_of, is_known, range_of
from everpost.api.files.signed import SIGNED
from everpost.api.http.bodies import headers_of, read_chunks
from everpost.api.http.file_reach import is_file_reached, is_named_by, is_own
from everpost.api.http.json_answer import BareAnswer
from everpost.api.http.rights import caller_of, needs
from everpost.api.openapi.describe import Body, Header, documented
from everpost.api.routes.files import (
    BYTES,
    TUS_VERSION,
    UPLOAD_EXPIRES,
    UPLOAD_OFFSET,
    FileId,
    checked_file_id,
    tus_errors,
    upload_headers,
)
from everpost.api.services import ApiRequest, services_of
from everpost.errors import FileNotFound, RangeNotSatisfiable
from everpost.publishing import PublishError
from everpost.task.model import MAX_ID

RANGE = Header("Range", "A part of the file.", "bytes=0-1023")
ETAG = Header(
    "ETag", "The SHA-256 of the content.", '"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"'
)
CONTENT_RANGE = Header("Content-Range", "The part that is sent.", "bytes 0-1023/1048576")


@route(
    "/files",
    http_method=HttpMethod.OPTIONS,
    summary="Show how to upload",
    description="The version and the extensions of tus (tus.io), for clients that upload by it.",
    tags=["Files"],
    opt=needs(Right.READ, scoped=True),
    **documented(None, status=204, description="The headers say it."),
)
async def show_upload_options(request: ApiRequest) -> BareAnswer:
    """Answer with what uploads can do."""
    most_bytes = services_of(request).uploads.most_bytes
    return BareAnswer(
        204, {**tus.OPTIONS_HEADERS, "tus-max-size": str(most_bytes), "allow": "GET, HEAD, OPTIONS, POST"}
    )


@patch(
    "/files/{file_id:str}",
    summary="Continue an upload",
    description="Adds bytes to a resumable upload (tus.io) at `Upload-Offset`. What is answered is on the disk. After "
    "an interruption, ask by HEAD where to continue. With the last byte, the file is stored.",
    tags=["Files"],
    opt=needs(Right.SUBMIT, scoped=True),
    **documented(
        None,
        status=204,
        description="The bytes are on the disk.",
        refusals=(
            "file_not_found", "wrong_offset", "upload_locked", "unsupported_tus_version", "quota_exceeded", "disk_full",
            "unavailable",
        ),
        body=Body("The next bytes.", {tus.OFFSET_STREAM: BYTES}, {}, {"Some bytes": "the bytes from the offset on"}),
        takes=(TUS_VERSION, UPLOAD_OFFSET),
        gives=(UPLOAD_OFFSET, UPLOAD_EXPIRES),
    ),
)  # fmt: skip
async def continue_upload(request: ApiRequest, file_id: FileId) -> BareAnswer:
    """Add bytes to an upload."""
    headers, services = headers_of(request), services_of(request)
    with tus_errors(headers):
        tus.check_version(headers)
        tus.check_offset_stream(headers)
        offset = tus.number_in(headers, "Upload-Offset")
        length = tus.number_in(headers, "Upload-Length") if b"upload-length" in headers else None
        upload = await services.store.files.find_upload(checked_file_id(file_id))
        if upload is None or not is_own(caller_of(request), upload):
            raise FileNotFound(file_id)
        receipt = await services.uploads.receive(upload, offset, read_chunks(request), size_bytes=length)
        return BareAnswer(204, upload_headers(upload, receipt.offset))


@get(
    "/files/{file_id:str}/content",
    summary="Download a file",
    description="The content of a file, whole or in part. A signed address, as webhooks get it, needs no token.",
    tags=["Files"],
    opt=needs(Right.READ, scoped=True) | {SIGNED: True},
    **documented(
        bytes,
        description="The whole file.",
        refusals=("file_not_found", "link_refused", "range_not_satisfiable"),
        takes=(RANGE,),
        gives=(ETAG, CONTENT_RANGE),
        media_type="application/octet-stream",
        also={206: "The part that was asked for.", 304: "The client has it already: `If-None-Match`."},
    ),
)
async def download_file(
    request: ApiRequest,
    file_id: FileId,
    expires: Annotated[int | None, QueryParameter(description="Of a signed address: when its time is over.")] = None,
    signature: Annotated[str | None, QueryParameter(description="Of a signed address: its signature.")] = None,
    task_id: Annotated[
        str | None,
        QueryParameter(max_length=MAX_ID, description="A task that names the file: a key that reaches it reads it."),
    ] = None,
) -> ASGIResponse:
    """Answer with the content of a file. `LinkCheck` has checked the signature."""
    del expires, signature
    headers, services = headers_of(request), services_of(request)
    record = (await services.store.files.find([checked_file_id(file_id)])).get(file_id)
    if record is None or not (
        await is_file_reached(services, caller_of(request), record)
        or (task_id is not None and await is_named_by(request, task_id, file_id))
    ):
        raise FileNotFound(file_id)
    try:
        media = await services.files.media_of(record)
        if is_known(media, headers):
            return BareAnswer(304, {"etag": etag_of(media)})
        part = range_of(media, headers)
        file = await asyncio.to_thread(media.open_file)
    except RangeNotSatisfiable as error:
        error.headers = {"content-range": f"bytes */{error.size_bytes}"}
        raise
    except PublishError as error:
        missing = FileNotFound(file_id)
        missing.message = str(error)
        raise missing from error
    first, size_bytes = part or (0, media.size_bytes)
    given = {**content_headers(media), "content-length": str(size_bytes)}
    if part is None:
        return FileContent(file, 200, given, 0, size_bytes)
    given["content-range"] = f"bytes {first}-{first + size_bytes - 1}/{media.size_bytes}"
    return FileContent(file, 206, given, first, size_bytes)
