"""A review as pages on 127.0.0.1: nobody without the token, no foreign page, no resource from elsewhere."""

import secrets
import socket
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from dataprune.errors import DatapruneError, InputError, invalid
from dataprune.report.page.render import PLACE, SHARED, template
from dataprune.review.book import Book, Change
from dataprune.review.table import Query

HOST = "127.0.0.1"
COOKIE = "dataprune"
MOST_BYTES = 2**20  # of a request
KEPT_QUERIES = 16
BLOCK = 120  # rows of one answer, as the grid asks for them
ASSETS = Path(__file__).parent / "assets"
PAGE = PLACE / "assets"
SCRIPTS = (
    *(PAGE / name for name in SHARED),
    *(ASSETS / name for name in ("served.js", "grid.js", "filters.js", "plots.js", "start.js")),
)
POLICY = (
    "default-src 'none'; img-src 'self' data:; style-src 'self'; script-src 'self'; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
}


class Pages:
    """The pages of a review, for a server at a port of this machine: `app`."""

    def __init__(self, book: Book, port: int, token: str) -> None:
        self.book, self.token = book, token
        self.names = (f"{HOST}:{port}", f"localhost:{port}")
        self.cookie = f"{COOKIE}-{port}"  # cookies do not tell ports apart
        self.found: OrderedDict[str, np.ndarray] = OrderedDict()
        gets: dict[str, Callable[[Request], Response]] = {
            "/": self._page,
            "/review.css": _text((PAGE / "page.css", ASSETS / "review.css"), "text/css"),
            "/review.js": _text(SCRIPTS, "text/javascript"),
            "/state": lambda _: JSONResponse(self.book.state),
            "/rows": self._rows,
            "/example": lambda asked: JSONResponse(self.book.example(self._row(asked))),
            "/picture": self._picture,
            "/plot": lambda asked: JSONResponse(self.book.plot(asked.query_params.get("name", ""))),
            "/audit": lambda asked: JSONResponse(self.book.audit(_whole(asked, "size"))),
        }
        routes = [Route(path, answer) for path, answer in gets.items()]
        routes += [Route("/query", _posted(Query, self._query), methods=["POST"])]
        routes += [Route("/decide", _posted(Change, book.decide), methods=["POST"])]
        guard = Middleware(BaseHTTPMiddleware, dispatch=self._guarded)
        self.app = Starlette(routes=routes, middleware=[guard], exception_handlers={DatapruneError: _failed})

    async def _guarded(self, asked: Request, answer: RequestResponseEndpoint) -> Response:
        """Answer who has the token, asked for by our own name and from our own page."""
        refused = self._refused(asked)
        found = PlainTextResponse(f"{refused}\n", 403) if refused else await answer(asked)
        found.headers.update(HEADERS)
        found.headers.setdefault("cache-control", "no-store")
        return found

    def _refused(self, asked: Request) -> str:
        """Return why a request is not answered; "" if it is."""
        if asked.headers.get("host") not in self.names:
            return "This address is not the review's."  # a name that somebody else made point here
        origin = asked.headers.get("origin")
        if origin is not None and origin not in [f"http://{name}" for name in self.names]:
            return "Another page may not ask this."
        if asked.method == "POST" and origin is None:
            return "Only the review's own page may change anything."
        given = asked.query_params.get("token", "") if asked.url.path == "/" else ""
        if not any(
            secrets.compare_digest(one.encode(), self.token.encode()) for one in (given, asked.cookies.get(self.cookie, ""))
        ):
            return "Open the address that the command printed: it has the key in it."
        return ""

    def _page(self, asked: Request) -> Response:
        found = Response(template("review.html", ASSETS).render(state=self.book.state), media_type="text/html")
        found.set_cookie(self.cookie, self.token, httponly=True, samesite="strict")
        return found

    def _query(self, asked: Query) -> dict[str, Any]:
        """Keep what a query finds for the tiles that will ask for it; the oldest is forgotten."""
        rows, key = self.book.table.query(asked), secrets.token_hex(8)
        self.found[key] = rows
        while len(self.found) > KEPT_QUERIES:
            self.found.popitem(last=False)
        return {"key": key, "n": len(rows), "rows": self.book.rows(rows[:BLOCK]), "count": self.book.journal.count}

    def _rows(self, asked: Request) -> Response:
        start, key = _whole(asked, "start"), asked.query_params.get("key", "")
        if (rows := self.found.get(key)) is None:
            return JSONResponse({"error": "gone"}, 410)  # the window asks again
        return JSONResponse(self.book.rows(rows[start : start + BLOCK]))

    def _row(self, asked: Request) -> int:
        row = _whole(asked, "e")
        if row >= len(self.book.table):
            raise invalid("e", f"be one of the {len(self.book.table)} examples", row)
        return row

    def _picture(self, asked: Request) -> Response:
        side = _whole(asked, "side") if "side" in asked.query_params else None
        found = self.book.picture(self._row(asked), side and min(side, 512))
        return Response(found, media_type="image/webp", headers={"cache-control": "private, max-age=3600"})


def _text(files: Iterable[Path], kind: str) -> Callable[[Request], Response]:
    """Return what answers with some files one after the other."""
    text = "\n".join(one.read_text("utf-8") for one in files)
    return lambda _: Response(text, media_type=kind)


def _posted(kind: type[Any], work: Callable[[Any], Any]) -> Callable[[Request], Awaitable[Response]]:
    """Return what answers to a body that is read as a record of a kind, and no larger than it may be."""

    async def posted(asked: Request) -> Response:
        body = b""
        async for part in asked.stream():
            body += part
            if len(body) > MOST_BYTES:
                raise invalid("the request", f"be at most {MOST_BYTES:,} bytes", "more")
        try:
            wanted = msgspec.json.decode(body, type=kind)
        except msgspec.DecodeError as error:
            raise invalid("the request", f"be a {kind.__name__}", str(error)) from None
        return JSONResponse(await run_in_threadpool(work, wanted))

    return posted


def _failed(_: Request, error: Exception) -> Response:
    return JSONResponse({"error": str(error)}, 400 if isinstance(error, InputError) else 500)


def _whole(asked: Request, name: str) -> int:
    value = asked.query_params.get(name, "")
    if not value.isdecimal() or len(value) > 12:
        raise invalid(name, "be a whole number", repr(value[:20]))
    return int(value)


@contextmanager
def listening(port: int) -> Iterator[socket.socket]:
    """Yield a socket at a port of this machine, 0 for a free one; one in use is an InputError."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as found:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            found.bind((HOST, port))
            found.listen()
        except (OSError, OverflowError) as error:
            raise invalid("port", "be free", port, "Leave it out for one that is.") from error
        yield found


def serve(book: Book, at: socket.socket, token: str) -> None:
    """Answer until the process is interrupted; what was decided is on the disk already."""
    import uvicorn

    pages = Pages(book, at.getsockname()[1], token)
    settings = uvicorn.Config(pages.app, log_level="error", access_log=False, lifespan="off", ws="none", server_header=False)
    with suppress(KeyboardInterrupt):
        uvicorn.Server(settings).run(sockets=[at])
