"""The web application: an address for each page, all read only."""

from collections.abc import Mapping
from importlib.resources import files
from typing import Annotated, Any, Literal

from fastapi import FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse

from cyclealign.browse import compare, distillations, experiments, rounds, spending
from cyclealign.browse.access import Access
from cyclealign.browse.page import Form, Page, address, respond
from cyclealign.browse.render import html
from cyclealign.errors import BadConfig, CycleAlignError, NoSuchExperiment, NoSuchJob
from cyclealign.store import Property, Store

STATUS = {NoSuchExperiment: 404, NoSuchJob: 404, BadConfig: 400}
Number = Annotated[int, Query(ge=1, le=10_000_000)]


def make_app(store: Store, access: Access) -> FastAPI:
    """Return the application over an open store; see `Access` for who may use it."""
    app = FastAPI(title="cyclealign", docs_url=None, redoc_url=None, openapi_url=None)
    app.middleware("http")(access)
    app.exception_handler(CycleAlignError)(failed)
    app.exception_handler(RequestValidationError)(invalid)
    app.exception_handler(404)(missing)
    add_experiments(app, store)
    add_others(app, store)

    @app.get("/static/browse.css")
    def style() -> Response:
        text = files("cyclealign.browse").joinpath("static/browse.css").read_bytes()
        return Response(text, media_type="text/css", headers={"Cache-Control": "max-age=300"})

    return app


def add_experiments(app: FastAPI, store: Store) -> None:
    """Add the pages of experiments and rounds."""

    @app.get("/")
    def listing(request: Request, archived: bool = False, form: Form = Form.HTML) -> Response:
        return answer(request, experiments.listing(store, archived), form)

    @app.get("/experiments/{name}")
    def experiment(request: Request, name: str, last: Number | None = None, form: Form = Form.HTML) -> Response:
        shown = last or (experiments.LAST_ROUNDS if form is Form.HTML else None)
        return answer(request, experiments.experiment_page(store, name, shown), form)

    @app.get("/experiments/{name}/plot.svg")
    def plot(name: str) -> Response:
        return Response(experiments.plot(store, name), media_type="image/svg+xml")

    @app.get("/experiments/{name}/demonstrations")
    def demonstrations(request: Request, name: str, form: Form = Form.HTML) -> Response:
        return answer(request, experiments.demonstrations(store, name), form)

    @app.get("/experiments/{name}/templates")
    def templates(request: Request, name: str, form: Form = Form.HTML) -> Response:
        return answer(request, experiments.templates(store, name), form)

    @app.get("/experiments/{name}/rounds/{number}")
    def round_(
        request: Request,
        name: str,
        number: int,
        only: Annotated[list[Property], Query()] = [],  # noqa: B006 - FastAPI copies it
        search: Annotated[str, Query(max_length=1000)] = "",
        held_out: bool = False,
        page: Number = 1,
        limit: Annotated[int, Query(ge=1, le=200)] = rounds.Asked.limit,
        form: Form = Form.HTML,
    ) -> Response:
        asked = rounds.Asked(page, limit, tuple(only), search, held_out)
        return answer(request, rounds.round_page(store, name, number, asked), form)

    @app.get("/experiments/{name}/rounds/{number}/prompts/{prompt_id}")
    def prompt(request: Request, name: str, number: int, prompt_id: str, form: Form = Form.HTML) -> Response:
        return answer(request, rounds.prompt_page(store, name, number, prompt_id), form)


def add_others(app: FastAPI, store: Store) -> None:
    """Add the pages that are not of one experiment."""

    @app.get("/compare")
    def compare_rounds(
        request: Request, first: str = "", second: str = "", page: Number = 1, form: Form = Form.HTML
    ) -> Response:
        return answer(request, compare.compare_page(store, first, second, page), form)

    @app.get("/spending")
    def spent(
        request: Request,
        experiment: str | None = None,
        by: Literal["experiment", "round", "model", "purpose"] = "experiment",
        form: Form = Form.HTML,
    ) -> Response:
        return answer(request, spending.spending(store, experiment or None, by), form)

    @app.get("/judges")
    def judges(request: Request, experiment: str | None = None, form: Form = Form.HTML) -> Response:
        return answer(request, spending.judges(store, experiment or None), form)

    @app.get("/distillations")
    def runs(request: Request, form: Form = Form.HTML) -> Response:
        return answer(request, distillations.listing(store), form)

    @app.get("/distillations/{number}")
    def run(request: Request, number: int, form: Form = Form.HTML) -> Response:
        return answer(request, distillations.run_page(store, number), form)


def answer(request: Request, page: Page, form: Form) -> Response:
    """Return a page in the form asked for, with links to its other forms."""
    return respond(page, form, shared_values(request, bool(page.rows)))


def shared_values(request: Request, downloads: bool) -> Mapping[str, Any]:
    """Return the variables that all templates have."""
    query = [(name, value) for name, value in request.query_params.multi_items() if name != "form"]
    links = {f"as_{form}": address(request.url.path, [*query, ("form", form.value)]) for form in (Form.CSV, Form.JSONL)}
    return {"downloads": downloads, **links}


async def failed(request: Request, error: Exception) -> Response:
    """Return the page of an error of this project, with its message."""
    kind = next((known for known in STATUS if isinstance(error, known)), None)
    return error_page(request, str(error), 500 if kind is None else STATUS[kind])


async def invalid(request: Request, error: Exception) -> Response:
    """Return the page of an address with values of a wrong kind; what was given is not repeated."""
    assert isinstance(error, RequestValidationError)
    words = "; ".join(f"{'.'.join(map(str, one['loc'][1:]))}: {one['msg']}" for one in error.errors())
    return error_page(request, f"The address is not valid: {words}.", 422)


async def missing(request: Request, error: Exception) -> Response:
    """Return the page of an address that leads nowhere."""
    return error_page(request, "There is no such page.", 404)


def error_page(request: Request, message: str, status: int) -> Response:
    """Return a page with a message."""
    values = {**shared_values(request, downloads=False), "title": "Not found" if status == 404 else "Error", "path": []}
    return HTMLResponse(html("error.html", {**values, "message": message}), status)
