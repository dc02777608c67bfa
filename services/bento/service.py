"""The BentoML service: what a built Bento runs in each of its workers.

BentoML brings the workers, the page, `/metrics` and the request series; `front.py` stands before it.
"""

import copy
import logging
from pathlib import Path
from typing import TYPE_CHECKING

import bentoml
import yaml
from starlette.responses import HTMLResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from services.bento.config import PACKAGED, BentoSettings, read_settings
from services.bento.protocol import install

if TYPE_CHECKING:
    from services.bento.serving import Serving

LOG = logging.getLogger("watchkeeper.serve")
settings = read_settings(BentoSettings)
RUNNING: "list[Serving]" = []
"""What answers in this worker, from its start to its stop."""


class PutInFront:
    """ASGI middleware that, as the worker starts, puts the guard before all others."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Once, at the start of the lifespan; requests of BentoML's own pages pass."""
        if scope["type"] != "lifespan":
            await self._app(scope, receive, send)
            return
        try:
            app = scope["app"]
            app.middleware_stack = front(app.middleware_stack)
            await self._app(scope, receive, send)
        except Exception as error:  # uvicorn would take connections all the same, without guard or model
            LOG.exception("the service cannot start")
            await send({"type": "lifespan.startup.failed", "message": str(error)})


@bentoml.service(
    name="watchkeeper",
    workers=settings.serve_workers or "cpu_count",
    logging={"access": {"enabled": False}},
)
class Watchkeeper:
    """Answers with the champion of `WATCHKEEPER_MODEL`, or with the version that the Bento carries."""

    @bentoml.on_startup  # type: ignore[untyped-decorator]
    async def start(self) -> None:
        """Load and warm before the worker takes connections."""
        from services.bento.front import warm  # prometheus_client is set up by now
        from services.bento.serving import Serving

        serving = Serving(settings, None if settings.model else packaged_model())
        await serving.start()
        await warm(serving)
        serving.open()
        RUNNING.append(serving)

    @bentoml.on_shutdown  # type: ignore[untyped-decorator]
    async def stop(self) -> None:
        """After the last answer."""
        await RUNNING.pop().stop()


Watchkeeper.add_asgi_middleware(PutInFront)  # type: ignore[attr-defined]  # the decorator makes a `Service`
install()


def front(stack: ASGIApp) -> ASGIApp:
    """The guard, before BentoML's whole stack."""
    import _bentoml_impl
    from bentoml._internal import server
    from bentoml._internal.server.http.instruments import RunnerTrafficMetricsMiddleware

    from services.bento.front import Front, Routes, json_response
    from services.bento.openapi import POLICY, describe, page

    def serving() -> "Serving":
        return RUNNING[0]

    counted = stack
    while not isinstance(counted, RunnerTrafficMetricsMiddleware):
        counted = counted.app  # type: ignore[attr-defined]
    around = copy.copy(counted)  # the same instruments
    around.app = Routes(serving)
    html = page(Path(_bentoml_impl.__file__).parent / "server" / "main-openapi.html")

    def description() -> Response:
        guarded = settings.serve_token is not None
        of_bentoml = Watchkeeper.openapi_spec.asdict()  # type: ignore[attr-defined]
        return json_response(describe(of_bentoml, serving().engine.live, guarded))

    def index() -> Response:
        return HTMLResponse(html, headers={"content-security-policy": POLICY})

    files = [path.name for path in (Path(server.__file__).parent / "static_content").iterdir()]
    return Front(stack, around, serving, {"/": index, "/docs.json": description}, files)


def packaged_model() -> Path:
    """Folder of the one model of the Bento that this code runs in."""
    bento = Path(__file__).resolve().parents[3] / "bento.yaml"
    if not bento.exists():
        raise RuntimeError("not in a Bento; set WATCHKEEPER_MODEL to the name of a model of the registry")
    (model,) = yaml.safe_load(bento.read_text())["models"]
    return Path(bentoml.models.get(model["tag"]).path) / PACKAGED
