"""The OpenAPI document: bodies are described by the option fields that they are checked by."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from animatediff.apps.server.formats import FORMATS
from animatediff.apps.server.incoming.outside import MOST_PRIORITY
from animatediff.options.schema import json_schema
from animatediff.sampling.request import AnimationRequest

_PROBLEM = {
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"field": {"type": "string"}, "detail": {"type": "string"}},
            },
        },
    },
}


def request_schema() -> dict[str, Any]:
    """The schema of a request from outside: the options, with a seed of -1 to draw one."""
    schema = json_schema(AnimationRequest)
    schema.pop("$schema")
    schema["properties"]["seed"]["minimum"] = -1
    schema["required"] = []
    return schema


def _schemas() -> dict[str, Any]:
    return {
        "AnimationRequest": request_schema(),
        "Problem": _PROBLEM,
        "Order": _object(
            {
                "request": {"$ref": "#/components/schemas/AnimationRequest"},
                "formats": {
                    "type": "array",
                    "minItems": 1,
                    "items": {"type": "string", "enum": list(FORMATS)},
                    "default": ["mp4"],
                },
                "priority": {
                    "type": "integer",
                    "minimum": -MOST_PRIORITY,
                    "maximum": MOST_PRIORITY,
                    "default": 0,
                },
            },
            required=["request"],
        ),
        "Change": _object(
            {
                "priority": {
                    "type": "integer",
                    "minimum": -MOST_PRIORITY,
                    "maximum": MOST_PRIORITY,
                },
                "before": {"type": ["string", "null"]},
                "held": {"type": "boolean"},
            }
        ),
        "Queue": _object({"paused": {"type": "boolean"}}, required=["paused"]),
        "DatasetCheck": _object(
            {
                "frames": {"type": "integer", "minimum": 1, "maximum": 1024, "default": 16},
                "fps": {"type": ["number", "string"], "default": 8},
            }
        ),
        "Session": _object({"token": {"type": "string"}}, required=["token"]),
        "Picture": _object({"image": {"type": "string"}}, required=["image"]),
        "Table": {"type": "object"},
    }


def _object(properties: dict[str, Any], *, required: list[str] | None = None) -> dict[str, Any]:
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": properties,
        "required": required or [],
    }


def body_of(name: str) -> dict[str, Any]:
    """What a route adds to the document for a JSON body of that schema."""
    reference = {"schema": {"$ref": f"#/components/schemas/{name}"}}
    return {"requestBody": {"required": True, "content": {"application/json": reference}}}


def file_body() -> dict[str, Any]:
    """What a route adds to the document for one file."""
    form = {
        "schema": {
            "type": "object",
            "required": ["file"],
            "properties": {"file": {"type": "string", "format": "binary"}},
        }
    }
    plain = {"schema": {"type": "string", "format": "binary"}}
    content = {"multipart/form-data": form, "application/octet-stream": plain}
    return {"requestBody": {"required": True, "content": content}}


def answers(*media_types: str) -> dict[int | str, dict[str, Any]]:
    """What a route adds to the document for an answer that is no JSON."""
    content = {
        media_type: {"schema": {"type": "string", "format": "binary"}} for media_type in media_types
    }
    return {200: {"description": "The file.", "content": content}}


def describe(app: FastAPI) -> None:
    """Let an application answer with its whole document."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            found = get_openapi(
                title="animatediff", version=app.version, routes=app.routes, summary=app.summary
            )
            components = found.setdefault("components", {})
            components["schemas"] = {**components.get("schemas", {}), **_schemas()}
            problem = {
                "description": "What was refused, in one sentence.",
                "content": {
                    "application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}
                },
            }
            for path in found["paths"].values():
                for operation in path.values():
                    operation["responses"].pop("422", None)
                    operation["responses"]["default"] = problem
            app.openapi_schema = found
        return app.openapi_schema

    app.openapi = document
