"""The model host: probe, emphasise and unload over HTTP, for the live page of the dashboard.

Each request carries the bearer token. One question is answered at a time, see turns.py. What the
user can mend comes back as `{"error": one line}` with status 4xx; anything else is a bug, 500, and
its traceback goes to the host's own standard error.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import Annotated, Any

import torch
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

from engine.errors import is_for_the_user, one_line
from engine.inference.token_budget import DeviceMemoryError
from engine.live.emphasise import emphasise, strategies
from engine.live.probe import LoadedModel, ProbeResult, ask
from engine.live.residents import Residents
from engine.live.turns import BusyError, QuestionCancelledError, Turns
from engine.models import devices
from engine.recovery import placebos
from engine.text.words import bare_words

LOCAL_NAMES = ("127.0.0.1", "localhost")  # another Host header comes from a rebound name
LONGEST_BODY = 200_000  # bytes
Text = Annotated[str, Field(max_length=20_000)]
Name = Annotated[str, Field(min_length=1, max_length=64)]  # of a question
Document = dict[str, Any]
STATUS: dict[type[Exception], int] = {BusyError: 503, QuestionCancelledError: 409}


class FullError(MemoryError):
    """The device has no room for these models or this prompt."""


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")

    models: list[str] = Field(min_length=1, max_length=3)  # run ids; KeyTokens are the first one's
    prompt: Text
    answer: Text | None = None
    question: Name | None = None  # by which `/cancel` takes it back


class ProbeBody(_Body):
    """What `unpact probe` asks."""

    attribution: str = "leave_one_out"


class EmphasiseBody(_Body):
    """Words to emphasise, and how."""

    words: list[str] = Field(max_length=500)
    strategy: str


class CancelBody(BaseModel):
    """Which question is taken back."""

    model_config = ConfigDict(extra="forbid")

    question: Name


class Host:
    """One question at a time to models that stay loaded."""

    def __init__(self, residents: Residents) -> None:
        """Nothing is loaded yet."""
        self._residents = residents
        self.turns = Turns(residents.stop)

    async def health(self) -> Document:
        """What this host serves, how full it is, and how many questions wait; at once."""
        return {
            "database": str(self._residents.models.database),
            "loaded": len(self._residents),
            "device": self._device(),
            "working": self.turns.working,
            "waiting": self.turns.waiting,
        }

    async def cancel(self, body: CancelBody) -> Document:
        """Take back a question that waits or is at work; at once."""
        return {"cancelled": self.turns.cancel(body.question)}

    async def probe(self, body: ProbeBody, request: Request) -> Document:
        """`probe.ask`; beside it what can be emphasised: words, by token too, and strategies.

        loading_seconds are not part of seconds.
        """
        return await self._turn(body.question, lambda: self._probe(body), request)

    async def emphasise(self, body: EmphasiseBody, request: Request) -> Document:
        """`emphasise.emphasise`."""
        return await self._turn(body.question, lambda: self._emphasise(body), request)

    async def unload(self, request: Request) -> Document:
        """Give the models' memory back."""
        return await self._turn(None, self._unload, request)

    def _probe(self, body: ProbeBody) -> Document:
        start = time.perf_counter()
        models = self._residents.get(body.models)
        loaded = time.perf_counter()
        result = ask(models, body.prompt, body.answer, body.attribution)
        return {
            "result": result.as_document(),
            **_words(models[0], result),
            "strategies": strategies(),
            "seconds": time.perf_counter() - loaded,
            "loading_seconds": loaded - start,
            "device": self._device(),
        }

    def _emphasise(self, body: EmphasiseBody) -> Document:
        models = self._residents.get(body.models)
        start = time.perf_counter()
        result = emphasise(models, body.prompt, body.words, body.strategy, body.answer)
        seconds = time.perf_counter() - start
        return {"result": result.as_document(), "seconds": seconds, "device": self._device()}

    def _unload(self) -> Document:
        return {"unloaded": self._residents.unload(), "device": self._device()}

    def _device(self) -> Document:
        return asdict(devices.state(self._residents.models.device))

    async def _turn(
        self, name: str | None, work: Callable[[], Document], request: Request
    ) -> Document:
        name = name or secrets.token_hex(8)
        return await self.turns.take(name, lambda: self._with_room(work), request.is_disconnected)

    def _with_room(self, work: Callable[[], Document]) -> Document:
        """What the work gives; without memory for it the models are given up."""
        try:
            return work()
        except (torch.OutOfMemoryError, DeviceMemoryError) as error:
            self._residents.unload()
            raise FullError("the device's memory is full; the models were unloaded") from error


def _words(first: LoadedModel, result: ProbeResult) -> Document:
    prompt = first.lm.encode_prompt(result.prompt)
    words = bare_words(result.prompt)
    distinct = placebos.distinct(words)
    first_spelling = {word.casefold(): word for word in distinct}
    return {
        "words": distinct,
        "token_words": [
            None if place is None else first_spelling[words[place].casefold()]
            for place in prompt.words
        ],
        "key_words": [
            first_spelling[word.casefold()] for word in placebos.key_words(prompt, result.is_key)
        ],
    }


def create_app(residents: Residents, token: str) -> FastAPI:
    """The routes, behind the token."""
    host = Host(residents)

    @asynccontextmanager
    async def closing(_: FastAPI) -> AsyncIterator[None]:
        yield
        host.turns.close()

    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, lifespan=closing)
    app.get("/health")(host.health)
    app.post("/probe")(host.probe)
    app.post("/emphasise")(host.emphasise)
    app.post("/unload")(host.unload)
    app.post("/cancel")(host.cancel)
    app.exception_handler(RequestValidationError)(_invalid)
    app.exception_handler(HTTPException)(_refused)

    app.add_middleware(Guard, token=token)
    return app


class Guard:
    """What stands before the routes: the token, and one line for each error of a user.

    Written for ASGI itself: behind Starlette's own middleware of functions nobody learns that an
    asker is gone.
    """

    def __init__(self, app: ASGIApp, token: str) -> None:
        """Nothing is asked yet.

        Args:
            app: behind it.
            token: that every request has to carry.
        """
        self._app, self._token = app, token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse a request, or pass it on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        refusal = _refusal(Request(scope), self._token)
        if refusal is not None:
            await refusal(scope, receive, send)
            return
        try:
            await self._app(scope, receive, send)
        except Exception as error:
            if not is_for_the_user(error):
                raise
            answer = _error(one_line(error), STATUS.get(type(error), 400))
            await answer(scope, receive, send)


def _refusal(request: Request, token: str) -> JSONResponse | None:
    """Why a request is not looked at, before any of its body is read."""
    if (request.url.hostname or "") not in LOCAL_NAMES:
        return _error("the model host answers on this machine only", 403)
    given = request.headers.get("authorization", "").encode()
    if not secrets.compare_digest(given, f"Bearer {token}".encode()):
        return _error("the token is missing or wrong", 401)
    length = request.headers.get("content-length", "0")
    if not length.isdecimal() or int(length) > LONGEST_BODY:
        return _error(f"a request has at most {LONGEST_BODY} bytes", 413)
    if "transfer-encoding" in request.headers:
        return _error("a request has to state its length", 411)
    return None


async def _invalid(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)  # as registered
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"])
    return _error(f"{place}: {first['msg']}", 422)


async def _refused(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)  # as registered
    return _error(str(error.detail), error.status_code)


def _error(line: str, status: int) -> JSONResponse:
    return JSONResponse({"error": line}, status)
