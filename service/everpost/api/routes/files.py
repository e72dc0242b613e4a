"""Media files: uploads, lists, shows and deletes them."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Annotated, Any

import msgspec
from litestar import delete, get, post
from litestar.params import PathParameter, QueryParameter

from everpost.access import Right
from everpost.api.files import tus
from everpost.api.files.bodies import FORM, FormFile, check_coding, is_form
from everpost.api.http.audited import audited, note_of
from everpost.api.http.bodies import Headers, headers_of, read_chunks
from everpost.api.http.file_reach import check_deletable, is_file_reached, is_own, shown_users
from everpost.api.http.json_answer import BareAnswer, JsonAnswer
from everpost.api.http.rights import caller_of, needs
from everpost.api.openapi.describe import Body, Header, documented
from everpost.api.services import ApiRequest, Services, services_of
from everpost.errors import FileInUse, FileNotFound, ServiceError
from everpost.files.names import NAMELESS
from everpost.files.uploads import Receipt
from everpost.store.files import UPLOADS, Upload
from everpost.views.shown_files import FileView, view_of, view_of_upload

MOST_FILES = 1_000
LAST_NUMBER = 2**63 - 1  # of a row
LONGEST_ID = 64
ANY_TYPE = "application/octet-stream"
BYTES: Any = Annotated[bytes, msgspec.Meta(extra_json_schema={"format": "binary"})]

FileId = Annotated[str, PathParameter(description="The file's id, from the answer of POST /files.")]
TUS_VERSION = Header(
    "Tus-Resumable", "1.0.0 for a resumable upload by tus (tus.io); without it, the body is the file.", "1.0.0"
)
UPLOAD_LENGTH = Header("Upload-Length", "How many bytes a resumable upload will have.", "1048576", pattern="^[0-9]+$")
UPLOAD_METADATA = Header(
    "Upload-Metadata", "The name of the file in a resumable upload, in base64.", "filename dmlkZW8ubXA0"
)
UPLOAD_OFFSET = Header("Upload-Offset", "How many bytes of the file are on the disk.", "524288", pattern="^[0-9]+$")
UPLOAD_EXPIRES = Header(
    "Upload-Expires", "When the upload is removed unless it is continued.", "Wed, 25 Nov 2026 16:00:00 GMT"
)
LOCATION = Header("Location", "The file's address.", "/api/v1/files/019b76da3f007c8e9d2b4f6a8c0e1d3f")


class FileForm(msgspec.Struct, frozen=True, kw_only=True):
    """A form with one file; its other fields are ignored."""

    file: BYTES


class FileAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A file. Tasks name it by its `file_id`."""

    success: bool
    message: str
    file_id: str
    data: FileView


class FileUsage(msgspec.Struct, frozen=True, kw_only=True):
    """The room that uploaded files take, and the quota; null is no limit."""

    files: int
    size_bytes: int
    uploads: int
    upload_bytes: int
    quota_bytes: int | None


class FileListAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Files, the newest first. `next_cursor` is the `cursor` for the next page; null on the last page."""

    success: bool
    data: Sequence[FileView]
    usage: FileUsage
    next_cursor: int | None


@contextmanager
def tus_errors(headers: Headers) -> Iterator[None]:
    """Give errors the headers that tus demands of every answer."""
    try:
        yield
    except ServiceError as error:
        if tus.is_tus(headers):
            offset = getattr(error, "offset", None)
            told = {} if offset is None else {"upload-offset": str(offset)}
            error.headers = {**tus.RESUMABLE, "tus-version": tus.VERSION, **told}
        raise


@post(
    "/files",
    summary="Upload a file",
    description="Stores a media file, whose `file_id` tasks can name. The body is the file itself, or a form with one "
    "file. It is on the disk when this answers 201. With `Tus-Resumable: 1.0.0` this begins a resumable upload "
    "(tus.io): PATCH its `Location` until all bytes are there.",
    tags=["Files"],
    opt=needs(Right.SUBMIT, scoped=True),
    **documented(
        FileAnswer,
        status=201,
        description="The file is stored, or the resumable upload has begun.",
        refusals=(
            "quota_exceeded", "disk_full", "unsupported_tus_version", "upload_locked", "unavailable",
        ),
        body=Body("The file.", {ANY_TYPE: BYTES, FORM: FileForm}, {}, {"A file": "the bytes of the file"}),
        takes=(TUS_VERSION, UPLOAD_LENGTH, UPLOAD_METADATA),
        gives=(LOCATION, UPLOAD_OFFSET, UPLOAD_EXPIRES),
    ),
)  # fmt: skip
async def upload_file(
    request: ApiRequest,
    filename: Annotated[
        str, QueryParameter(max_length=1024, description="The file's name; a form and tus have their own.")
    ] = "",
) -> JsonAnswer:
    """Store a file, or begin a resumable upload."""
    headers, services = headers_of(request), services_of(request)
    check_coding(headers)
    if tus.is_tus(headers):
        with tus_errors(headers):
            return await _begin_upload(request, services, headers)
    if is_form(headers):
        form = FormFile(request, headers)
        name, size_bytes, chunks = await form.filename(), None, form.chunks()
    else:
        length = headers.get(b"content-length")
        name, size_bytes, chunks = filename, None if length is None else int(length), read_chunks(request)
    upload = await services.uploads.begin(name or NAMELESS, size_bytes, submitted_by=caller_of(request).submits_as)
    record = await services.uploads.receive_whole(upload, chunks)
    answer = FileAnswer(success=True, message="File stored", file_id=record.file_id, data=view_of(record))
    return JsonAnswer(answer, 201, headers={"location": _address(record.file_id)})


async def _begin_upload(request: ApiRequest, services: Services, headers: Headers) -> JsonAnswer:
    tus.check_version(headers)
    metadata = tus.upload_metadata(headers)
    name, length = tus.filename_in(metadata), tus.upload_length(headers)
    upload = await services.uploads.begin(name, length, metadata, caller_of(request).submits_as)
    receipt = Receipt(0)
    if headers.get(b"content-type", b"").lower() == tus.OFFSET_STREAM.encode():
        receipt = await services.uploads.receive(upload, 0, read_chunks(request))
    view = view_of_upload(upload, receipt.offset) if receipt.record is None else view_of(receipt.record)
    answer = FileAnswer(success=True, message="Upload begun", file_id=upload.file_id, data=view)
    given = {"location": _address(upload.file_id), **upload_headers(upload, receipt.offset)}
    return JsonAnswer(answer, 201, headers=given)


def upload_headers(upload: Upload, offset: int) -> Mapping[str, str]:
    """The headers of answers about an upload."""
    return {**tus.RESUMABLE, "upload-offset": str(offset), **tus.expires_header(upload.expires_at)}


def _address(file_id: str) -> str:
    return f"/api/v1/files/{file_id}"


@get(
    "/files",
    summary="List files",
    description="Uploaded files, and those of registered folders and of the original, the newest first. A key with a "
    "scope sees no other caller's uploads.",
    tags=["Files"],
    opt=needs(Right.READ, scoped=True),
    **documented(FileListAnswer, description="A page of files."),
)
async def list_files(
    request: ApiRequest,
    limit: Annotated[int, QueryParameter(ge=1, le=MOST_FILES, description="The most files in one answer.")] = 50,
    cursor: Annotated[
        int | None, QueryParameter(ge=0, le=LAST_NUMBER, description="The `next_cursor` of the page before.")
    ] = None,
) -> JsonAnswer:
    """Answer with a page of files."""
    services = services_of(request)
    files = services.store.files
    caller = caller_of(request)
    records = await files.page(cursor, limit, caller.name if caller.is_limited else None)
    usage, quota_bytes = await files.usage(), services.settings.files_quota or None
    following = records[-1].number if len(records) == limit else None
    shown = FileUsage(**msgspec.structs.asdict(usage), quota_bytes=quota_bytes)
    data = [view_of(record) for record in records]
    return JsonAnswer(FileListAnswer(success=True, data=data, usage=shown, next_cursor=following))


@get(
    "/files/{file_id:str}",
    summary="Show a file",
    description="What is known of a file, or how far an upload has come. HEAD with `Tus-Resumable` asks where an "
    "upload continues.",
    tags=["Files"],
    opt=needs(Right.READ, scoped=True),
    **documented(
        FileAnswer,
        description="The file.",
        refusals=("file_not_found", "unsupported_tus_version", "quota_exceeded", "disk_full", "unavailable"),
        takes=(TUS_VERSION,),
        gives=(UPLOAD_OFFSET,),
    ),
)
async def show_file(request: ApiRequest, file_id: FileId) -> JsonAnswer:
    """Answer with a file."""
    headers, services = headers_of(request), services_of(request)
    with tus_errors(headers):
        if tus.is_tus(headers):
            tus.check_version(headers)
        return await _show(request, services, checked_file_id(file_id))


async def _show(request: ApiRequest, services: Services, file_id: str) -> JsonAnswer:
    caller = caller_of(request)
    record = (await services.store.files.find([file_id])).get(file_id)
    if record is None and (found := await services.uploads.find(file_id)) is not None:
        upload, receipt = found
        if not is_own(caller, upload):
            raise FileNotFound(file_id)
        if receipt.record is None:
            length = {"upload-defer-length": "1"} if upload.size_bytes is None else {}
            length |= {} if upload.size_bytes is None else {"upload-length": str(upload.size_bytes)}
            length |= {"upload-metadata": upload.metadata} if upload.metadata else {}
            given = {**upload_headers(upload, receipt.offset), **length, "cache-control": "no-store"}
            return _file_answer(view_of_upload(upload, receipt.offset), given)
        record = receipt.record
    if record is None or not await is_file_reached(services, caller, record):
        raise FileNotFound(file_id)
    users = await shown_users(request, file_id)
    size = str(record.size_bytes or 0)
    given = {**tus.RESUMABLE, "upload-offset": size, "upload-length": size, "cache-control": "no-store"}
    return _file_answer(view_of(record, users), given)


def _file_answer(view: FileView, headers: Mapping[str, str]) -> JsonAnswer:
    return JsonAnswer(FileAnswer(success=True, message="Found", file_id=view.file_id, data=view), headers=headers)


def checked_file_id(file_id: str) -> str:
    """The id in a path.

    Raises:
        FileNotFound: No file can have this id.
    """
    if 0 < len(file_id) <= LONGEST_ID and file_id.isalnum() and file_id.isascii():
        return file_id
    raise FileNotFound(file_id)


@delete(
    "/files/{file_id:str}",
    summary="Delete a file",
    description="Deletes a file that no unfinished task names, or ends an upload. Files of registered folders and of "
    "EVERPOST_MEDIA stay on the disk; only their records go.",
    tags=["Files"],
    opt=needs(Right.OPERATE, scoped=True),
    **documented(
        FileAnswer,
        description="It is deleted. A client that sends `Tus-Resumable` gets 204.",
        refusals=("file_not_found", "file_in_use", "unsupported_tus_version"),
        takes=(TUS_VERSION,),
    ),
)
@audited
async def delete_file(request: ApiRequest, file_id: FileId) -> JsonAnswer:
    """Delete a file, or end an upload."""
    headers, services = headers_of(request), services_of(request)
    with tus_errors(headers):
        if tus.is_tus(headers):
            tus.check_version(headers)
        note_of(request).about(checked_file_id(file_id))
        view = await _delete(request, services, file_id)
    if tus.is_tus(headers):
        return BareAnswer(204, tus.RESUMABLE)
    return JsonAnswer(FileAnswer(success=True, message="File deleted", file_id=file_id, data=view))


async def _delete(request: ApiRequest, services: Services, file_id: str) -> FileView:
    caller = caller_of(request)
    if caller.is_limited:
        await check_deletable(services, caller, file_id)
    removed = await services.store.files.remove(file_id)
    if removed.users:
        raise FileInUse(await shown_users(request, file_id) if caller.is_limited else removed.users)
    if removed.record is not None:
        if removed.record.root == UPLOADS:
            await services.uploads.unlink_stored(removed.record)
        return view_of(removed.record)
    upload = await services.store.files.find_upload(file_id)
    if upload is None or not await services.uploads.abandon(upload):
        raise FileNotFound(file_id)
    return view_of_upload(upload, 0)
