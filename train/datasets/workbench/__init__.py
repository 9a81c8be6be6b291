"""Rendered videos of procedures on a workbench, made with numpy and av alone."""

from __future__ import annotations

__all__: list[str] = []
