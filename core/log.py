"""Logs are events with fields, one JSON object a line; on a terminal, for people."""

from __future__ import annotations

import logging
import sys

import structlog


def configure(level: str = "info") -> None:
    """*level* is one of debug, info, warning, error."""
    human = sys.stderr.isatty()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.dev.set_exc_info,
            *([structlog.dev.ConsoleRenderer()] if human else [structlog.processors.dict_tracebacks, structlog.processors.JSONRenderer()]),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level.upper())),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
