"""What `streamlit run` serves: the pages of app.py behind a door that asks for whom.

Ends with the process that started it, where that gave its id.
"""

from __future__ import annotations

from pathlib import Path

from starlette.middleware import Middleware
from streamlit import App

from dashboard import door

door.end_with_parent()
app = App(Path(__file__).with_name("app.py"), middleware=[Middleware(door.Door)])
