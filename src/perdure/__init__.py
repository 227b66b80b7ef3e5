"""Perdure: durable execution for Python.

The public modules mirror the official Temporal SDK for Python: `perdure.workflow`, `perdure.activity`,
`perdure.client`, `perdure.worker`, `perdure.common`, `perdure.exceptions`, `perdure.converter`. They are
imported by name; this file stays empty so that importing one of them costs only what it needs.
"""

from __future__ import annotations

__version__ = "0.1.0"
