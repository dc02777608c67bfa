"""What a request meets first: the guard, our routes, and BentoML's own pages behind them.

It stands before BentoML's middleware. Refusing is cheap only there, and BentoML's tracing costs each request
more than the model does (docs/benchmarks.md). BentoML's request series are kept by BentoML's own middleware,
put around our routes alone.
"""

import hmac
import json
import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from observability.metrics import SERVE_REJECTED
from services.bento.bodies import many_inputs, one_input, parse_json
from services.bento.instruments import instrument
from services.bento.problems import ProblemError
from services.bento.serving import Serving

LOG = logging.getLogger("watchkeeper.serve")
FILES = "/static_content/"
PROBE = "x-watchkeeper-probe"
"""A request with this header asks whether we answer: it is no traffic, and in no log that drift sees."""
Handler = Callable[[Serving, Request], Awaitable[Response]]


def json_response(content: object, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """JSON in ASCII, so that text of any sender can be in it."""
    kind = "application/problem+json" if status >= 400 else "application/json"
    return Response(json.dumps(content, allow_nan=False), status, headers, kind)


def problem_response(problem: ProblemError) -> Response:
    """A problem as it is sent, and counted."""
    instrument(SERVE_REJECTED).labels(problem.code).inc()
    return json_response(problem.body(), problem.status, problem.headers())


async def predict(serving: Serving, request: Request) -> Response:
    """`POST /predict`."""
    body = await serving.bodies.read(request)
    probe = PROBE in request.headers
    (answer,) = await serving.answer([one_input(request, body)], probe=probe)
    if isinstance(answer, BaseException):
        raise answer
    return json_response(answer, headers={"x-request-id": answer["request_id"]})


async def warm(serving: Serving) -> None:
    """Answer the live version's example as if it had come in a request."""
    if serving.engine.live is None:
        return
    example = serving.engine.live.example()
    picture = isinstance(example, bytes)
    body = example if isinstance(example, bytes) else json.dumps(example).encode()

    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    kind = b"image/jpeg" if picture else b"application/json"
    await predict(serving, Request({"type": "http", "headers": [(b"content-type", kind)]}, receive))


async def predict_batch(serving: Serving, request: Request) -> Response:
    """`POST /predict_batch`: each input has its answer or its problem, in their order."""
    inputs = many_inputs(request, await serving.bodies.read(request))
    asked = [place for place, item in enumerate(inputs) if not isinstance(item, ProblemError)]
    answers: list[Any] = list(inputs)
    payloads = [item for item in inputs if not isinstance(item, ProblemError)]
    for place, answer in zip(asked, await serving.answer(payloads), strict=True):
        answers[place] = answer
    for answer in answers:
        if isinstance(answer, ProblemError):
            instrument(SERVE_REJECTED).labels(answer.code).inc()
        elif isinstance(answer, BaseException):
            raise answer
    return json_response({"answers": [a.body() if isinstance(a, ProblemError) else a for a in answers]})


async def feedback(serving: Serving, request: Request) -> Response:
    """`POST /feedback`."""
    serving.feedback(parse_json(await serving.bodies.read(request)))
    return json_response({"status": "kept"}, 202)


async def model(serving: Serving, _: Request) -> Response:
    """`GET /model`."""
    live = serving.engine.live
    if live is None:
        raise ProblemError("no_model", serving.not_ready or "no version is live")
    manifest = live.manifest
    return json_response(
        {
            "model": manifest.model,
            "version": manifest.version,
            "since": live.since.isoformat(),
            "snapshot": manifest.snapshot.model_dump(),
            "task": manifest.task,
            "classes": manifest.classes,
            "input": manifest.input.model_dump(),
            "metrics": manifest.metrics,
        }
    )


ROUTES: dict[str, tuple[str, Handler]] = {
    "/predict": ("POST", predict),
    "/predict_batch": ("POST", predict_batch),
    "/feedback": ("POST", feedback),
    "/model": ("GET", model),
}


class Routes:
    """Our routes, as the innermost ASGI app."""

    def __init__(self, serving: Callable[[], Serving]) -> None:
        self._serving = serving

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request of a path and method that are known."""
        _, handle = ROUTES[scope["path"]]
        try:
            response = await handle(self._serving(), Request(scope, receive))
        except ProblemError as problem:
            response = problem_response(problem)
        except ClientDisconnect:
            return
        except Exception:
            LOG.exception("%s failed", scope["path"])
            response = problem_response(ProblemError("model_error", "the service failed; its log says why"))
        await response(scope, receive, send)


class Front:
    """The guard.

    Args:
        bentoml: BentoML's app with its middleware.
        routes: ours, within what counts BentoML's request series.
        serving: this worker's.
        pages: documents of our own by their paths: the page and its description.
        files: names of the page's files, which BentoML serves.
    """

    def __init__(
        self,
        bentoml: ASGIApp,
        routes: ASGIApp,
        serving: Callable[[], Serving],
        pages: dict[str, Callable[[], Response]],
        files: Iterable[str],
    ) -> None:
        self._of_bentoml = {"/metrics", "/healthz", *(FILES + name for name in files)}
        self._bentoml, self._routes, self._serving, self._pages = bentoml, routes, serving, pages

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse, or send on."""
        if scope["type"] == "lifespan":
            await self._bentoml(scope, receive, send)
        elif scope["type"] == "http":
            try:
                await self._http(scope, receive, send)
            except ProblemError as problem:
                await problem_response(problem)(scope, receive, send)
        else:
            await send({"type": "websocket.close"})

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        path, method = scope["path"], scope["method"]
        serving = self._serving()
        if path in ("/livez", "/readyz"):
            await health(path, serving)(scope, receive, send)
            return
        self._authorize(scope, serving)
        if path in ROUTES:
            allowed = ROUTES[path][0]
            if method != allowed:
                raise ProblemError("method_not_allowed", f"{path} takes {allowed}")
            if method == "POST":
                serving.refuse_when_full()
            await self._routes(scope, receive, send)
            return
        if method not in ("GET", "HEAD"):
            raise ProblemError("not_found", f"nothing takes {method} here; GET / describes what there is")
        if path in self._pages:
            await self._pages[path]()(scope, receive, send)
        elif path in self._of_bentoml:  # its middleware makes a series of each path
            await self._bentoml(scope, receive, send)
        else:
            raise ProblemError("not_found", "nothing is here; GET / describes what there is")

    @staticmethod
    def _authorize(scope: Scope, serving: Serving) -> None:
        token = serving.settings.serve_token
        if token is None:
            return
        given = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
        if not hmac.compare_digest(given, b"Bearer " + token.get_secret_value().encode()):
            raise ProblemError("unauthorized", "send the service's token: Authorization: Bearer ...")


def health(path: str, serving: Serving) -> Response:
    """Whether this worker lives, or can answer; and why not."""
    reason = serving.stuck if path == "/livez" else serving.not_ready
    said = {"status": "not ready" if reason else "ok", "reason": reason}
    return json_response(said, 503 if reason else 200)
