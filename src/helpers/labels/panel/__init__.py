"""The labelling panel: ipywidgets over a labelling session, with an optional layer for keys and the mouse."""

from helpers.labels.panel.opening import adjudication_panel, desk, show, show_next, top_line
from helpers.labels.panel.panel import Panel

__all__ = ["Panel", "adjudication_panel", "desk", "show", "show_next", "top_line"]
