"""The bytes of a file in a request's body: the body itself, or the first file of a form."""

from collections.abc import AsyncIterator

from multipart import MultipartError, MultipartSegment, PushMultipartParser, parse_options_header

from everpost.api.http.bodies import Headers, media_type_of, read_chunks
from everpost.api.services import ApiRequest
from everpost.errors import BadInput, BodyTooLarge, InvalidValue, UnsupportedMedia

FORM = "multipart/form-data"
MOST_FIELD_BYTES = 65_536  # of a form's other fields, which are read and dropped

Chunks = AsyncIterator[bytes]


def check_coding(headers: Headers) -> None:
    """Check that the body is not compressed.

    Raises:
        UnsupportedMedia: It has a Content-Encoding.
    """
    if headers.get(b"content-encoding", b"identity").lower() != b"identity":
        raise UnsupportedMedia("it is, without a Content-Encoding")


def is_form(headers: Headers) -> bool:
    """Whether the body is a form."""
    return media_type_of(headers) == FORM


class FormFile:
    """The first file of a form, read while it arrives. What comes before it is dropped; nothing may come behind it.

    Raises:
        BadInput: The body is not a form.
    """

    def __init__(self, request: ApiRequest, headers: Headers) -> None:
        _, options = parse_options_header(headers.get(b"content-type", b"").decode("latin-1"))
        try:
            self._parser = PushMultipartParser(options.get("boundary", ""), max_segment_count=100)
        except MultipartError as error:
            raise BadInput(f"The form cannot be read: {error}.") from error
        self._events = _events(self._parser, read_chunks(request))

    async def filename(self) -> str:
        """Read up to the file; its name.

        Raises:
            InvalidValue: The form has no file.
            BadInput: It is not a form.
        """
        dropped = 0
        async for event in self._events:
            if isinstance(event, MultipartSegment):
                dropped = 0
                if event.filename is not None:
                    return str(event.filename)
            elif event is not None:
                dropped += len(event)
                if dropped > MOST_FIELD_BYTES:
                    raise BodyTooLarge(MOST_FIELD_BYTES)
        raise InvalidValue("The form has no file.")

    async def chunks(self) -> Chunks:
        """The content of the file.

        Raises:
            BadInput: The form is damaged, or has more than one file.
        """
        is_complete = False
        async for event in self._events:
            if isinstance(event, MultipartSegment):
                if event.filename is not None:
                    raise InvalidValue("The form has more than one file; send one at a time.")
            elif event is None:
                is_complete = True
            elif not is_complete:
                yield event


async def _events(parser: PushMultipartParser, chunks: Chunks) -> AsyncIterator[MultipartSegment | bytes | None]:
    try:
        async for chunk in chunks:
            if not chunk:
                continue
            for event in parser.parse(chunk):
                yield event if event is None or isinstance(event, MultipartSegment) else bytes(event)
        parser.close()
    except MultipartError as error:
        raise BadInput(f"The form cannot be read: {error}.") from error
